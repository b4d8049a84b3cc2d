"""The network of `asr.model.AcousticModel` as an ONNX graph.

The graph is built node by node rather than traced: ONNX's own recurrent operators take the utterances' lengths
and run both directions at once, which a traced pair of one-directional layers would not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from asr.bundle.weights import KINDS, MATRIX, Weights, places, to_onnx
from asr.model_config import MIN_STD, ModelConfig
from asr.version import __version__

OPSET = 17
OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


def build_onnx(weights: Weights, config: ModelConfig, n_mels: int) -> onnx.ModelProto:
    """Return the network of `asr.model.AcousticModel` as an ONNX graph.

    Inputs are ``features (B, T, F)`` float32 and ``lengths (B,)`` int64; outputs ``log_probs (B, T', V)`` float32
    and ``output_lengths (B,)`` int64.

    Parameters
    ----------
    weights : dict
        The model's state; float16 weights are kept as such and widened when the graph is loaded.
    config : ModelConfig
    n_mels : int
    """
    return GraphBuilder(to_onnx(weights, config), config).build(n_mels)


class GraphBuilder:
    """Collects nodes and initialisers; each method adds some and returns the name of their output.

    Parameters
    ----------
    tensors : dict
        As `asr.bundle.weights.to_onnx` returns them.
    config : ModelConfig
    """

    def __init__(self, tensors: Weights, config: ModelConfig) -> None:
        self.tensors = tensors
        self.config = config
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def build(self, n_mels: int) -> onnx.ModelProto:
        """Assemble the graph in the order of the data."""
        x = self.node("Unsqueeze", self.normalised(), self.constant("axis_1", np.array([1])))
        lengths = "lengths"
        for index, stride in enumerate(self.config.strides):
            x, lengths = self.convolution(self.masked(x, lengths), lengths, index, stride)
        # (B, C, T, F) → (T, B, C · F), the layout of ONNX's recurrent operators.
        x = self.node("Transpose", x, perm=[2, 0, 1, 3])
        x = self.node("Reshape", x, self.constant("merge", np.array([0, 0, -1])))
        short_lengths = self.node("Cast", lengths, to=TensorProto.INT32)
        for index in range(self.config.num_layers):
            x = self.recurrent(self.layer_norm(x, f"layers.{index}.norm"), f"layers.{index}", short_lengths)
        if self.config.lookahead_frames:
            x = self._looked_ahead(x, lengths)
        self.log_probs(self.layer_norm(x, "output_norm"))
        self.nodes.append(helper.make_node("Identity", [lengths], ["output_lengths"]))
        inputs = [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", "T", n_mels]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
        ]
        outputs = [
            helper.make_tensor_value_info(
                "log_probs", TensorProto.FLOAT, ["B", "T'", len(self.tensors["output.bias"])]
            ),
            helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["B"]),
        ]
        return self.model("acoustic_model", inputs, outputs)

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """Return what was collected as a checked model."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        model.producer_name, model.producer_version = "ctc-asr", __version__
        onnx.checker.check_model(model, full_check=True)
        return model

    def log_probs(self, x: str) -> None:
        """Add the output layer, ``(T, B, D)`` → ``log_probs (B, T, V)``."""
        x = self.node("Add", self.node("MatMul", x, self.weight(MATRIX)), self.weight("output.bias"))
        x = self.node("Transpose", x, perm=[1, 0, 2])
        self.nodes.append(helper.make_node("LogSoftmax", [x], ["log_probs"], axis=-1))

    def lookahead(self, x: str) -> str:
        """Add the convolution over N frames that follow, ``(B, T + N, D)`` → ``(B, D, T)``."""
        x = self.node("Transpose", x, perm=[0, 2, 1])
        size = self.config.hidden_size
        return self.node(
            "Conv", x, self.weight("lookahead.weight"), group=size, kernel_shape=[self.config.lookahead_frames + 1]
        )

    def _looked_ahead(self, x: str, lengths: str) -> str:
        """Add it for whole utterances, ``(T, B, D)`` → ``(T, B, D)``: beyond their ends there is nothing."""
        x = self.node("Transpose", x, perm=[1, 0, 2])
        inside = self.node("Unsqueeze", self.inside(x, lengths, 1), self.constant("axis_2", np.array([2])))
        pads = self.constant("lookahead_pads", np.array([0, 0, 0, 0, self.config.lookahead_frames, 0]))
        x = self.node("Pad", self.node("Mul", x, inside), pads)
        return self.node("Transpose", self.lookahead(x), perm=[2, 0, 1])

    def normalised(self) -> str:
        """Normalise the features as the configuration says, in float32."""
        x = "features"
        if self.config.normalisation == "global":
            centred = self.node("Sub", x, self.weight("normalisation.mean"))
            return self.node("Div", centred, self.weight("normalisation.std"))
        if self.config.normalisation == "none":
            return x
        mask = self.node("Unsqueeze", self.inside(x, "lengths", 1), self.constant("axis_2", np.array([2])))
        frames = self.node("Cast", "lengths", to=TensorProto.FLOAT)
        frames = self.node("Unsqueeze", frames, self.constant("axes_1_2", np.array([1, 2])))
        time = self.constant("axis_1", np.array([1]))
        first = self.node("Gather", x, self.constant("first", np.array([0])), axis=1)
        x = self.node("Mul", self.node("Sub", x, first), mask)
        mean = self.node("Div", self.node("ReduceSum", x, time), frames)
        x = self.node("Mul", self.node("Sub", x, mean), mask)
        variance = self.node("Div", self.node("ReduceSum", self.node("Mul", x, x), time), frames)
        smallest = self.add("min_std", np.array(MIN_STD, dtype=np.float32))
        return self.node("Div", x, self.node("Max", self.node("Sqrt", variance), smallest))

    def inside(self, x: str, lengths: str, axis: int) -> str:
        """Return 1 for each step along time, `axis` of `x`, that lies within its utterance, else 0: ``(B, T)``."""
        shape = self.node("Shape", x, start=axis, end=axis + 1)
        frames = self.node("Squeeze", shape, self.constant("axis_0", np.array([0])))
        time = self.node("Range", self.constant("zero", np.array(0)), frames, self.constant("one", np.array(1)))
        inside = self.node("Less", time, self.node("Unsqueeze", lengths, self.constant("axis_1", np.array([1]))))
        return self.node("Cast", inside, to=TensorProto.FLOAT)

    def masked(self, x: str, lengths: str) -> str:
        """Zero what lies beyond each utterance, ``(B, C, T, F)``."""
        mask = self.node("Unsqueeze", self.inside(x, lengths, 2), self.constant("axes_1_3", np.array([1, 3])))
        return self.node("Mul", x, mask)

    def convolution(
        self, x: str, lengths: str, index: int, stride: int, pads: Sequence[int] = (1, 1, 1, 1)
    ) -> tuple[str, str]:
        """Convolve and rectify; and the lengths after it."""
        name = f"front_end.convolutions.{index}"
        x = self.node(
            "Conv", x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"),
            kernel_shape=[3, 3], strides=[stride, 2], pads=list(pads),
        )  # fmt: skip
        rounded_up = self.node("Add", lengths, self.constant(f"stride_{stride}_less_1", np.array(stride - 1)))
        lengths = self.node("Div", rounded_up, self.constant(f"stride_{stride}", np.array(stride)))
        return self.node("Relu", x), lengths

    def layer_norm(self, x: str, name: str) -> str:
        """Normalise each frame, the last axis of `x`."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def recurrent(self, x: str, name: str, lengths: str) -> str:
        """One layer, ``(T, B, D)`` → ``(T, B, D')``, its backward direction from each utterance's own end."""
        direction = "bidirectional" if self.config.bidirectional else "forward"
        operator, options = OPERATORS[self.config.cell], self.recurrent_options()
        x = self.node(operator, x, *self.recurrent_weights(name), lengths, **options, direction=direction)
        # (T, directions, B, H) → (T, B, directions · H)
        x = self.node("Transpose", x, perm=[0, 2, 1, 3])
        return self.node("Reshape", x, self.constant("merge", np.array([0, 0, -1])))

    def recurrent_options(self) -> dict[str, Any]:
        """Return the attributes of a layer's operator, but for its direction."""
        options: dict[str, Any] = {"hidden_size": self.config.hidden_size}
        if self.config.cell == "gru":
            options["linear_before_reset"] = 1
        if self.config.cell == "rnn_relu":
            options["activations"] = ["Relu"] * (2 if self.config.bidirectional else 1)
        return options

    def recurrent_weights(self, name: str) -> list[str]:
        """Add the weights and biases of a layer, those of all directions together."""
        return [self.weight(f"{name}.{letter}") for letter in KINDS]

    def weight(self, name: str) -> str:
        """Add a weight, by its name among the tensors."""
        return self.add(name, self.tensors[name])

    def add(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser, and for float16 a cast, which ONNX Runtime folds away when it loads the graph."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return self.node("Cast", name, to=TensorProto.FLOAT) if value.dtype == np.float16 else name

    def constant(self, name: str, value: NDArray[np.int64]) -> str:
        """Return an initialiser of whole numbers, which is added when it is first asked for."""
        if name not in [initializer.name for initializer in self.initializers]:
            self.initializers.append(numpy_helper.from_array(value.astype(np.int64), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator with one output, and return the output's name."""
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output


def store_outside(graph: onnx.ModelProto, saved: bytes, name: str) -> None:
    """Have a graph read its tensors from a safetensors file beside it, where the file has the same.

    Parameters
    ----------
    graph : ModelProto
    saved : bytes
        The content of the file.
    name : str
        Of the file.
    """
    found = places(saved)
    for tensor in graph.graph.initializer:
        first, length = found.get(tensor.name, (0, 0))
        if length and tensor.raw_data == saved[first : first + length]:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", name), ("offset", first), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
