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

from asr.bundle.bundle import GRAPHS, WEIGHTS, WEIGHTS_SHA256, Bundle, Precision
from asr.bundle.graph import build_onnx
from asr.bundle.quantise import quantise
from asr.files import atomic_directory, write_text
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
        Weights are rounded to float16.
    card : str
        The model card, Markdown with a YAML header.
    directory : Path
        An older bundle there is replaced once the new one is complete.
    """
    state = model.state_dict()
    weights = {name: np.ascontiguousarray(value.detach().cpu().half().numpy()) for name, value in state.items()}
    saved = save(weights)
    bundle = replace(bundle, directory=directory, weights_sha256=hashlib.sha256(saved).hexdigest())
    with atomic_directory(directory) as new:
        (new / WEIGHTS).write_bytes(saved)
        onnx.save(float_graph(bundle, weights), str(new / GRAPHS["float32"]))
        if bundle.model.cell == "lstm":
            onnx.save(int8_graph(bundle, weights), str(new / GRAPHS["int8"]))
        np.save(new / "filterbank.npy", bundle.filterbank)
        for name, text in bundle.tokenizer.files().items():
            write_text(new / name, text)
        write_text(new / "config.json", bundle.config_json())
        write_text(new / "README.md", card)
    return bundle


def float_graph(bundle: Bundle, weights: Weights) -> onnx.ModelProto:
    """Return the graph that computes in float32, its weights of the type they are given in."""
    return _annotated(build_onnx(weights, bundle.model, bundle.features.n_mels), bundle, "float32")


def int8_graph(bundle: Bundle, weights: Weights) -> onnx.ModelProto:
    """Return the quantised graph.

    Raises
    ------
    UsageError
        If the model is no LSTM.
    """
    widened = {name: value.astype(np.float32) for name, value in weights.items()}
    return _annotated(quantise(build_onnx(widened, bundle.model, bundle.features.n_mels)), bundle, "int8")


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
