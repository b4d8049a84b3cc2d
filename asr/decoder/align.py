"""Forced alignment: when each token and word of a known transcript was said, by the best CTC path.

The path is exact, without band or beam, in memory that grows with frames × tokens / 1024.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.errors import DecodingError

CHECKPOINT_FRAMES = 1024
WORD_DELIMITERS = (" ", "|")
SUBWORD_MARK = "▁"
# float16 log-probs of large vocabularies are off by as much.
TOTAL_TOLERANCE = 0.05


@dataclass(frozen=True)
class AlignedToken:
    """A token and when it was said.

    Parameters
    ----------
    token
        Its id.
    text
        Its label.
    start_seconds, end_seconds
        From the start of its first frame to the end of its last.
    confidence
        In 0..1: the geometric mean of its posterior over these frames.
    """

    token: int
    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class AlignedWord:
    """A word and when it was said, from the start of its first token to the end of its last.

    Parameters
    ----------
    text
        Without delimiters.
    start_seconds, end_seconds
        As of its tokens.
    confidence
        In 0..1: the geometric mean of its tokens' confidences.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Alignment:
    """A transcript with its times.

    Parameters
    ----------
    tokens
        In order; starts and ends never run backwards, and no two overlap.
    words
        In order; the same holds.
    score
        The natural log-probability of the best path, at most that of all paths (``-ctc_loss``).
    """

    tokens: tuple[AlignedToken, ...]
    words: tuple[AlignedWord, ...]
    score: float


def align(
    log_probs: npt.ArrayLike,
    transcript: str | Sequence[int],
    labels: Sequence[str],
    *,
    blank: int = 0,
    frame_seconds: float,
) -> Alignment:
    """Find when each token and word of a transcript was said.

    Parameters
    ----------
    log_probs
        Natural log-probabilities of a CTC model, ``(T, V)``, of any float type.
    transcript
        Token ids without blanks; or, where the labels are characters, the text itself, which must hold no other
        characters than the labels (a space stands for the label ``|`` where that is the word delimiter).
    labels
        The V labels. Words end at ``" "`` or ``"|"``, or begin at subwords that start with ``"▁"``.
    blank
        The blank's place among the labels.
    frame_seconds
        Seconds from one frame of the log-probs to the next.

    Returns
    -------
    Alignment
        Exact: no other path of this transcript has a higher score.

    Raises
    ------
    DecodingError
        If the log-probs are none, or do not fit the labels; if the transcript holds characters or ids that the
        labels do not, or is longer than the frames allow; or if the log-probs rule it out.
    """
    # Numba is imported where it is needed only: it takes a third of a second.
    from asr.decoder.align_kernel import best_path

    frames = _checked(log_probs, labels, blank)
    if not (math.isfinite(frame_seconds) and frame_seconds > 0):
        raise DecodingError(f"frame_seconds is {frame_seconds}, expected a positive number of seconds")
    tokens = _token_ids(transcript, labels, blank)
    num_frames, num_tokens = len(frames), len(tokens)
    needed = num_tokens + int(np.count_nonzero(tokens[1:] == tokens[:-1]))
    if needed > num_frames:
        raise DecodingError(
            f"the transcript's {num_tokens} tokens need at least {needed} frames (one each, one more between equal "
            f"neighbours), got {num_frames}: does it belong to this recording?"
        )
    # Equal neighbours need a blank between them; the first token has none before it to skip from.
    skip_costs = np.full(num_tokens, -np.inf)
    skip_costs[1:][tokens[1:] != tokens[:-1]] = 0.0
    path = np.empty(num_frames, np.int64)
    score = best_path(frames, tokens.astype(np.int32), blank, skip_costs, CHECKPOINT_FRAMES, path)
    if score == -np.inf:
        raise DecodingError("the log-probs give every alignment of this transcript probability zero (-inf)")
    spans = _token_spans(frames, tokens, path, labels, frame_seconds)
    return Alignment(spans, _word_spans(spans, labels), float(score))


