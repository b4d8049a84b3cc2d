"""The layers of the acoustic model: normalisation, convolutions, recurrence, look-ahead and dropout."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asr.model_config import MIN_STD, ModelConfig


class GlobalNormalisation(nn.Module):
    """Subtracts the mean of the training set from each band and divides by its deviation; neither is trained.

    Parameters
    ----------
    n_mels : int

    Attributes
    ----------
    mean, std : Tensor, shape (F,), float
        In nats; 0 and 1 until `AcousticModel.set_statistics` is called.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002
        """``(B, T, F)`` → ``(B, T, F)``."""
        return (features - self.mean) / self.std


class UtteranceNormalisation(nn.Module):
    """Gives each band zero mean and unit deviation over its utterance."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """``(B, T, F), (B,)`` → ``(B, T, F)``, zero beyond an utterance's end."""
        inside = time_mask(lengths, features.shape[1])[:, :, None]
        frames = lengths[:, None, None]
        # From the first frame on: what is constant, such as digital silence, is then exactly zero.
        x = (features - features[:, :1]).masked_fill(~inside, 0.0)
        x = (x - x.sum(dim=1, keepdim=True) / frames).masked_fill(~inside, 0.0)
        std = (x.square().sum(dim=1, keepdim=True) / frames).sqrt()
        return x / std.clamp(min=MIN_STD)


class NoNormalisation(nn.Module):
    """Leaves the features as they are."""

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:  # noqa: ARG002
        """``(B, T, F)`` → ``(B, T, F)``."""
        return features


class ConvFrontEnd(nn.Module):
    """3 × 3 convolutions over time and frequency, each followed by a rectifier; see `ModelConfig.strides`."""

    def __init__(self, config: ModelConfig, n_mels: int) -> None:
        super().__init__()
        channels = config.conv_channels
        self.strides = config.strides
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, channels, kernel_size=3, stride=(stride, 2), padding=1)
            for inputs, stride in zip((1, *[channels] * (len(self.strides) - 1)), self.strides, strict=True)
        )
        self.output_size = channels * config.bands(n_mels)[-1]

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, T, F), (B,)`` → ``(B, T', C · F'), (B,)``."""
        x = features.unsqueeze(1)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x = x.masked_fill(~time_mask(lengths, x.shape[2])[:, None, :, None], 0.0)
            x = convolution(x).relu()
            lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
        return _merged(x), lengths

    def stream(
        self, features: Tensor, lengths: Tensor, before: Sequence[Tensor], context: int
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """As `forward`, of a chunk; `before` and the last of what is returned are what convolutions see before it."""
        x, after = features.unsqueeze(1), []
        reduction = math.prod(self.strides)
        for convolution, stride, frame in zip(self.convolutions, self.strides, before, strict=True):
            x = x.masked_fill(~time_mask(lengths, x.shape[2])[:, None, :, None], 0.0)
            end = x.shape[2] - context * reduction
            after.append(x[:, :, end - 1].flatten(1))
            x = torch.cat((frame.reshape(len(x), x.shape[1], 1, x.shape[3]), x), dim=2)
            weight, bias = convolution.get_parameter("weight"), convolution.get_parameter("bias")
            x = nn.functional.conv2d(x, weight, bias, stride=(stride, 2), padding=(0, 1)).relu()
            lengths = torch.div(lengths + stride - 1, stride, rounding_mode="floor")
            reduction //= stride
        return _merged(x), lengths, after


class Lookahead(nn.Module):
    """Each feature of a frame, with those of the frames that follow: ``out[t] = sum_j weight[:, j] * x[t + j]``.

    Parameters
    ----------
    size : int
        D, features of a frame.
    num_frames : int
        How many frames that follow are seen.
    """

    def __init__(self, size: int, num_frames: int) -> None:
        super().__init__()
        # Each frame is passed on as it is at first.
        self.weight = nn.Parameter(torch.zeros(size, 1, num_frames + 1))
        with torch.no_grad():
            self.weight[:, :, 0] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T + num_frames, D)`` → ``(B, T, D)``."""
        size = self.weight.shape[0]
        return nn.functional.conv1d(x.transpose(1, 2), self.weight, groups=size).transpose(1, 2)


