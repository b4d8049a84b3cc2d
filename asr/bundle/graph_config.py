"""The inputs and outputs of a network's graph: ours, and those of other toolkits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr.errors import ModelError, UsageError
from asr.settings import check_types

# ONNX Runtime's names of the types that lengths and masks have.
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_, "tensor(float)": np.float32}

# A network that takes less has no use for pieces that overlap.
SHORTEST_LIMIT = 2.0


@dataclass(frozen=True)
class GraphConfig:
    """The tensors of a graph; the defaults are those of the graphs that we write.

    Parameters
    ----------
    features, log_probs : str
        Names of the first input and of the output, ``(B, T', V)``.
    lengths : str
        Name of the input that holds the frames of each utterance; empty if there is none.
    lengths_are : {"counts", "mask"}
        Whether that is ``(B,)``, or ``(B, T)`` with ones where there are frames.
    output_lengths : str
        Name of the output ``(B,)`` that holds the output frames of each utterance; empty if there is none: then they
        follow from `receptive` and `stride`.
    layout : {"frames", "bands", "samples"}
        Whether the first input is ``(B, T, F)``, ``(B, F, T)`` or, of waveforms, ``(B, T)``.
    constants : dict of str to int
        Further inputs ``(B,)`` and what they are for every utterance, such as the language's number.
    skip : int
        Output frames before those of the audio, in which some networks state other things, such as the language.
    receptive, stride : int
        Frames that the first output frame needs, and frames from one output frame to the next. Shorter utterances are
        lengthened by zeros.
    blank : int
        The column of the blank; log-probabilities are returned with it as the first.
    normalised : bool
        Whether the output is log-probabilities, and not logits.
    batches : bool
        Whether utterances may share a batch: whether padding leaves their values as they are.
    max_seconds : float
        The longest utterance that the network takes; 0: any.
    data_files : tuple of str
        Files beside the graph that hold its weights.

    Raises
    ------
    UsageError
        If a value is out of its range, or a file lies elsewhere.
    """

    features: str = "features"
    lengths: str = "lengths"
    lengths_are: Literal["counts", "mask"] = "counts"
    log_probs: str = "log_probs"
    output_lengths: str = "output_lengths"
    layout: Literal["frames", "bands", "samples"] = "frames"
    constants: dict[str, int] = field(default_factory=dict)
    skip: int = 0
    receptive: int = 1
    stride: int = 1
    blank: int = 0
    normalised: bool = True
    batches: bool = True
    max_seconds: float = 0.0
    data_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "graph")
        if min(self.receptive, self.stride) < 1 or min(self.blank, self.skip) < 0:
            raise UsageError(
                f"graph: receptive is {self.receptive}, stride {self.stride}, blank {self.blank} and skip {self.skip}; "
                "expected 1 or more, a column, and 0 or more"
            )
        if self.max_seconds and not self.max_seconds >= SHORTEST_LIMIT:
            raise UsageError(
                f"graph.max_seconds is {self.max_seconds}; expected 0, for any length, or {SHORTEST_LIMIT:g} and more: "
                "pieces of less have no context"
            )
        for name in self.data_files:
            if name in ("", ".", "..") or "/" in name or "\\" in name:
                raise UsageError(f"graph.data_files has {name!r}; expected the name of a file in the bundle's folder")

    def run(self, session: Any, features: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float32]]:
        """Return the natural log-probabilities ``(T', V)``, blank first, of features ``(T, F)`` each.

        Parameters
        ----------
        session : onnxruntime.InferenceSession
        features : sequence of ndarray

        Raises
        ------
        ModelError
            If the graph cannot be run on them.
        """
        padded, lengths = pad(features, self.receptive)
        array = {"frames": padded, "bands": padded.transpose(0, 2, 1), "samples": padded[:, :, 0]}[self.layout]
        inputs = {self.features: np.ascontiguousarray(array)}
        if self.lengths:
            counts = lengths if self.lengths_are == "counts" else np.arange(padded.shape[1]) < lengths[:, None]
            inputs[self.lengths] = _as_input(session, self.lengths, counts)
        for name, value in self.constants.items():
            inputs[name] = _as_input(session, name, np.full(len(features), value))
        outputs = [self.log_probs, *[self.output_lengths] * bool(self.output_lengths)]
        try:
            values, *stated = session.run(outputs, inputs)
        except Exception as error:  # ONNX Runtime's exceptions share no base class.
            raise ModelError(f"the graph cannot be run on {array.shape} of {self.features!r}: {error}") from None
        values = values[:, self.skip :]
        frames = (
            stated[0] - self.skip
            if stated
            else np.minimum((lengths - self.receptive) // self.stride + 1, values.shape[1])
        )
        return [self._log_probs(rows[:count]) for rows, count in zip(values, frames.astype(int), strict=True)]

    def _log_probs(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.blank:
            rows = np.concatenate((rows[:, self.blank, None], np.delete(rows, self.blank, axis=1)), axis=1)
        if not self.normalised:
            rows = rows - rows.max(axis=1, keepdims=True)
            rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return rows


def _as_input(session: Any, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return integers or truth values in the type that an input has."""
    wanted = next(value.type for value in session.get_inputs() if value.name == name)
    return values.astype(INTEGERS[wanted])


def pad(
    features: Sequence[NDArray[np.floating[Any]]], shortest: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features as one array ``(B, T, F)`` float32, padded with zeros, and lengths ``(B,)`` int64.

    Utterances of fewer than `shortest` frames count as that long.
    """
    lengths = np.array([max(len(x), shortest) for x in features], dtype=np.int64)
    padded = np.zeros((len(features), lengths.max(), features[0].shape[1]), dtype=np.float32)
    for row, x in enumerate(features):
        padded[row, : len(x)] = x
    return padded, lengths
