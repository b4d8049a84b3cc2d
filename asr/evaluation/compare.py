"""Compare two sets of hypotheses on the same references: which is better, by how much, and how significantly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from asr.errors import DataError
from asr.evaluation.alignment import align_words
from asr.evaluation.hypotheses import describe_difference, trn_id
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.evaluation.significance import (
    SAMPLES,
    MatchedPairs,
    SignTest,
    error_segments,
    interval_of,
    matched_pairs,
    rates,
    resampled_totals,
    sign_test,
)
from asr.wer import ErrorCounts


class Pair(NamedTuple):
    """One utterance as recognised by two systems."""

    a: UtteranceResult
    b: UtteranceResult


@dataclass(frozen=True)
class PairedBootstrap:
    """The difference of two WERs (Bisani & Ney 2004, section 4): B's minus A's, so that below 0 B is better.

    Parameters
    ----------
    low, high : float
        95 % interval of the difference, as a fraction.
    b_better, a_better : float
        The probability of improvement: the share of the resampled test sets on which B (A) has the lower WER.
    """

    low: float
    high: float
    b_better: float
    a_better: float


@dataclass(frozen=True)
class Comparison:
    """Two evaluations, paired by utterance; A is the baseline."""

    pairs: tuple[Pair, ...]

    @cached_property
    def a(self) -> Evaluation:
        """The results of A."""
        return Evaluation(tuple(pair.a for pair in self.pairs))

    @cached_property
    def b(self) -> Evaluation:
        """The results of B, in the order of A."""
        return Evaluation(tuple(pair.b for pair in self.pairs))

    @property
    def difference(self) -> float | None:
        """B's WER minus A's, as a fraction; None where the references are empty."""
        if self.a.words.rate is None or self.b.words.rate is None:
            return None
        return self.b.words.rate - self.a.words.rate

    def bootstrap(self, samples: int = SAMPLES) -> PairedBootstrap:
        """Resample utterances, both systems' errors together; the seed is fixed."""
        return _bootstrap([(a.words, b.words) for a, b in self.pairs], samples)

    def bootstrap_by_speaker(self, samples: int = SAMPLES) -> PairedBootstrap | None:
        """Resample speakers, as `Evaluation.interval_by_speaker`; None where fewer than two are known."""
        parts = self.by_speaker()
        if len(parts) < 2 or "" in parts:
            return None
        return _bootstrap([(part.a.words, part.b.words) for part in parts.values()], samples)

    def matched_pairs(self) -> MatchedPairs:
        """Return the test of Gillick & Cox (1989) on segments between words that both have right."""
        return matched_pairs(
            [
                segment
                for a, b in self.pairs
                for segment in error_segments(
                    align_words(a.reference, a.hypothesis), align_words(b.reference, b.hypothesis)
                )
            ]
        )

    def sign_test(self) -> SignTest:
        """Return the sign test on utterances: which system has fewer errors in more of them."""
        return sign_test((a.words.errors, b.words.errors) for a, b in self.pairs)

    def mcnemar(self) -> SignTest:
        """Return McNemar's exact test on utterances: those that only one system has wholly right."""
        return sign_test((int(a.words.errors > 0), int(b.words.errors > 0)) for a, b in self.pairs)

    def only_right(self) -> tuple[list[Pair], list[Pair]]:
        """Return the utterances that only A has right, and those that only B has right."""
        right_a = [pair for pair in self.pairs if pair.b.words.errors and not pair.a.words.errors]
        right_b = [pair for pair in self.pairs if pair.a.words.errors and not pair.b.words.errors]
        return right_a, right_b

    def by_speaker(self) -> dict[str, "Comparison"]:
        """Return the comparison for each speaker, in alphabetical order."""
        groups: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            groups.setdefault(pair.a.speaker, []).append(pair)
        return {speaker: Comparison(tuple(groups[speaker])) for speaker in sorted(groups)}

    def to_dict(self) -> dict[str, Any]:
        """Return all figures for JSON; rates in per cent."""
        by_speaker, matched, right = self.bootstrap_by_speaker(), self.matched_pairs(), self.only_right()
        return {
            "utterances": len(self.pairs),
            "words": self.a.words.reference_length,
            "a": self.a.summary(),
            "b": self.b.summary(),
            "difference": _percent(self.difference),
            "bootstrap": _bootstrap_dict(self.bootstrap()),
            "bootstrap_by_speaker": None if by_speaker is None else _bootstrap_dict(by_speaker),
            "matched_pairs": {
                "segments": matched.segments,
                "mean_difference": matched.mean_difference,
                "statistic": matched.statistic,
                "p_value": matched.p_value,
            },
            "sign_test": self.sign_test()._asdict(),
            "mcnemar": self.mcnemar()._asdict(),
            "by_speaker": {
                speaker: {
                    "utterances": len(part.pairs),
                    "words": part.a.words.reference_length,
                    "a_errors": part.a.words.errors,
                    "b_errors": part.b.words.errors,
                    "difference": _percent(part.difference),
                }
                for speaker, part in self.by_speaker().items()
            },
            "only_a_right": [_texts(pair) for pair in right[0]],
            "only_b_right": [_texts(pair) for pair in right[1]],
        }


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """Pair two evaluations by the ids of their utterances; the order of either does not matter.

    An id of a trn file, ``speaker-utterance``, is that of the utterance in JSON lines.

    Raises
    ------
    DataError
        If an utterance is in one only, or its references differ.
    """
    ours, theirs = _by_id(a), _by_id(b)
    if not ours.keys() & theirs.keys():
        # One of them may be named as trn files name utterances.
        ours, theirs = _renamed(ours, theirs), _renamed(theirs, ours)
    missing = [name for name in ours if name not in theirs]
    extra = [name for name in theirs if name not in ours]
    if missing or extra:
        raise DataError(
            f"the two sets have different utterances: compared with A, B has {describe_difference(missing, extra)}; "
            "expected hypotheses on one test set"
        )
    for name, utterance in ours.items():
        if utterance.reference.split() != theirs[name].reference.split():
            raise DataError(
                f"utterance {name} has two references, {utterance.reference!r} in A and {theirs[name].reference!r} in "
                "B; expected one test set, normalised in one way"
            )
    return Comparison(tuple(Pair(utterance, theirs[name]) for name, utterance in ours.items()))


