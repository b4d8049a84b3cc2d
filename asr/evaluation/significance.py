"""How far a result is due to chance: intervals by resampling, and tests on matched pairs of two systems.

Intervals: Bisani & Ney, *Bootstrap estimates for confidence intervals in ASR*, ICASSP 2004.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.evaluation.alignment import AlignedWord

SAMPLES = 10_000
# Numbers drawn at a time: 8 MB, however large the test set is.
BLOCK_DRAWS = 1 << 20

# Words that both systems must have right, one after the other, for what lies on either side to be independent; two,
# as in NIST's sctk.
MIN_GOOD_WORDS = 2


def resampled_totals(counts: NDArray[np.int64], samples: int = SAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """Return the totals of test sets drawn from `counts` with replacement, each as large as the set itself.

    Parameters
    ----------
    counts : ndarray, shape (N, K), int64
        K counts (errors, words, …) of each utterance; the K of one utterance stay together.
    samples : int
    seed : int

    Returns
    -------
    ndarray, shape (samples, K), int64
    """
    N, K = counts.shape
    # Utterances with equal counts are interchangeable: how often each kind is drawn is multinomial.
    kinds, sizes = np.unique(counts, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    totals = np.empty((samples, K), np.int64)
    rows = max(1, BLOCK_DRAWS // len(kinds))
    for first in range(0, samples, rows):
        drawn = generator.multinomial(N, sizes / N, min(rows, samples - first))
        totals[first : first + rows] = drawn @ kinds
    return totals


def rates(errors: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """Return errors over lengths, elementwise; a set drawn without a reference word counts as having one."""
    quotients: NDArray[np.float64] = errors / np.maximum(1, lengths)
    return quotients


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of resampled values: the percentile interval of 95 %."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


class SegmentErrors(NamedTuple):
    """Word errors of two systems in one segment of the reference."""

    a: int
    b: int


@dataclass(frozen=True)
class MatchedPairs:
    """The matched-pairs sentence-segment word error test (Gillick & Cox, ICASSP 1989).

    Parameters
    ----------
    segments : int
        Segments in which at least one of the systems errs.
    mean_difference : float
        Errors of B minus errors of A, per segment.
    statistic : float or None
        The mean over its standard error: standard normal if there is no difference. None if there is no spread:
        only one segment, or the same difference in all.
    p_value : float or None
        Two-sided. The normal distribution is an approximation for, say, 50 segments and more.
    """

    segments: int
    mean_difference: float
    statistic: float | None
    p_value: float | None


def error_segments(a: Sequence[AlignedWord], b: Sequence[AlignedWord]) -> list[SegmentErrors]:
    """Cut an utterance at `MIN_GOOD_WORDS` or more words in a row that both systems have right.

    Parameters
    ----------
    a, b : sequence of AlignedWord
        The alignments of two hypotheses with one reference.

    Returns
    -------
    list of SegmentErrors
        Of the segments in which at least one system errs, in order.
    """
    segments: list[SegmentErrors] = []
    current, good = SegmentErrors(0, 0), 0
    for errors_a, errors_b, is_word in _slots(a, b):
        if errors_a or errors_b:
            current = SegmentErrors(current.a + errors_a, current.b + errors_b)
            good = 0
        elif is_word:
            good += 1
        if good >= MIN_GOOD_WORDS and any(current):
            segments.append(current)
            current = SegmentErrors(0, 0)
    return [*segments, current] if any(current) else segments


def _slots(a: Sequence[AlignedWord], b: Sequence[AlignedWord]) -> list[tuple[int, int, bool]]:
    """Return (errors of A, errors of B, is a word) for the gap before each reference word, the word, and the end."""
    columns = [_errors_by_slot(alignment) for alignment in (a, b)]
    return [(*errors, slot % 2 == 1) for slot, errors in enumerate(zip(*columns, strict=True))]


def _errors_by_slot(alignment: Sequence[AlignedWord]) -> list[int]:
    """Return insertions at even places, and at odd ones whether the reference word is wrong."""
    errors = [0]
    for expected, got in alignment:
        if expected is None:
            errors[-1] += 1
        else:
            errors += [int(expected != got), 0]
    return errors


def matched_pairs(segments: Sequence[SegmentErrors]) -> MatchedPairs:
    """Test whether two systems differ in errors a segment; A and B as in `error_segments`."""
    differences = np.array([segment.b - segment.a for segment in segments], dtype=np.float64)
    if not differences.any():
        return MatchedPairs(len(segments), 0.0, 0.0, 1.0)
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if deviation == 0:
        return MatchedPairs(len(segments), mean, None, None)
    statistic = mean / (deviation / math.sqrt(len(differences)))
    return MatchedPairs(len(segments), mean, statistic, math.erfc(abs(statistic) / math.sqrt(2)))


class SignTest(NamedTuple):
    """How often one of a pair was better, ties left out, and the exact two-sided binomial p-value."""

    a_better: int
    b_better: int
    p_value: float


def sign_test(pairs: Iterable[tuple[int, int]]) -> SignTest:
    """Test whether the smaller of a pair is on one side more often than a coin would have it.

    Of word errors it is the sign test on utterances; of 0 (right) and 1 (wrong) it is McNemar's test, exact.
    """
    listed = list(pairs)
    a_better = sum(a < b for a, b in listed)
    b_better = sum(b < a for a, b in listed)
    n, fewer = a_better + b_better, min(a_better, b_better)
    # Exact for any n: integers, divided once at the end.
    tail = ways = 1
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return SignTest(a_better, b_better, min(1.0, 2 * tail / 2**n))
