"""Convert the network's weights between ONNX's layout, in which ``model.safetensors`` holds them, and torch's.

Both hold the same numbers: ONNX has the gates of a recurrent layer in another order, its directions in one tensor, and
the output layer transposed. The graph reads them where they lie in the file, so that they are stored once.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import ModelError
from asr.model_config import MIN_STD, ModelConfig

Weights = dict[str, NDArray[Any]]

# The gates of ONNX's cells in terms of the order in which torch keeps them.
GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}
# Of a recurrent layer: input weights, recurrent weights and both biases in ONNX's order.
KINDS = {"W": ("weight_ih",), "R": ("weight_hh",), "B": ("bias_ih", "bias_hh")}
MATRIX = "output.matrix"


def read_weights(path: Path, config: ModelConfig) -> Weights:
    """Read ``model.safetensors`` of format 2, by the names of weights in `asr.model.AcousticModel`.

    Raises
    ------
    ModelError
        If the file is damaged, or holds the weights of another network.
    """
    try:
        return to_torch(_load(path), config)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"{path}: its weights do not fit the network in config.json ({error!r}); export or install the bundle again"
        ) from None


def read_format_1(path: Path, statistics: Weights) -> Weights:
    """Read the weights of format 1, and add the statistics of its front end, as that uses them; raises `ModelError`."""
    floored = {
        name: np.maximum(values, np.float32(MIN_STD)) if name.endswith("std") else values
        for name, values in statistics.items()
    }
    return {**_load(path), **floored}


def _load(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be loaded ({error}); export or install the bundle again") from None


def to_onnx(weights: Weights, config: ModelConfig) -> Weights:
    """Return the tensors of the graph, from weights by their names in `asr.model.AcousticModel`."""
    gates, directions = GATES[config.cell], 2 if config.bidirectional else 1
    tensors = {name: value for name, value in weights.items() if ".directions." not in name and name != "output.weight"}
    tensors[MATRIX] = weights["output.weight"].T
    for layer in range(config.num_layers):
        for letter, kinds in KINDS.items():
            parts = []
            for direction in range(directions):
                names = [f"layers.{layer}.directions.{direction}.{kind}_l0" for kind in kinds]
                split = [np.split(weights[name], len(gates)) for name in names]
                parts.append(np.concatenate([pieces[gate] for pieces in split for gate in gates]))
            tensors[f"layers.{layer}.{letter}"] = np.stack(parts)
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def to_torch(tensors: Weights, config: ModelConfig) -> Weights:
    """Return the weights that `to_onnx` was given.

    Raises
    ------
    KeyError, ValueError, IndexError
        If the tensors are not those of such a network.
    """
    gates, directions = GATES[config.cell], 2 if config.bidirectional else 1
    recurrent = {f"layers.{layer}.{letter}" for layer in range(config.num_layers) for letter in KINDS}
    weights = {name: value for name, value in tensors.items() if name not in recurrent and name != MATRIX}
    weights["output.weight"] = tensors[MATRIX].T
    for layer in range(config.num_layers):
        for letter, kinds in KINDS.items():
            for direction in range(directions):
                both = np.split(tensors[f"layers.{layer}.{letter}"][direction], len(kinds))
                for kind, stacked in zip(kinds, both, strict=True):
                    pieces = np.split(stacked, len(gates))
                    ordered = [pieces[gates.index(gate)] for gate in range(len(gates))]
                    weights[f"layers.{layer}.directions.{direction}.{kind}_l0"] = np.concatenate(ordered)
    return {name: np.ascontiguousarray(value) for name, value in weights.items()}


def places(saved: bytes) -> dict[str, tuple[int, int]]:
    """Return where each tensor lies in a safetensors file: its first byte, and how many."""
    size = int.from_bytes(saved[:8], "little")
    header = json.loads(saved[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: (8 + size + facts["data_offsets"][0], facts["data_offsets"][1] - facts["data_offsets"][0])
        for name, facts in header.items()
    }
