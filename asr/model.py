"""The acoustic model: log-mel features → log-probabilities of tokens at a reduced frame rate.

    (B, T, F) → normalisation → two or three convolutions, time / 2, / 4 or / 8 → (B, T', C · F')
              → recurrent layers → linear → log-softmax

The values of an utterance do not depend on what shares its batch: what lies beyond an utterance's end is set to
zero before each convolution (as the convolution's own padding is for an utterance alone), each layer that runs
backwards starts at the utterance's own last frame, and layer norms look at one frame at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.model_config import MIN_STD, ModelConfig
from asr.model_layers import (
    ConvFrontEnd,
    GlobalNormalisation,
    Lookahead,
    RecurrentLayer,
    make_dropout,
    make_normalisation,
    reversal,
    time_mask,
)


class AcousticModel(nn.Module):
    """A convolutional, recurrent network with one output per token, for CTC.

    Parameters
    ----------
    config : ModelConfig
    n_mels : int
        F, the features of a frame.
    vocab_size : int
        V, the number of tokens, the blank among them.
    """

    def __init__(self, config: ModelConfig, n_mels: int, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.normalisation = make_normalisation(config, n_mels)
        self.front_end = ConvFrontEnd(config, n_mels)
        directions = 2 if config.bidirectional else 1
        widths = [self.front_end.output_size] + [directions * config.hidden_size] * config.num_layers
        self.layers = nn.ModuleList(RecurrentLayer(config, width) for width in widths[:-1])
        self.lookahead = Lookahead(widths[-1], config.lookahead_frames) if config.lookahead_frames else None
        self.output_norm = nn.LayerNorm(widths[-1])
        self.dropout = make_dropout(config)
        self.output = nn.Linear(widths[-1], vocab_size)
        # Only while training, for an intermediate CTC loss on other tokens.
        self.intermediate: nn.Sequential | None = None

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and their lengths.

        Parameters
        ----------
        features : Tensor, shape (B, T, F), float
            Log-mel features, as `asr.features.LogMel` gives them; what lies beyond an utterance's length is ignored.
        lengths : Tensor, shape (B,), int64
            Frames of each utterance, from 1 to T.

        Returns
        -------
        log_probs : Tensor, shape (B, T', V), float
            Natural logarithms; meaningless beyond an utterance's length.
        lengths : Tensor, shape (B,), int64
            Output frames of each utterance: ``config.output_frames``.
        """
        x, lengths = self.front_end(self.normalisation(features, lengths), lengths)
        for layer_output in self._recurrent(x, lengths):
            x = layer_output
        return self._log_probs(self._looked_ahead(x, lengths)), lengths

    def forward_intermediate(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-probabilities of the middle recurrent layer too, for a second CTC loss (Lee & Watanabe 2021).

        The output layer is shared, unless the middle layer has other tokens: see `add_intermediate_output`.

        Returns
        -------
        log_probs, intermediate : Tensor, shape (B, T', V), float
            Of the last recurrent layer, and of number ``ceil(num_layers / 2)``, which is the same where there is one;
            V may differ.
        lengths : Tensor, shape (B,), int64
        """
        x, lengths = self.front_end(self.normalisation(features, lengths), lengths)
        outputs = list(self._recurrent(x, lengths))
        middle = outputs[(self.config.num_layers - 1) // 2]
        return (
            self._log_probs(self._looked_ahead(outputs[-1], lengths)),
            self._log_probs(middle, self.intermediate),
            lengths,
        )

    def stream(self, features: Tensor, lengths: Tensor, state: Tensor, context: int = 0) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities of the next chunk of each stream, and the state after it.

        One direction gives the values of `forward` on all chunks together. Of two, the backward one starts anew at the
        end of each chunk and its right context (Zhang et al. 2016, "Highway long short-term memory RNNs for distant
        speech recognition", section 3.2): with all that follows as context, the values are those of `forward`.

        Parameters
        ----------
        features : Tensor, shape (B, T, F), float
            T is a multiple of the time reduction.
        lengths : Tensor, shape (B,), int64
            Frames of each stream that are there: all T of them, but in its last chunk.
        state : Tensor, shape (B, S), float
            Zeros for a stream that begins; S is the sum of `ModelConfig.state_sizes`.
        context : int
            How many of the output frames, the last ones, are right context: the next chunk begins with them.

        Returns
        -------
        log_probs : Tensor, shape (B, T' - context, V), float
            With look-ahead of N frames, they come N frames late: the first N of a stream mean nothing, and N more
            follow its end, for features of length 0.
        state : Tensor, shape (B, S), float
        """
        sizes = self.config.state_sizes(features.shape[2])
        *parts, waiting = torch.split(state, sizes, dim=1)
        convolutions = len(self.config.strides)
        frames, cells = parts[:convolutions], parts[convolutions:]
        x, lengths, frames = self.front_end.stream(self.normalisation(features, lengths), lengths, frames, context)
        after = []
        for layer, cell in zip(self.layers, cells, strict=True):
            assert isinstance(layer, RecurrentLayer)
            x, cell_after = layer.stream(x, lengths, cell, context)
            after.append(cell_after)
        x = x[:, : x.shape[1] - context]
        if self.lookahead is not None:
            x = x.masked_fill(~time_mask(lengths, x.shape[1])[:, :, None], 0.0)
            x = torch.cat((waiting.reshape(len(x), -1, x.shape[2]), x), dim=1)
            waiting = x[:, -self.config.lookahead_frames :].flatten(1)
            x = self.lookahead(x)
        return self._log_probs(x), torch.cat((*frames, *after, waiting), dim=1)

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Take over the training set's mean and deviation, each ``(F,)``, where normalisation is global."""
        if isinstance(self.normalisation, GlobalNormalisation):
            self.normalisation.mean.copy_(mean)
            self.normalisation.std.copy_(std.clamp(min=MIN_STD))

    def average_features(self) -> NDArray[np.float32] | None:
        """Return the features ``(F,)`` that are 0 once normalised; None where they depend on the utterance."""
        if isinstance(self.normalisation, GlobalNormalisation):
            return self.normalisation.mean.cpu().numpy()
        return None

    def _recurrent(self, x: Tensor, lengths: Tensor) -> Iterator[Tensor]:
        """Yield the output ``(B, T', D)`` of each recurrent layer."""
        reversed_time = reversal(lengths, x.shape[1]) if self.config.bidirectional else None
        for layer in self.layers:
            x = layer(x, reversed_time)
            yield x

    def _looked_ahead(self, x: Tensor, lengths: Tensor) -> Tensor:
        if self.lookahead is None:
            return x
        x = x.masked_fill(~time_mask(lengths, x.shape[1])[:, :, None], 0.0)
        padded: Tensor = nn.functional.pad(x, (0, 0, 0, self.config.lookahead_frames))
        looked_ahead: Tensor = self.lookahead(padded)
        return looked_ahead

    def add_intermediate_output(self, vocab_size: int) -> None:
        """Give the middle layer an output layer of its own, for other tokens; no other method uses it."""
        width = self.output.in_features
        self.intermediate = nn.Sequential(nn.LayerNorm(width), make_dropout(self.config), nn.Linear(width, vocab_size))

    def _log_probs(self, x: Tensor, output: nn.Module | None = None) -> Tensor:
        logits: Tensor = output(x) if output is not None else self.output(self.dropout(self.output_norm(x)))
        # In float32 also where autocast is on: bfloat16 has no more than three digits for CTC to add up.
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Have a GPU compute products of float32 numbers in float32, and not in TF32, which has three digits.

    Training, the dev set and `asr.bundle.runtime.TorchRuntime` all compute so. What the program has set, for all its
    threads, is put back afterwards. Of torch's two ways to say it, which do not go together, the newer is used where
    there is one.
    """
    backends: Any = torch.backends
    switches: list[tuple[Any, str]]
    if hasattr(backends, "fp32_precision"):
        switches = [(op, "fp32_precision") for op in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]
    else:
        switches = [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]
    before = [getattr(*switch) for switch in switches]
    try:
        for switch in switches:
            setattr(*switch, "ieee" if switch[1] == "fp32_precision" else False)
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            setattr(*switch, value)
