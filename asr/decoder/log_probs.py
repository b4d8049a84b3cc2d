"""What goes into a decoder, checked: log-probabilities of a CTC model, and nothing that only looks like them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.labels import Labels
from asr.errors import DecodingError

# float16 log-probs of large vocabularies are off by as much.
TOTAL_TOLERANCE = 0.05


def log_softmax(logits: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return natural log-probabilities of a model's raw outputs.

    Parameters
    ----------
    logits
        Floats ``(..., V)``; log-probs come back as they are.

    Returns
    -------
    log_probs : float32, of the same shape
    """
    values = np.asarray(logits, np.float32)
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), np.float32)


def check_log_probs(
    log_probs: npt.ArrayLike, num_labels: int, *, normalise: bool = False, min_frames: int = 1
) -> npt.NDArray[np.float32]:
    """Return log-probs as a C-contiguous writeable float32 array, or say what is wrong with them.

    Parameters
    ----------
    log_probs
        Natural log-probabilities ``(T, V)`` of any float type, contiguous or not.
    num_labels
        V.
    normalise
        Whether the values are raw logits, to which `log_softmax` is applied first.
    min_frames
        The least T.

    Raises
    ------
    DecodingError
        For a wrong rank, type or number of labels, no frames, NaN, +inf, probabilities, or raw logits.
    """
    values = _floats(log_probs)
    if values.ndim != 2 or values.shape[1] != num_labels or len(values) < min_frames:
        raise DecodingError(
            f"the log-probs have shape {values.shape}; expected (frames, {num_labels} labels) with at least one frame"
            + _hint(values.shape, num_labels)
        )
    if not len(values):
        return np.zeros(values.shape, np.float32)
    # What float32 cannot hold is as good as impossible.
    with np.errstate(over="ignore"):
        is_fit = values.dtype == np.float32 and values.flags.carray
        frames = values if is_fit else np.require(values, np.float32, ["C", "W", "A"])
        totals = np.exp(frames).sum(axis=1)
    # Where they sum to 1 there is no NaN, no infinity, and they are no probabilities.
    if not normalise and (np.abs(totals - 1) <= TOTAL_TOLERANCE).all():
        return frames
    highest = frames.max(axis=1)
    # A frame's maximum is NaN if any of its values is, and +inf only if one is.
    if not np.isfinite(highest).all():
        t = int(np.flatnonzero(~np.isfinite(highest))[0])
        seen = "only -inf" if highest[t] == -np.inf else str(highest[t])
        raise DecodingError(f"frame {t} of the log-probs holds {seen}; expected natural log-probabilities, at most 0")
    lowest = frames.min()
    if lowest >= 0 and num_labels > 1 and (np.abs(frames.sum(axis=1) - 1) <= TOTAL_TOLERANCE).all():
        raise DecodingError(
            f"the values lie between {lowest:g} and {highest.max():g} and each frame sums to 1: these are "
            "probabilities; expected log-probabilities: use np.log"
        )
    if normalise:
        return log_softmax(frames)
    t = int(np.flatnonzero(np.abs(totals - 1) > TOTAL_TOLERANCE)[0])
    raise DecodingError(
        f"frame {t} holds values from {frames[t].min():g} to {highest[t]:g}, whose exponentials sum to "
        f"{totals[t]:g}; expected log-probabilities, where they sum to 1: for raw logits use normalise=True"
    )


def label_offsets(
    labels: Labels, label_priors: npt.ArrayLike | None, prior_weight: float, blank_scale: float
) -> npt.NDArray[np.float32] | None:
    """Return what is added to the log-probs of each label: ``log(blank_scale)`` and ``-prior_weight * label_priors``.

    A network's posteriors divided by its labels' priors are likelihoods but for a factor (Bourlard & Morgan 1994);
    of CTC's blank only a share is wanted (Miao et al. 2015, section 3.3).

    Parameters
    ----------
    labels
        Of the log-probs' columns.
    label_priors
        Natural logarithms, ``(V,)``, of each label's share of the frames; None for none.
    prior_weight, blank_scale
        See `asr.decoder.BeamOptions`.

    Returns
    -------
    float32 (V,), or None where nothing is added.

    Raises
    ------
    DecodingError
        If the priors do not fit the labels, or are no logarithms.
    """
    offsets = np.zeros(len(labels))
    if label_priors is not None:
        priors = np.asarray(_floats(label_priors), np.float64)
        if priors.shape != offsets.shape:
            raise DecodingError(f"the label priors have shape {priors.shape}; expected ({len(labels)},), one per label")
        if not np.isfinite(priors).all() or abs(np.exp(priors).sum() - 1) > TOTAL_TOLERANCE:
            raise DecodingError(
                f"the label priors lie between {priors.min():g} and {priors.max():g}, and their exponentials sum to "
                f"{np.exp(priors).sum():g}; expected finite natural logarithms of shares that sum to 1"
            )
        offsets -= prior_weight * priors
    offsets[labels.blank] += np.log(blank_scale)
    return offsets.astype(np.float32) if offsets.any() else None


def _floats(log_probs: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        values = np.asarray(log_probs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DecodingError(
            f"the log-probs are {type(log_probs).__name__}, which is not an array ({error}); expected (frames, labels)"
        ) from error
    if values.dtype.kind != "f":
        raise DecodingError(f"the log-probs are of type {values.dtype}; expected float16, float32 or float64")
    return values


def _hint(shape: tuple[int, ...], num_labels: int) -> str:
    if len(shape) == 3:
        return ": decode a batch utterance by utterance, or with decode_batch, each cut to its length"
    if len(shape) == 2 and shape[0] == num_labels:
        return ": transpose it"
    if len(shape) == 2 and shape[1] == num_labels + 1:
        return ": does the list of labels leave out the blank?"
    return ""
