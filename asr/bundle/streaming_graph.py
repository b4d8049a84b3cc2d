"""The network of `asr.model.AcousticModel.stream` as an ONNX graph: a chunk and a state in, log-probs and a state out.

Its weights are those of the whole graph. A chunk and its right context go through a recurrent layer in two calls,
since ONNX gives a cell's state at the end of its input alone, and the next chunk begins where the context does.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from asr.bundle.graph import OPERATORS, GraphBuilder
from asr.bundle.weights import Weights, to_onnx
from asr.errors import UsageError
from asr.model_config import ModelConfig


def build_streaming_onnx(weights: Weights, config: ModelConfig, n_mels: int) -> onnx.ModelProto:
    """Return the network of `asr.model.AcousticModel.stream` as an ONNX graph.

    Inputs are ``features (B, T, F)`` float32, of which T is a multiple of the time reduction, ``lengths (B,)`` int64,
    ``state (B, S)`` float32 and, of two directions, ``context (1,)`` int64, of at least 1; outputs
    ``log_probs (B, T' - context, V)`` and ``next_state (B, S)``, float32.

    Parameters
    ----------
    weights : dict
        The model's state, as for `asr.bundle.graph.build_onnx`.
    config : ModelConfig
    n_mels : int

    Raises
    ------
    UsageError
        If the model cannot stream.
    """
    if config.why_not_streaming:
        raise UsageError(f"the model cannot stream: {config.why_not_streaming}")
    return _StreamingBuilder(to_onnx(weights, config), config).build(n_mels)


class _StreamingBuilder(GraphBuilder):
    """Adds the nodes of a chunk."""

    def build(self, n_mels: int) -> onnx.ModelProto:
        """Assemble the graph in the order of the data."""
        config, sizes = self.config, self.config.state_sizes(n_mels)
        kept = [index for index, size in enumerate(sizes) if size]
        split = self.constant("state_sizes", np.array([sizes[index] for index in kept]))
        parts = [f"state_{index}" for index in kept]
        self.nodes.append(helper.make_node("Split", ["state", split], parts, axis=1))
        x, lengths = self.node("Unsqueeze", self.normalised(), self.constant("axis_1", np.array([1]))), "lengths"
        after: list[str] = []
        reduction: int = config.time_reduction
        for index, stride in enumerate(config.strides):
            x, lengths, frame = self._convolution_of_chunk(x, lengths, index, stride, reduction)
            after.append(frame)
            reduction //= stride
        # (B, C, T, F) → (T, B, C · F), the layout of ONNX's recurrent operators.
        x = self.node("Transpose", x, perm=[2, 0, 1, 3])
        x = self.node("Reshape", x, self.constant("merge", np.array([0, 0, -1])))
        short_lengths = self.node("Cast", lengths, to=TensorProto.INT32)
        for index in range(config.num_layers):
            x = self.layer_norm(x, f"layers.{index}.norm")
            cell = f"state_{len(config.strides) + index}"
            x, cell = self._recurrent_of_chunk(x, f"layers.{index}", short_lengths, cell)
            after.append(cell)
        if config.bidirectional:
            x = self._slice(x, "zero_1", self._less_context(1), 0)
        if config.lookahead_frames:
            x, waiting = self._look_ahead(x, lengths, parts[-1])
            after.append(waiting)
        self.log_probs(self.layer_norm(x, "output_norm"))
        self.nodes.append(helper.make_node("Concat", after, ["next_state"], axis=1))
        state = ["B", sum(sizes)]
        inputs = [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["B", "T", n_mels]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, state),
        ]
        if config.bidirectional:
            inputs.append(helper.make_tensor_value_info("context", TensorProto.INT64, [1]))
        vocabulary = len(self.tensors["output.bias"])
        outputs = [
            helper.make_tensor_value_info("log_probs", TensorProto.FLOAT, ["B", "T'", vocabulary]),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, state),
        ]
        return self.model("acoustic_model_stream", inputs, outputs)

    def _less_context(self, reduction: int) -> str:
        """Return minus the length of the context where a step is one of `reduction` for an output frame: ``(1,)``."""
        return self.node("Mul", "context", self.constant(f"minus_{reduction}", np.array([-reduction])))

    def _slice(self, x: str, start: str, end: str, axis: int) -> str:
        constants = {"zero_1": 0, "last": -1, "end": 1 << 31}
        start, end = (
            self.constant(name, np.array([constants[name]])) if name in constants else name for name in (start, end)
        )
        return self.node("Slice", x, start, end, self.constant(f"axis_{axis}", np.array([axis])))

    def _convolution_of_chunk(
        self, x: str, lengths: str, index: int, stride: int, reduction: int
    ) -> tuple[str, str, str]:
        """Convolve a chunk after the frame before it; and its lengths then, and the frame that the next chunk needs."""
        x = self.masked(x, lengths)
        chunk = self._slice(x, "zero_1", self._less_context(reduction), 2) if self.config.bidirectional else x
        last = self._slice(chunk, "last", "end", 2)
        after = self.node("Flatten", last, axis=1)
        before = self.node("Reshape", f"state_{index}", self.node("Shape", last))
        x = self.node("Concat", before, x, axis=2)
        x, lengths = self.convolution(x, lengths, index, stride, pads=[0, 1, 0, 1])
        return x, lengths, after

    def _recurrent_of_chunk(self, x: str, name: str, lengths: str, cell: str) -> tuple[str, str]:
        """Add one layer, ``(T, B, D)`` → ``(T, B, D')``; and the forward cell ``(B, ·)`` where the context begins."""
        config = self.config
        w, r, b = self.recurrent_weights(name)
        axis_0 = self.constant("axis_0", np.array([0]))
        states = [self.node("Unsqueeze", part, axis_0) for part in self._halves(cell)]
        options = self.recurrent_options()
        if not config.bidirectional:
            y, *ends = self._call((x, w, r, b, "", *states), options, "forward")
            return self.node("Squeeze", y, self.constant("axis_1", np.array([1]))), self._cell(ends)
        forward = [self._direction(value, 0) for value in (w, r, b)]
        backward = [self._direction(value, 1) for value in (w, r, b)]
        chunk = self._slice(x, "zero_1", self._less_context(1), 0)
        context = self._slice(x, self._less_context(1), "end", 0)
        y, *ends = self._call((chunk, *forward, "", *states), options, "forward")
        beyond, *_ = self._call((context, *forward, "", *ends), options, "forward")
        back, *_ = self._call((x, *backward, lengths), options, "reverse")
        both = self.node("Concat", self.node("Concat", y, beyond, axis=0), back, axis=3)
        return self.node("Squeeze", both, self.constant("axis_1", np.array([1]))), self._cell(ends)

    def _call(self, inputs: tuple[str, ...], options: dict[str, Any], direction: str) -> list[str]:
        name = f"{OPERATORS[self.config.cell]}_{len(self.nodes)}"
        outputs = [name, f"{name}_h", f"{name}_c"][: 3 if self.config.cell == "lstm" else 2]
        operator = OPERATORS[self.config.cell]
        one = {key: value[:1] if isinstance(value, list) else value for key, value in options.items()}
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, name=name, **one, direction=direction))
        return outputs

    def _halves(self, cell: str) -> list[str]:
        """Return the hidden state, and of an LSTM the cell's, each ``(B, H)``."""
        if self.config.cell != "lstm":
            return [cell]
        outputs = [f"{cell}_h", f"{cell}_c"]
        sizes = self.constant("halves", np.array([self.config.hidden_size] * 2))
        self.nodes.append(helper.make_node("Split", [cell, sizes], outputs, axis=1))
        return outputs

    def _cell(self, ends: list[str]) -> str:
        joined = self.node("Concat", *ends, axis=2)
        return self.node("Squeeze", joined, self.constant("axis_0", np.array([0])))

    def _direction(self, value: str, direction: int) -> str:
        """Return the weights of one of two directions; ONNX Runtime takes the slice when it loads the graph."""
        first = self.constant(f"first_{direction}", np.array([direction]))
        after = self.constant(f"first_{direction + 1}", np.array([direction + 1]))
        return self._slice(value, first, after, 0)

    def _look_ahead(self, x: str, lengths: str, waiting: str) -> tuple[str, str]:
        """Add the convolution over frames that follow, of a chunk ``(T, B, D)`` after those that waited for it."""
        x = self.node("Transpose", x, perm=[1, 0, 2])
        inside = self.node("Unsqueeze", self.inside(x, lengths, 1), self.constant("axis_2", np.array([2])))
        x = self.node("Mul", x, inside)
        shape = np.array([0, self.config.lookahead_frames, self.config.hidden_size])
        before = self.node("Reshape", waiting, self.constant("waiting_shape", shape))
        x = self.node("Concat", before, x, axis=1)
        start = self.constant("minus_lookahead", np.array([-self.config.lookahead_frames]))
        after = self.node("Flatten", self._slice(x, start, "end", 1), axis=1)
        return self.node("Transpose", self.lookahead(x), perm=[2, 0, 1]), after
