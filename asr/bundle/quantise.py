"""A float32 graph → int8, for ONNX Runtime: LSTMs with weights of eight bits and inputs quantised as they come."""

import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from asr.errors import UsageError

# Tells ONNX Runtime that shapes are inferred already; it would warn on the root logger otherwise.
_PREPROCESSED = {"onnx.quant.pre_process": "onnxruntime.quant"}


def quantise(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Return `graph` with its LSTMs quantised to eight bits.

    Each output channel of a weight matrix has a scale of its own. The scale of the inputs is taken over the whole
    input tensor at each call: an utterance's values depend on what shares its batch, so run one a call.

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
