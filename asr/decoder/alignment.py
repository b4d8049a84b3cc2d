"""Forced alignment: when each token and word of a known transcript was said, by the best CTC path.

The path is exact, without band or beam, in memory that grows with frames × tokens / 1024.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decoder.greedy import check_frame_seconds
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED, TokenSpan, Word, Writer
from asr.decoder.labels import Labels
from asr.decoder.log_probs import check_log_probs
from asr.errors import DecodingError

CHECKPOINT_FRAMES = 1024
# In a transcript: an unknown stretch of speech.
STAR, STAR_TEXT = -1, "*"


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
    words: tuple[Word, ...]
    score: float


def align(
    log_probs: npt.ArrayLike,
    transcript: str | Sequence[int],
    labels: Labels | Sequence[str] | Mapping[str, int],
    *,
    blank: int | None = None,
    frame_seconds: float = 1.0,
    normalise: bool = False,
) -> Alignment:
    """Find when each token and word of a transcript was said.

    Parameters
    ----------
    log_probs
        Natural log-probabilities of a CTC model, ``(T, V)``, of any float type.
    transcript
        Token ids without blanks; or, where the labels are characters, the text itself, which must hold no other
        characters than the labels (a space stands for the label ``|`` where that is the word delimiter). The word
        ``*`` (the id ``STAR``), if it is no label, stands for a stretch of unknown speech: at each of its frames for
        the most probable label.
    labels
        The V labels, a list of their texts, or label → index: see `asr.decoder.Labels`.
    blank
        The blank's index; by default that of `labels`: see there.
    frame_seconds
        Seconds from one frame of the log-probs to the next; with the default, 1, times count frames.
    normalise
        Whether the input is raw logits, to be made log-probabilities first.

    Returns
    -------
    Alignment
        Exact: no other path of this transcript has a higher score.

    Raises
    ------
    DecodingError
        If the array holds no valid log-probs, or does not fit the labels; if the transcript holds characters or ids
        that the labels do not, or is longer than the frames allow; or if the log-probs rule it out.
    """
    # Numba is imported where it is needed only: it takes a third of a second.
    from asr.decoder.alignment_kernel import best_path

    labels = Labels.of(labels, blank)
    frames = check_log_probs(log_probs, len(labels), normalise=normalise)
    check_frame_seconds(frame_seconds)
    tokens = _token_ids(transcript, labels)
    _check_length(tokens, len(frames))
    is_star = tokens == STAR
    if is_star.any():
        frames = np.hstack([frames, frames.max(axis=1, keepdims=True)])
        tokens = np.where(is_star, len(labels), tokens)
        labels = Labels([*labels.texts, STAR_TEXT], labels.blank)
    # Equal neighbours need a blank between them; the first token has none before it to skip from.
    skip_costs = np.full(len(tokens), -np.inf)
    skip_costs[1:][tokens[1:] != tokens[:-1]] = 0.0
    path = np.empty(len(frames), np.int64)
    score = best_path(frames, tokens.astype(np.int32), labels.blank, skip_costs, CHECKPOINT_FRAMES, path)
    if score == -np.inf:
        raise DecodingError("the log-probs give every alignment of this transcript probability zero (-inf)")
    begins = np.array(labels.begins_word)[tokens] | is_star
    begins[1:] |= is_star[:-1]
    spans = _spans(frames, tokens, path, begins)
    aligned = tuple(_aligned_token(span, labels, frame_seconds) for span in spans)
    return Alignment(aligned, Writer(labels, frame_seconds).words(spans), float(score))


def _check_length(tokens: npt.NDArray[np.int64], num_frames: int) -> None:
    needed = len(tokens) + int(np.count_nonzero(tokens[1:] == tokens[:-1]))
    if needed > num_frames:
        raise DecodingError(
            f"the transcript's {len(tokens)} tokens need at least {needed} frames (one each, one more between equal "
            f"neighbours), got {num_frames}: does it belong to this recording?"
        )


def _aligned_token(span: TokenSpan, labels: Labels, frame_seconds: float) -> AlignedToken:
    return AlignedToken(
        span.token,
        labels.texts[span.token],
        span.start_frame * frame_seconds,
        span.end_frame * frame_seconds,
        math.exp(span.log_posterior),
    )


def _token_ids(transcript: str | Sequence[int], labels: Labels) -> npt.NDArray[np.int64]:
    if not isinstance(transcript, str):
        if not all(isinstance(token, int | np.integer) for token in transcript):
            raise DecodingError(f"the transcript is {transcript!r:.60}; expected a text, or token ids as integers")
        ids = np.asarray(transcript, np.int64).reshape(-1)
        wrong = ids[(ids < STAR) | (ids >= len(labels)) | (ids == labels.blank)]
        if (ids == STAR).any() and STAR_TEXT in labels.texts:
            raise DecodingError(f"the transcript holds token id {STAR}, and {STAR_TEXT!r} is a label of its own")
        if len(wrong):
            raise DecodingError(
                f"the transcript holds token id {wrong[0]}, expected 0 to {len(labels) - 1} without the blank, "
                f"{labels.blank}"
            )
        return ids
    if labels.are_subwords:
        raise DecodingError(
            "the labels are subwords, and a text can be cut into them in several ways: give the token ids from the "
            "model's own tokenizer"
        )
    known = {label: i for i, label in enumerate(labels.texts) if i != labels.blank and not labels.is_special[i]}
    delimiter = next((i for i, is_delimiter in enumerate(labels.is_delimiter) if is_delimiter), None)
    tokens: list[int] = []
    missing = set()
    for word in transcript.split():
        if word == STAR_TEXT and STAR_TEXT not in known:
            # The stretch that it stands for has the delimiters around it, too.
            tokens.append(STAR)
            continue
        if tokens and tokens[-1] != STAR and delimiter is not None:
            tokens.append(delimiter)
        for piece in word if labels.has_words else labels.split(word):
            tokens.append(known.get(piece, STAR))
            if piece not in known:
                missing.add(piece)
    if missing:
        names = ", ".join(f"{piece!r} (U+{ord(piece[0]):04X})" for piece in sorted(missing)[:8])
        raise DecodingError(
            f"the transcript has characters that are not labels: {names}; normalise it as the model's training text was"
        )
    return np.array(tokens, np.int64)


def _spans(
    frames: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
    path: npt.NDArray[np.int64],
    begins_word: npt.NDArray[np.bool_],
) -> list[TokenSpan]:
    """Return each token's frames on the path (state 2j + 1 is token j) and its mean log-posterior there."""
    states = 2 * np.arange(len(tokens)) + 1
    begins = np.searchsorted(path, states, side="left")
    ends = np.searchsorted(path, states, side="right")
    on_token = path % 2 == 1
    owners = path[on_token] // 2
    totals = np.bincount(owners, frames[on_token, tokens[owners]].astype(np.float64), len(tokens))
    # Rounding of the log-probs must not lift a probability over one.
    means = np.minimum(totals / (ends - begins), 0.0)
    entries = np.where(begins_word, UNLISTED, NOT_ENDED)
    columns = (tokens, begins, ends, means, entries)
    return [TokenSpan(*span) for span in zip(*(column.tolist() for column in columns), strict=True)]
