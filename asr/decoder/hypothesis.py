"""What a decoder says: a text with its words, times, confidences and scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asr.decoder.labels import Labels


@dataclass(frozen=True)
class Word:
    """A word and when it was said.

    Parameters
    ----------
    text
        Without delimiters.
    start_seconds, end_seconds
        From the start of its first token's first frame to the end of its last token's last frame.
    confidence
        In 0..1: the geometric mean of its tokens' posteriors, each the geometric mean over the token's frames.
        Language model and hotwords have no part in it.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


@dataclass(frozen=True)
class Hypothesis:
    """One reading of an utterance.

    Parameters
    ----------
    text
        The words, separated by single spaces.
    tokens
        Label indices without blanks, repeats collapsed.
    words
        In order; times never run backwards, and come from the single best path of the hypothesis.
    acoustic_score
        Natural log-probability of `tokens` by the acoustic model: of a beam search the sum over all alignments
        that it kept (all of them: minus the CTC loss); of greedy decoding the best alignment alone.
    lm_score
        Natural log-probability of the words by the language model, not weighted; 0 without one.
    hotword_score
        The weights of the hotwords that the text holds.
    score
        What the decoder ranked by: the acoustic score, plus the others with their weights.
    """

    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]
    acoustic_score: float
    lm_score: float = 0.0
    hotword_score: float = 0.0
    score: float = 0.0


class TokenSpan(NamedTuple):
    """A token on the best path: frames ``start_frame <= t < end_frame`` and its mean log-posterior there."""

    token: int
    start_frame: int
    end_frame: int
    log_posterior: float
    # The word that ends before this token, where it is not written as its tokens are (see `asr.decoder.lexicon`).
    written_before: str | None = None


def words_of(
    spans: Sequence[TokenSpan], labels: Labels, frame_seconds: float, written_last: str | None = None
) -> tuple[Word, ...]:
    """Group tokens into words; `written_last` is the last word if not written as its tokens are."""
    words: list[Word] = []
    group: list[TokenSpan] = []

    def close(written: str | None) -> None:
        text = written or "".join(labels.letters[span.token] for span in group)
        if text and group:
            mean = math.fsum(span.log_posterior for span in group) / len(group)
            # Rounding of the log-probs must not lift a probability over one.
            confidence = math.exp(min(mean, 0.0))
            start, end = group[0].start_frame, group[-1].end_frame
            words.append(Word(text, start * frame_seconds, end * frame_seconds, confidence))
        group.clear()

    for span in spans:
        if labels.begins_word[span.token]:
            close(span.written_before)
        if labels.letters[span.token]:
            group.append(span)
    close(written_last)
    return tuple(words)