def _by_id(side: Evaluation) -> dict[str, UtteranceResult]:
    return {utterance.id: utterance for utterance in side.utterances}


def _renamed(side: dict[str, UtteranceResult], other: dict[str, UtteranceResult]) -> dict[str, UtteranceResult]:
    names = {name: trn_id(utterance) for name, utterance in side.items()}
    return {names[name] if names[name] in other else name: utterance for name, utterance in side.items()}


def _bootstrap(parts: Sequence[tuple[ErrorCounts, ErrorCounts]], samples: int) -> PairedBootstrap:
    counts = [(a.errors, b.errors, a.reference_length) for a, b in parts]
    totals = resampled_totals(np.array(counts), samples)
    differences = rates(totals[:, 1] - totals[:, 0], totals[:, 2])
    shares = float((differences < 0).mean()), float((differences > 0).mean())
    return PairedBootstrap(*interval_of(differences), *shares)


def _bootstrap_dict(found: PairedBootstrap) -> dict[str, Any]:
    return {
        "low": _percent(found.low),
        "high": _percent(found.high),
        "probability_b_better": found.b_better,
        "probability_a_better": found.a_better,
    }


def _percent(rate: float | None) -> float | None:
    return None if rate is None else round(100 * rate, 3)


def _texts(pair: Pair) -> dict[str, str]:
    return {
        "id": pair.a.id, "speaker": pair.a.speaker, "text": pair.a.reference,
        "a": pair.a.hypothesis, "b": pair.b.hypothesis,
    }  # fmt: skip
