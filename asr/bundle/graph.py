"""The network of `asr.model.AcousticModel` as an ONNX graph.

The graph is built node by node rather than traced: ONNX's own recurrent operators take the utterances' lengths
and run both directions at once, which a traced pair of one-directional layers would not.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import asr
from asr.model_config import MIN_STD, ModelConfig

OPSET = 17
# The gates of ONNX's cells in terms of the order in which torch keeps them.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}
_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


def build_onnx(weights: dict[str, NDArray[Any]], config: ModelConfig, n_mels: int) -> onnx.ModelProto:
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
    return _GraphBuilder(weights, config).build(n_mels)


class _GraphBuilder:
    """Collects nodes and initialisers; each method adds some and returns the name of their output."""

    def __init__(self, weights: dict[str, NDArray[Any]], config: ModelConfig) -> None:
        self.weights = weights
        self.config = config
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def build(self, n_mels: int) -> onnx.ModelProto:
        """Assemble the graph in the order of the data."""
        x = self._node("Unsqueeze", self._normalised(), self._constant("axis_1", np.array([1])))
        lengths = "lengths"
        for index, stride in enumerate((2, 2 if self.config.time_reduction == 4 else 1)):
            x, lengths = self._convolution(x, lengths, index, stride)
        # (B, C, T, F) → (T, B, C · F), the layout of ONNX's recurrent operators.
        x = self._node("Transpose", x, perm=[2, 0, 1, 3])
        x = self._node("Reshape", x, self._constant("merge", np.array([0, 0, -1])))
        short_lengths = self._node("Cast", lengths, to=TensorProto.INT32)
        for index in range(self.config.num_layers):
            x = self._recurrent(self._layer_norm(x, f"layers.{index}.norm"), f"layers.{index}", short_lengths)
        x = self._layer_norm(x, "output_norm")
        matrix = self._add("output.weight", self.weights["output.weight"].T)
        x = self._node("Add", self._node("MatMul", x, matrix), self._weight("output.bias"))
        x = self._node("Transpose", x, perm=[1, 0, 2])
        self.nodes.append(helper.make_node("LogSoftmax", [x], ["log_probs"], axis=-1))
        self.nodes.append(helper.make_node("Identity", [lengths], ["output_lengths"]))
        inputs = [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", "T", n_mels]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
        ]
        outputs = [
            helper.make_tensor_value_info(
                "log_probs", TensorProto.FLOAT, ["B", "T'", len(self.weights["output.bias"])]
            ),
            helper.make_tensor_value_info("output_lengths", TensorProto.INT64, ["B"]),
        ]
        graph = helper.make_graph(self.nodes, "acoustic_model", inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        model.producer_name, model.producer_version = "ctc-asr", asr.__version__
        onnx.checker.check_model(model, full_check=True)
        return model

    def _normalised(self) -> str:
        """Normalise the features as the configuration says, in float32."""
        x = "features"
        if self.config.normalisation == "global":
            centred = self._node("Sub", x, self._weight("normalisation.mean"))
            return self._node("Div", centred, self._weight("normalisation.std"))
        if self.config.normalisation == "none":
            return x
        mask = self._node("Unsqueeze", self._inside(x, "lengths", 1), self._constant("axis_2", np.array([2])))
        frames = self._node("Cast", "lengths", to=TensorProto.FLOAT)
        frames = self._node("Unsqueeze", frames, self._constant("axes_1_2", np.array([1, 2])))
        time = self._constant("axis_1", np.array([1]))
        first = self._node("Gather", x, self._constant("first", np.array([0])), axis=1)
        x = self._node("Mul", self._node("Sub", x, first), mask)
        mean = self._node("Div", self._node("ReduceSum", x, time), frames)
        x = self._node("Mul", self._node("Sub", x, mean), mask)
        variance = self._node("Div", self._node("ReduceSum", self._node("Mul", x, x), time), frames)
        smallest = self._add("min_std", np.array(MIN_STD, dtype=np.float32))
        return self._node("Div", x, self._node("Max", self._node("Sqrt", variance), smallest))

    def _inside(self, x: str, lengths: str, axis: int) -> str:
        """Return 1 for each step along time, `axis` of `x`, that lies within its utterance, else 0: ``(B, T)``."""
        shape = self._node("Shape", x, start=axis, end=axis + 1)
        frames = self._node("Squeeze", shape, self._constant("axis_0", np.array([0])))
        time = self._node("Range", self._constant("zero", np.array(0)), frames, self._constant("one", np.array(1)))
        inside = self._node("Less", time, self._node("Unsqueeze", lengths, self._constant("axis_1", np.array([1]))))
        return self._node("Cast", inside, to=TensorProto.FLOAT)

    def _convolution(self, x: str, lengths: str, index: int, stride: int) -> tuple[str, str]:
        """Zero what lies beyond each utterance, convolve, rectify; and the lengths after it."""
        mask = self._node("Unsqueeze", self._inside(x, lengths, 2), self._constant("axes_1_3", np.array([1, 3])))
        x = self._node("Mul", x, mask)
        name = f"front_end.convolutions.{index}"
        x = self._node(
            "Conv", x, self._weight(f"{name}.weight"), self._weight(f"{name}.bias"),
            kernel_shape=[3, 3], strides=[stride, 2], pads=[1, 1, 1, 1],
        )  # fmt: skip
        rounded_up = self._node("Add", lengths, self._constant(f"stride_{stride}_less_1", np.array(stride - 1)))
        lengths = self._node("Div", rounded_up, self._constant(f"stride_{stride}", np.array(stride)))
        return self._node("Relu", x), lengths

    def _layer_norm(self, x: str, name: str) -> str:
        scale, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def _recurrent(self, x: str, name: str, lengths: str) -> str:
        """One layer, ``(T, B, D)`` → ``(T, B, D')``, its backward direction from each utterance's own end."""
        directions = 2 if self.config.bidirectional else 1
        gates = _GATES[self.config.cell]

        def stacked(kind: str) -> NDArray[Any]:
            """Weights of all directions, ``(directions, gates · H, …)``, gates in ONNX's order."""
            parts = [self.weights[f"{name}.directions.{d}.{kind}_l0"] for d in range(directions)]
            return np.stack([np.concatenate([np.split(p, len(gates))[g] for g in gates]) for p in parts])

        biases = np.concatenate((stacked("bias_ih"), stacked("bias_hh")), axis=1)
        options: dict[str, Any] = {"hidden_size": self.config.hidden_size}
        options["direction"] = "bidirectional" if self.config.bidirectional else "forward"
        if self.config.cell == "gru":
            options["linear_before_reset"] = 1
        if self.config.cell == "rnn_relu":
            options["activations"] = ["Relu"] * directions
        x = self._node(
            _OPERATORS[self.config.cell], x,
            self._add(f"{name}.W", stacked("weight_ih")), self._add(f"{name}.R", stacked("weight_hh")),
            self._add(f"{name}.B", biases), lengths, **options,
        )  # fmt: skip
        # (T, directions, B, H) → (T, B, directions · H)
        x = self._node("Transpose", x, perm=[0, 2, 1, 3])
        return self._node("Reshape", x, self._constant("merge", np.array([0, 0, -1])))

    def _weight(self, name: str) -> str:
        return self._add(name, self.weights[name])

    def _add(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser, and for float16 a cast, which ONNX Runtime folds away when it loads the graph."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return self._node("Cast", name, to=TensorProto.FLOAT) if value.dtype == np.float16 else name

    def _constant(self, name: str, value: NDArray[np.int64]) -> str:
        if name not in [initializer.name for initializer in self.initializers]:
            self.initializers.append(numpy_helper.from_array(value.astype(np.int64), name))
        return name

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output
