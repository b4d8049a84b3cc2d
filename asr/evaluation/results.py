"""The results of an evaluation: utterances with their errors, and any grouping of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from asr.decoder import Word
from asr.errors import DataError
from asr.evaluation.significance import SAMPLES, interval_of, rates, resampled_totals
from asr.wer import ErrorCounts, character_errors, word_errors

Key = TypeVar("Key", str, int)


@dataclass(frozen=True)
class UtteranceResult:
    """One utterance's reference, hypothesis and errors.

    Parameters
    ----------
    id, reference, hypothesis : str
    words, characters : ErrorCounts
    speaker : str
        Empty if unknown.
    duration_seconds : float
        0 if unknown.
    source : str
        The recording, as a store names it.
    timed_words : tuple of Word
        The hypothesis's words with their times in seconds and confidences; empty if unknown.
    """

    id: str
    reference: str
    hypothesis: str
    words: ErrorCounts
    characters: ErrorCounts
    speaker: str = ""
    duration_seconds: float = 0.0
    source: str = ""
    timed_words: tuple[Word, ...] = ()

    @classmethod
    def scored(cls, id: str, reference: str, hypothesis: str) -> "UtteranceResult":
        """Return the result of two texts, their errors counted."""
        words = word_errors([reference], [hypothesis])
        return cls(id, reference, hypothesis, words, character_errors([reference], [hypothesis]))


@dataclass(frozen=True)
class Timing:
    """What recognition took, in seconds of wall-clock time.

    Parameters
    ----------
    audio_seconds : float
        Duration of the speech recognised.
    network_seconds, decoder_seconds : float
        Features → log-probabilities, and log-probabilities → words.
    """

    audio_seconds: float
    network_seconds: float
    decoder_seconds: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of audio; below 1 is faster than real time."""
        return (self.network_seconds + self.decoder_seconds) / self.audio_seconds


@dataclass(frozen=True)
class Evaluation:
    """The results of a test set, or of a part of one."""

    utterances: tuple[UtteranceResult, ...]
    timing: Timing | None = None

    @cached_property
    def words(self) -> ErrorCounts:
        """Word errors of the whole set."""
        return sum((utterance.words for utterance in self.utterances), ErrorCounts())

    @cached_property
    def characters(self) -> ErrorCounts:
        """Character errors of the whole set."""
        return sum((utterance.characters for utterance in self.utterances), ErrorCounts())

    @cached_property
    def wrong_sentences(self) -> int:
        """Utterances with at least one word error."""
        return sum(utterance.words.errors > 0 for utterance in self.utterances)

    def interval(self, samples: int = SAMPLES) -> tuple[float, float]:
        """Return a 95 % confidence interval of the WER, by bootstrap over utterances (Bisani & Ney 2004).

        Parameters
        ----------
        samples : int
            Number of resampled test sets; their seed is fixed.

        Raises
        ------
        DataError
            If there is no utterance.
        """
        return _interval(tuple(utterance.words for utterance in self.utterances), samples)

    def interval_by_speaker(self, samples: int = SAMPLES) -> tuple[float, float] | None:
        """Return the interval by bootstrap over speakers: what another set of speakers might give.

        Errors of one speaker are not independent of each other, which the bootstrap over utterances takes them to be.
        With a handful of speakers it is too narrow. None where fewer than two speakers are known.
        """
        groups = self.by_speaker()
        if len(groups) < 2 or "" in groups:
            return None
        return _interval(tuple(group.words for group in groups.values()), samples)

    def by_speaker(self) -> dict[str, "Evaluation"]:
        """Return the results of each speaker, in alphabetical order."""
        return self._grouped(lambda utterance: utterance.speaker)

    def by_words(self) -> dict[str, "Evaluation"]:
        """Return the results by the number of words in the reference: 0, 1, 2–3, 4–7, 8–15 and so on."""
        groups = self._grouped(lambda utterance: utterance.words.reference_length.bit_length())
        return {_range(bits): group for bits, group in groups.items()}

    def by_duration(self) -> dict[str, "Evaluation"]:
        """Return the results by the duration in seconds (below 1, 1–2, 2–4, 4–8, …); empty if unknown."""
        if not all(utterance.duration_seconds for utterance in self.utterances):
            return {}
        groups = self._grouped(lambda utterance: int(utterance.duration_seconds).bit_length())
        return {f"{1 << bits >> 1}–{1 << bits} s": group for bits, group in groups.items()}

    def summary(self) -> dict[str, float | int]:
        """Return ``wer``, its interval ``low`` and ``high``, ``cer``, in per cent; ``utterances`` and ``words``.

        Raises
        ------
        DataError
            If no reference has a word: there is no rate then.
        """
        if not self.words.reference_length:
            raise DataError(f"none of {len(self.utterances)} references has a word; a rate needs at least one")
        low, high = self.interval()
        return {
            "wer": round(100 * (self.words.rate or 0.0), 3),
            "low": round(100 * low, 2),
            "high": round(100 * high, 2),
            "cer": round(100 * (self.characters.rate or 0.0), 3),
            "utterances": len(self.utterances),
            "words": self.words.reference_length,
        }

    def _grouped(self, key: Callable[[UtteranceResult], Key]) -> dict[Key, "Evaluation"]:
        groups: dict[Key, list[UtteranceResult]] = {}
        for utterance in self.utterances:
            groups.setdefault(key(utterance), []).append(utterance)
        return {name: Evaluation(tuple(groups[name])) for name in sorted(groups)}


def _interval(parts: tuple[ErrorCounts, ...], samples: int) -> tuple[float, float]:
    if not parts:
        raise DataError("there is no utterance; an interval needs at least one")
    totals = resampled_totals(np.array([(part.errors, part.reference_length) for part in parts]), samples)
    return interval_of(rates(totals[:, 0], totals[:, 1]))


def _range(bits: int) -> str:
    """Return the numbers with `bits` binary digits, as ``4–7``."""
    first, last = 1 << bits >> 1, (1 << bits) - 1
    return str(first) if first >= last else f"{first}–{last}"
