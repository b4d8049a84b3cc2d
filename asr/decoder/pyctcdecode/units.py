"""pyctcdecode's numbers in the units of `asr.decoder`."""

import copy
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.beam import BeamSearchDecoder
from asr.decoder.hotwords import Hotwords
from asr.decoder.log_probs import log_softmax
from asr.decoder.pyctcdecode.constants import LOG_BASE_CHANGE_FACTOR, MIN_TOKEN_CLIP_P
from asr.decoder.pyctcdecode.language_model import LanguageModel, check_strings
from asr.errors import DecodingError

# Keeps only hypotheses that score as high as the best one, as pyctcdecode does at 0.
SMALLEST_THRESHOLD = 1e-9


def to_log_probs(logits: npt.ArrayLike, num_labels: int) -> npt.NDArray[np.float32]:
    """Return log-probabilities ``(T, V)`` of logits, log-probabilities or probabilities, floored at `MIN_TOKEN_CLIP_P`.

    Raises
    ------
    DecodingError
        If they are no array of real numbers, or the shape is not ``(T, num_labels)``.
    """
    try:
        values = np.asarray(logits)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DecodingError(f"the logits are {type(logits).__name__}, which is no array ({error})") from error
    if values.ndim != 2 or values.shape[1] != num_labels:
        raise DecodingError(f"the logits have shape {values.shape}; expected (frames, {num_labels} labels)")
    if values.dtype.kind not in "fiub":
        raise DecodingError(f"the logits are of dtype {values.dtype}; expected real numbers")
    if not len(values):
        return values.astype(np.float32)
    if math.isclose(values.sum(axis=1).mean(), 1.0) and values.min() >= 0:
        return np.asarray(np.log(np.clip(values, MIN_TOKEN_CLIP_P, 1.0)), np.float32)
    # Of infinite logits comes NaN, which the search refuses.
    with np.errstate(invalid="ignore"):
        return np.clip(log_softmax(values), math.log(MIN_TOKEN_CLIP_P), 0.0)


def search_options(
    lm: LanguageModel | None, beam_width: int, beam_prune_logp: float, token_min_logp: float, nbest: int
) -> dict[str, Any]:
    """Return the options of `BeamSearchDecoder` that do what pyctcdecode's arguments say."""
    options: dict[str, Any] = {
        "beam_size": beam_width,
        "top_k": 0,
        "token_threshold": _number("token_min_logp", token_min_logp),
        "beam_threshold": max(-_number("beam_prune_logp", beam_prune_logp), SMALLEST_THRESHOLD),
        "nbest": nbest,
    }
    if lm is not None:
        options |= {
            "alpha": _number("alpha", lm.alpha),
            "beta": _number("beta", lm.beta),
            "oov_score": _oov_score(lm),
            "empty_score": 0.0,
            "sentence_end": bool(lm.score_boundary),
        }
    return options


def with_hotwords(
    search: BeamSearchDecoder, lm: LanguageModel | None, hotwords: Iterable[str] | None, hotword_weight: float
) -> tuple[BeamSearchDecoder, Hotwords]:
    """Return the decoder, a copy that knows more words where that is needed, and the hotwords with their weights.

    Raises
    ------
    DecodingError
        If the hotwords are one string, or not all strings, or the weight is no number.
    """
    phrases = check_strings("hotwords", hotwords or (), "phrases")
    weight = _number("hotword_weight", hotword_weight)
    writable = set("".join(search.labels.letters))
    words = [word for phrase in phrases for word in phrase.split() if set(word) <= writable]
    weights = dict.fromkeys(words, weight)
    # Our search takes hotwords for known words; in pyctcdecode an unknown one keeps its cost.
    unknown = [word for word in weights if lm is not None and word not in lm]
    if lm is not None and unknown:
        search = copy.copy(search)
        search.add_words(unknown)
        weights |= dict.fromkeys(unknown, weight + _oov_score(lm))
    return search, Hotwords(weights)


def _oov_score(lm: LanguageModel) -> float:
    offset = _number("unk_score_offset", lm.unk_score_offset)
    if not -math.inf < offset <= 0:
        raise DecodingError(f"unk_score_offset is {offset:g}; expected a finite number, at most 0")
    return lm.alpha * offset * LOG_BASE_CHANGE_FACTOR


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DecodingError(f"{name} is {value!r:.40}; expected a number") from None
