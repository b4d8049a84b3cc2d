"""A trained model → a bundle: ONNX graphs in float32 and int8, weights, configuration, model card."""

import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save

from asr.bundle.bundle import FORMAT_VERSION, GRAPHS, STREAMING_GRAPH, WEIGHTS, WEIGHTS_SHA256, Bundle, Precision
from asr.bundle.graph import build_onnx, store_outside
from asr.bundle.streaming_graph import build_streaming_onnx
from asr.bundle.weights import Weights, to_onnx
from asr.errors import UsageError
from asr.files import atomic_directory, write_text
from asr.model_config import ModelConfig
from asr.settings import to_dict

if TYPE_CHECKING:
    from asr.model import AcousticModel

# Tells ONNX Runtime that shapes are inferred already; it would warn on the root logger otherwise.
_PREPROCESSED = {"onnx.quant.pre_process": "onnxruntime.quant"}


def write_bundle(bundle: Bundle, model: "AcousticModel", card: str, directory: Path) -> Bundle:
    """Write a bundle with weights in float16, whole or not at all, and return it as it was written.

    LSTMs get an int8 graph as well, and models that can stream one for streams.

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
        # That layer is for training alone.
        if not name.startswith("intermediate.")
    }
    network = bundle.described()
    saved = save(to_onnx(weights, network))
    bundle = replace(
        bundle,
        directory=directory,
        weights_sha256=hashlib.sha256(saved).hexdigest(),
        format_version=FORMAT_VERSION,
        statistics={},
    )
    with atomic_directory(directory) as new:
        (new / WEIGHTS).write_bytes(saved)
        precisions: list[Precision] = ["float32", "int8"] if network.cell == "lstm" else ["float32"]
        for precision in precisions:
            graph = make_graph(bundle, network, weights, precision)
            store_outside(graph, saved, WEIGHTS)
            onnx.save(graph, str(new / GRAPHS[precision]))
        if not network.why_not_streaming:
            (new / STREAMING_GRAPH).write_bytes(make_streaming_graph(bundle, network, weights, saved))
        if bundle.filterbank is not None:
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
        By their names in `asr.model.AcousticModel`; all but those that are quantised stay of the type they are of.
    precision : {"float32", "int8"}

    Raises
    ------
    UsageError
        If the precision is int8, and the model no LSTM.
    """
    if precision == "float32":
        return _annotated(build_onnx(weights, network, bundle.front_end.width), bundle, precision)
    # ONNX Runtime quantises nothing that stands behind a cast.
    recurrent = {name: value.astype(np.float32) for name, value in weights.items() if ".directions." in name}
    graph = build_onnx({**weights, **recurrent}, network, bundle.front_end.width)
    return _annotated(quantise(graph), bundle, precision)


def make_streaming_graph(bundle: Bundle, network: ModelConfig, weights: Weights, saved: bytes) -> bytes:
    """Return the graph for streams, as the content of a file; its weights are those in `saved`, the bundle's, if given.

    Raises
    ------
    UsageError
        If the model cannot stream.
    """
    graph = _annotated(build_streaming_onnx(weights, network, bundle.front_end.width), bundle, "float32")
    if saved:
        store_outside(graph, saved, WEIGHTS)
    return bytes(graph.SerializeToString())


def quantise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return `graph` with its LSTMs quantised to eight bits.

    Each output channel of a weight matrix has a scale of its own. The scale of the inputs is taken over the whole
    input tensor at each call: an utterance's values depend on what shares its batch, so run one per call.

    The output layer stays float32: it has few of the weights, and quantising it adds half as much error again. The
    weights are unsigned because signed ones overflow on x86 processors that lack VNNI.

    Parameters
    ----------
    graph : ModelProto
        As `asr.bundle.graph.build_onnx` builds it from float32 weights; float16 ones, behind casts, are not found.

    Raises
    ------
    UsageError
        If no LSTM in the graph can be quantised, as in a GRU.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(graph)
    onnx.helper.set_model_props(prepared, _PREPROCESSED)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "int8.onnx"
        quantize_dynamic(
            prepared, path, op_types_to_quantize=["LSTM"], per_channel=True, weight_type=QuantType.QUInt8
        )  # fmt: skip
        quantised = onnx.load(path)
    operators = {node.op_type for node in quantised.graph.node}
    if operators & {"LSTM", "GRU", "RNN"} or "DynamicQuantizeLSTM" not in operators:
        raise UsageError("the graph has no LSTM with float32 weights; ONNX Runtime quantises nothing else to int8")
    onnx.helper.set_model_props(quantised, {entry.key: entry.value for entry in graph.metadata_props})
    return quantised


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