def _checked(log_probs: npt.ArrayLike, labels: Sequence[str], blank: int) -> npt.NDArray[np.float32]:
    frames = np.ascontiguousarray(log_probs)
    if frames.ndim != 2 or frames.dtype.kind != "f" or frames.shape[1] != len(labels) or not len(frames):
        raise DecodingError(
            f"the log-probs are {frames.dtype} of shape {frames.shape}, expected floats of shape "
            f"(frames, {len(labels)} labels) with at least one frame"
        )
    if not 0 <= blank < len(labels):
        raise DecodingError(f"the blank is {blank}, expected 0 to {len(labels) - 1}")
    frames = frames.astype(np.float32, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        totals = np.exp(frames).sum(axis=1, dtype=np.float64)
    # Not "> TOLERANCE", so that NaN is caught too.
    wrong = np.flatnonzero(~(np.abs(totals - 1) <= TOTAL_TOLERANCE))
    if len(wrong):
        t = wrong[0]
        raise DecodingError(
            f"frame {t} holds no log-probabilities: {frames[t].min():g} to {frames[t].max():g}, whose exponentials sum "
            f"to {totals[t]:g}, expected 1; apply log_softmax to logits, or log to probabilities"
        )
    return frames


def _token_ids(transcript: str | Sequence[int], labels: Sequence[str], blank: int) -> npt.NDArray[np.int64]:
    if not isinstance(transcript, str):
        ids = np.asarray(transcript, np.int64).reshape(-1)
        wrong = ids[(ids < 0) | (ids >= len(labels)) | (ids == blank)]
        if len(wrong):
            raise DecodingError(
                f"the transcript holds token id {wrong[0]}, expected 0 to {len(labels) - 1} without the blank, {blank}"
            )
        return ids
    if any(label.startswith(SUBWORD_MARK) for label in labels):
        raise DecodingError(
            "the labels are subwords, and a text can be cut into them in several ways: give the token ids that the "
            "model's own tokenizer makes of the text"
        )
    text = " ".join(transcript.split())
    known = {label: i for i, label in enumerate(labels) if i != blank}
    known.setdefault(" ", known.get("|", -1))
    missing = sorted({character for character in text if known.get(character, -1) < 0})
    if missing:
        names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in missing[:8])
        raise DecodingError(
            f"the transcript has characters that are no labels: {names}; normalise it as the model's training text was"
        )
    return np.array([known[character] for character in text], np.int64)


def _token_spans(
    frames: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
    path: npt.NDArray[np.int64],
    labels: Sequence[str],
    frame_seconds: float,
) -> tuple[AlignedToken, ...]:
    """Return each token's first and last frame on the path as times, and its mean posterior there."""
    states = 2 * np.arange(len(tokens)) + 1
    begins = np.searchsorted(path, states, side="left")
    ends = np.searchsorted(path, states, side="right")
    on_token = path % 2 == 1
    owners = path[on_token] // 2
    of_frames = frames[on_token, tokens[owners]].astype(np.float64)
    means = np.bincount(owners, of_frames, len(tokens)) / (ends - begins)
    # Rounding of the log-probs must not lift a probability over one.
    confidences = np.exp(np.minimum(means, 0.0))
    return tuple(
        AlignedToken(token, labels[token], begin * frame_seconds, end * frame_seconds, confidence)
        for token, begin, end, confidence in zip(
            tokens.tolist(), begins.tolist(), ends.tolist(), confidences.tolist(), strict=True
        )
    )


def _word_spans(tokens: Sequence[AlignedToken], labels: Sequence[str]) -> tuple[AlignedWord, ...]:
    """Group tokens to words at delimiters or at subword marks."""
    marked = any(label.startswith(SUBWORD_MARK) for label in labels)
    delimiters = () if marked else WORD_DELIMITERS
    groups: list[list[AlignedToken]] = [[]]
    for token in tokens:
        if token.text in delimiters:
            groups.append([])
        elif marked and token.text.startswith(SUBWORD_MARK):
            groups.append([token])
        else:
            groups[-1].append(token)
    words = []
    for group in groups:
        text = "".join(token.text for token in group).replace(SUBWORD_MARK, "")
        if text:
            mean = math.fsum(math.log(max(token.confidence, 1e-300)) for token in group) / len(group)
            words.append(AlignedWord(text, group[0].start_seconds, group[-1].end_seconds, math.exp(mean)))
    return tuple(words)
