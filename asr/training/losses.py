"""The losses of a batch: CTC on the last layer, on the middle one, and the divergence of two views of an utterance."""

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from asr.model import AcousticModel
from asr.model_layers import time_mask
from asr.tokenizer import BLANK
from asr.training.batches import Batch

# What is summed over the utterances of a step, in this order; over those of an epoch too.
COUNTS = ("loss", "tokens", "utterances", "input_frames", "output_frames", "blank")


def batch_loss(
    model: AcousticModel, batch: Batch, moved: Batch, *, intermediate: float, consistency: float, bfloat16: bool
) -> tuple[Tensor, Tensor]:
    """Return the sum of the utterances' losses, which is to be minimised, and the batch's `COUNTS`.

    The loss that is counted is the CTC loss of the last layer alone, the mean over the views of an utterance.

    Parameters
    ----------
    model : AcousticModel
    batch, moved : Batch
        On the host, and on the model's device.
    intermediate, consistency : float
        Weights of the CTC loss on the middle layer, and of `consistency_loss`.
    bfloat16 : bool
        Whether matrix products are computed in bfloat16.
    """
    middle: Tensor | None = None
    rows = len(moved.features)
    features, feature_lengths = _rounded_up(moved, _row_multiple(moved.features.device, bfloat16=bfloat16))
    # Of cuDNN's recurrent layers, autocast makes float16 whatever it is told, for cuDNN's LSTM has no bfloat16 in most
    # versions of torch. Their values are within 1; gradients are those of a sum of losses, far from what float16 rounds
    # to zero, and where one is too large for it the step is left out.
    with torch.autocast(features.device.type, torch.bfloat16, enabled=bfloat16):
        if intermediate:
            log_probs, middle, lengths = model.forward_intermediate(features, feature_lengths)
            middle = middle[:rows]
        else:
            log_probs, lengths = model(features, feature_lengths)
    log_probs, lengths = log_probs[:rows], lengths[:rows]
    # Lengths from the host: with those of the device, torch would wait for them.
    frames = torch.from_numpy(model.config.output_frames(batch.feature_lengths.numpy()))
    last = total = _ctc(log_probs, moved.targets, frames, batch.target_lengths) / batch.views
    if middle is not None:
        targets, target_lengths = moved.middle_targets, batch.middle_target_lengths
        if targets is None or target_lengths is None:
            targets, target_lengths = moved.targets, batch.target_lengths
        total = (1 - intermediate) * last + intermediate * _ctc(middle, targets, frames, target_lengths) / batch.views
    if batch.views == 2 and consistency:
        total = total + consistency * consistency_loss(log_probs, lengths)
    with torch.no_grad():
        inside = time_mask(lengths, log_probs.shape[1])
        blank = (log_probs[:, :, BLANK].exp() * inside).sum()
        sums = (batch.target_lengths.sum() / batch.views, len(batch.ids), batch.feature_lengths.sum() / batch.views)
        on_host = torch.tensor([float(value) for value in sums], dtype=torch.float64)
        counts = torch.cat(
            (
                last.detach().double().reshape(1),
                on_host.to(log_probs.device, non_blocking=True),
                torch.stack((inside.sum().double(), blank.double())),
            )
        )
    return total, counts


def _row_multiple(device: torch.device, *, bfloat16: bool) -> int:
    """Return of what the number of rows should be a multiple.

    cuDNN's persistent LSTM, which keeps its weights on the chip, is for float16 and multiples of 8 alone.
    """
    return 8 if bfloat16 and device.type == "cuda" else 1


def _rounded_up(batch: Batch, multiple: int) -> tuple[Tensor, Tensor]:
    """Return features and their lengths with rows of zeros at the end, up to a multiple of rows."""
    more = -len(batch.features) % multiple
    features = nn.functional.pad(batch.features, (0, 0, 0, 0, 0, more))
    return features, nn.functional.pad(batch.feature_lengths, (0, more), value=1)


def consistency_loss(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """Return how far the two views of each utterance are apart, summed over frames and utterances, ``()``.

    That is the mean of both Kullback-Leibler divergences, each to the other view's posteriors as they are: no gradient
    goes through these (CR-CTC: Yao et al. 2024, arXiv 2410.05101, equation 4).

    Parameters
    ----------
    log_probs : Tensor, shape (2 B, T, V), float
        Natural logarithms; utterance b is in the rows b and B + b.
    lengths : Tensor, shape (2 B,), int64
    """
    first, second = log_probs.chunk(2)
    inside = time_mask(lengths[: len(first)], log_probs.shape[1])
    apart = _divergence(second.detach(), first) + _divergence(first.detach(), second)
    return 0.5 * apart.masked_fill(~inside, 0.0).sum()


def _divergence(target: Tensor, log_probs: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of each frame, ``(B, T)``."""
    return (target.exp() * (target - log_probs)).sum(dim=-1)


def _ctc(log_probs: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """Return the sum of the rows' CTC losses; both lengths are on the host."""
    return ctc_loss(log_probs.transpose(0, 1), targets, lengths, target_lengths, blank=BLANK, reduction="sum")