class RecurrentLayer(nn.Module):
    """Layer norm, dropout, and a recurrent layer in one or both directions.

    Packed sequences would give the same values, at half the speed on a CPU: here the backward direction is a
    forward one on the utterances reversed within their own lengths.
    """

    def __init__(self, config: ModelConfig, input_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(input_size)
        self.dropout = make_dropout(config)
        self.directions = nn.ModuleList(_make_rnn(config, input_size) for _ in range(2 if config.bidirectional else 1))

    def forward(self, x: Tensor, reversed_time: Tensor | None) -> Tensor:
        """``(B, T, D)``, and for two directions the time indices ``(B, T)`` of `reversal` → ``(B, T, D')``."""
        x = self.dropout(self.norm(x))
        forward: Tensor = self.directions[0](x)[0]
        if reversed_time is None:
            return forward
        backward = self.directions[1](reorder(x, reversed_time))[0]
        return torch.cat((forward, reorder(backward, reversed_time)), dim=-1)

    def stream(self, x: Tensor, lengths: Tensor, cell: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """``(B, T, D)``, lengths, the forward cell ``(B, ·)`` → ``(B, T, D')``, the cell where the context begins."""
        x, chunk = self.norm(x), x.shape[1] - context
        rnn = self.directions[0]
        parts = cell.unsqueeze(0).chunk(2, dim=2) if isinstance(rnn, nn.LSTM) else (cell.unsqueeze(0),)
        hidden = tuple(part.contiguous() for part in parts)
        forward, hidden = _run(rnn, x[:, :chunk], hidden)
        after = torch.cat(hidden, dim=2).squeeze(0)
        if context:
            forward = torch.cat((forward, _run(rnn, x[:, chunk:], hidden)[0]), dim=1)
        if len(self.directions) == 1:
            return forward, after
        reversed_time = reversal(lengths, x.shape[1])
        backward = self.directions[1](reorder(x, reversed_time))[0]
        return torch.cat((forward, reorder(backward, reversed_time)), dim=-1), after


class VariationalDropout(nn.Module):
    """Drops the same inputs at every frame of an utterance (Gal & Ghahramani 2016, section 4).

    Parameters
    ----------
    probability : float
        Of dropping an input, in training.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` → ``(B, T, D)``."""
        if not self.training or not self.probability:
            return x
        kept = torch.empty(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device)
        return x * kept.bernoulli_(1 - self.probability).div_(1 - self.probability)


def time_mask(lengths: Tensor, num_frames: int) -> Tensor:
    """Return ``(B, num_frames)`` bool: whether a frame lies within its utterance."""
    return torch.arange(num_frames, device=lengths.device)[None, :] < lengths[:, None]


def reversal(lengths: Tensor, num_frames: int) -> Tensor:
    """Return time indices ``(B, num_frames)`` int64 that reverse each utterance and leave its padding in place."""
    time = torch.arange(num_frames, device=lengths.device)[None, :]
    return torch.where(time < lengths[:, None], lengths[:, None] - 1 - time, time)


def _merged(x: Tensor) -> Tensor:
    """``(B, C, T, F)`` → ``(B, T, C · F)``."""
    return x.permute(0, 2, 1, 3).flatten(2)


def _run(rnn: nn.Module, x: Tensor, hidden: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a recurrent layer from a state; torch keeps that of an LSTM as a pair, of others as one tensor."""
    output, after = rnn(x, hidden if isinstance(rnn, nn.LSTM) else hidden[0])
    return output, after if isinstance(rnn, nn.LSTM) else (after,)


class _Reversal(torch.autograd.Function):
    """Puts frames in the order of `reversal`, which is its own inverse.

    So the gradient is put in order in the same way; that of ``gather`` is a sum by atomic additions, slow on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, time: Tensor) -> Tensor:
        ctx.save_for_backward(time)
        return x.gather(1, time[:, :, None].expand(-1, -1, x.shape[2]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (time,) = ctx.saved_tensors
        return reorder(gradients[0], time), None


def reorder(x: Tensor, time: Tensor) -> Tensor:
    """Put the frames of ``(B, T, D)`` in the order of `reversal`."""
    reordered: Tensor = _Reversal.apply(x, time)  # type: ignore[no-untyped-call]
    return reordered


def make_normalisation(config: ModelConfig, n_mels: int) -> nn.Module:
    """Return the first layer that the configuration asks for."""
    if config.normalisation == "global":
        return GlobalNormalisation(n_mels)
    return UtteranceNormalisation() if config.normalisation == "utterance" else NoNormalisation()


def make_dropout(config: ModelConfig) -> nn.Module:
    """Return the kind of dropout that the configuration asks for."""
    return VariationalDropout(config.dropout) if config.variational_dropout else nn.Dropout(config.dropout)


@torch.no_grad()
def _make_rnn(config: ModelConfig, input_size: int) -> nn.RNNBase:
    """One layer in one direction: orthogonal recurrent weights (Saxe et al. 2014), or a fixed random reservoir."""
    hidden = config.hidden_size
    rnn: nn.RNNBase
    if config.cell == "lstm":
        rnn = nn.LSTM(input_size, hidden, batch_first=True)
    elif config.cell == "gru":
        rnn = nn.GRU(input_size, hidden, batch_first=True)
    else:
        rnn = nn.RNN(input_size, hidden, batch_first=True, nonlinearity=config.cell.removeprefix("rnn_"))
    recurrent_weights = rnn.get_parameter("weight_hh_l0")
    for recurrent in recurrent_weights.chunk(len(recurrent_weights) // hidden):
        if config.reservoir:
            recurrent.normal_()
            recurrent.mul_(config.spectral_radius / torch.linalg.eigvals(recurrent).abs().max())
        else:
            nn.init.orthogonal_(recurrent)
    recurrent_weights.requires_grad_(not config.reservoir)
    if config.cell == "lstm":
        # Forget gates start open. torch adds two biases; its gates stand in the order input, forget, cell, output.
        rnn.get_parameter("bias_ih_l0")[hidden : 2 * hidden].fill_(1.0)
        rnn.get_parameter("bias_hh_l0")[hidden : 2 * hidden].fill_(0.0)
    return rnn
