"""The shape of the acoustic model; free of torch, so that recipes and bundles can hold it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from asr.errors import UsageError, did_you_mean

Cell = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]
Normalisation = Literal["global", "utterance", "none"]

# Below this standard deviation, in nats, a mel band counts as constant, so that silence is not blown up to noise.
MIN_STD = 1e-2


@dataclass(frozen=True)
class ModelConfig:
    """The acoustic model: a convolutional front end, recurrent layers, a linear output.

    Parameters
    ----------
    cell : {"lstm", "gru", "rnn_tanh", "rnn_relu"}
        The recurrent cell.
    bidirectional : bool
        Whether each layer also runs backwards in time (the two outputs are concatenated).
    num_layers, hidden_size : int
        Number of recurrent layers, and units of each in each direction.
    conv_channels : int
        Channels of each convolution.
    time_reduction : {2, 4, 8}
        Feature frames per output frame; 8 adds a third convolution.
    lookahead_frames : int
        How many later output frames each frame sees through a convolution after the recurrent layers (Amodei et
        al. 2016, "Deep Speech 2", section 3.6); only if `bidirectional` is false.
    dropout : float
        Probability of dropping an input of a recurrent layer or of the output layer, in training.
    variational_dropout : bool
        Whether the same inputs are dropped at every frame of an utterance (Gal & Ghahramani 2016).
    reservoir : bool
        Whether the recurrent weights stay random (an echo-state network, Jaeger 2001); all others are trained.
    spectral_radius : float
        Largest eigenvalue magnitude of each recurrent matrix of a reservoir.
    normalisation : {"global", "utterance", "none"}
        How the network first normalises each band of its features: subtract the mean of the training set and divide by
        its deviation; the same with mean and deviation of the utterance, which needs all of it; or not at all.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """

    cell: Cell = "lstm"
    bidirectional: bool = True
    num_layers: int = 3
    hidden_size: int = 256
    conv_channels: int = 32
    time_reduction: Literal[2, 4, 8] = 4
    lookahead_frames: int = 0
    dropout: float = 0.2
    variational_dropout: bool = False
    reservoir: bool = False
    spectral_radius: float = 0.9
    normalisation: Normalisation = "global"

    def __post_init__(self) -> None:
        for name, known in (("cell", get_args(Cell)), ("normalisation", get_args(Normalisation))):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"model.{name} is {value!r}; expected one of {', '.join(known)}{did_you_mean(str(value), known)}"
                )
        if self.time_reduction not in (2, 4, 8):
            raise UsageError(f"model.time_reduction is {self.time_reduction}; expected 2, 4 or 8")
        for name in ("num_layers", "hidden_size", "conv_channels", "spectral_radius"):
            if not getattr(self, name) > 0:
                raise UsageError(f"model.{name} is {getattr(self, name)}; expected a positive number")
        if self.lookahead_frames < 0:
            raise UsageError(f"model.lookahead_frames is {self.lookahead_frames}; expected 0 or more")
        if self.lookahead_frames and self.bidirectional:
            raise UsageError(
                f"model.lookahead_frames is {self.lookahead_frames}, but a bidirectional model sees all of the future "
                "anyway: leave it at 0, or set model.bidirectional to false"
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"model.dropout is {self.dropout}; expected 0 ≤ dropout < 1")

    @overload
    def output_frames(self, num_frames: int) -> int: ...
    @overload
    def output_frames(self, num_frames: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def output_frames(self, num_frames: int | NDArray[np.int64]) -> int | NDArray[np.int64]:
        """Return the number of output frames for `num_frames` feature frames: of a part of an output frame, one."""
        return -(-num_frames // self.time_reduction)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides over time of the convolutions; each halves frequency."""
        return {2: (2, 1), 4: (2, 2), 8: (2, 2, 2)}[self.time_reduction]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers that are trained, by the names that logs have for them."""
        layers = (f"layers.{index}" for index in range(self.num_layers))
        return ("front_end", *layers, *(("lookahead",) if self.lookahead_frames else ()), "output")

    def check_frozen(self, layers: Sequence[str]) -> None:
        """Refuse to freeze layers that the model does not have, or all of its layers.

        Raises
        ------
        UsageError
        """
        for name in layers:
            if name not in self.layer_names:
                raise UsageError(
                    f"training.freeze names {name!r}; expected layers of the model: {', '.join(self.layer_names)}"
                    f"{did_you_mean(name, self.layer_names)}"
                )
        if set(layers) == set(self.layer_names):
            raise UsageError("training.freeze names all layers of the model; expected at least one to train")

    def bands(self, n_mels: int) -> list[int]:
        """Return how many bands of frequency there are before each convolution, and after the last."""
        return [-(-n_mels // 2**index) for index in range(len(self.strides) + 1)]

    @property
    def why_not_streaming(self) -> str:
        """Why the model cannot recognise speech chunk by chunk; empty if it can."""
        if self.normalisation == "utterance":
            return "its features are normalised over the whole utterance; train with model.normalisation=global"
        if self.time_reduction == 2:
            return "its second convolution looks ahead; train with model.time_reduction=4"
        return ""

    def state_sizes(self, n_mels: int) -> list[int]:
        """Return the sizes of the parts of a stream's state, in order; see `asr.model.AcousticModel.stream`.

        What each convolution sees of the frame before its chunk, the cells of each layer's forward direction, and the
        outputs of the last layer that wait for those they look ahead to.
        """
        first, *others = self.bands(n_mels)[:-1]
        frames = [first, *(self.conv_channels * bands for bands in others)]
        cells = [self.hidden_size * (2 if self.cell == "lstm" else 1)] * self.num_layers
        return [*frames, *cells, self.lookahead_frames * self.hidden_size]

    def input_frames(self, output_frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the fewest feature frames that give as many output frames: the inverse of `output_frames`."""
        return (output_frames - 1) * self.time_reduction + 1
