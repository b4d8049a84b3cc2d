"""A trained model → a bundle: ONNX graphs, weights, configuration, model card."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import save

from asr.bundle.bundle import FORMAT_VERSION, GRAPHS, WEIGHTS, WEIGHTS_SHA256, Bundle, Precision
from asr.bundle.graph import build_onnx
from asr.bundle.quantise import quantise
from asr.files import atomic_directory, write_text
from asr.model_config import ModelConfig
from asr.settings import to_dict

if TYPE_CHECKING:
    from asr.model import AcousticModel

Weights = dict[str, NDArray[Any]]


def write_bundle(bundle: Bundle, model: "AcousticModel", card: str, directory: Path) -> Bundle:
    """Write a bundle with weights in float16, whole or not at all, and return it as it was written.

    LSTMs get an int8 graph as well.

    Parameters
    ----------
    bundle : Bundle
        Its `directory` is ignored.
    model : AcousticModel
        Weights are rounded to float16, but for those of its normalisation.
    card : str
        The model card, Markdown with a YAML header.
    directory : Path
        An older bundle there is replaced once the new one is complete.
    """
    state = model.state_dict()
    weights = {
        name: np.ascontiguousarray((value if name.startswith("normalisation.") else value.half()).cpu().numpy())
        for name, value in state.items()
    }
    saved = save(weights)
    bundle = replace(
        bundle,
        directory=directory,
        weights_sha256=hashlib.sha256(saved).hexdigest(),
        format_version=FORMAT_VERSION,
        statistics={},
    )
    with atomic_directory(directory) as new:
        (new / WEIGHTS).write_bytes(saved)
        onnx.save(make_graph(bundle, bundle.model, weights, "float32"), str(new / GRAPHS["float32"]))
        if bundle.model.cell == "lstm":
            onnx.save(make_graph(bundle, bundle.model, weights, "int8"), str(new / GRAPHS["int8"]))
        np.save(new / "filterbank.npy", bundle.filterbank)
        for name, text in bundle.tokenizer.files().items():
            write_text(new / name, text)
        write_text(new / "config.json", bundle.config_json())
        write_text(new / "README.md", card)
    return bundle


def make_graph(bundle: Bundle, network: ModelConfig, weights: Weights, precision: Precision) -> onnx.ModelProto:
    """Return the graph of a precision.

    Parameters
    ----------
    bundle : Bundle
    network : ModelConfig
        What the graph computes: the bundle's `network`, or its `model`.
    weights : dict
        In the graph for float32 they are of the type they are given in.
    precision : {"float32", "int8"}

    Raises
    ------
    UsageError
        If the precision is int8, and the model no LSTM.
    """
    if precision == "float32":
        return _annotated(build_onnx(weights, network, bundle.features.n_mels), bundle, precision)
    widened = {name: value.astype(np.float32) for name, value in weights.items()}
    return _annotated(quantise(build_onnx(widened, network, bundle.features.n_mels)), bundle, precision)


def _annotated(graph: onnx.ModelProto, bundle: Bundle, precision: Precision) -> onnx.ModelProto:
    """Note in a graph what it is, so that the file explains itself and is not taken for another model's."""
    notes = {
        "name": bundle.name,
        "description": bundle.description,
        "licence": bundle.licence,
        "precision": precision,
        "tokens": json.dumps(bundle.tokenizer.tokens, ensure_ascii=False),
        "features": json.dumps(to_dict(bundle.features)),
        "frame_seconds": f"{bundle.frame_seconds:g}",
        WEIGHTS_SHA256: bundle.weights_sha256,
    }
    onnx.helper.set_model_props(graph, notes)
    return graph
