"""Intervals and tests of significance, each against scipy or a second implementation."""

import re

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from asr.evaluation import significance
from asr.evaluation.alignment import align_words
from asr.evaluation.significance import (
    SegmentErrors,
    error_segments,
    interval_of,
    matched_pairs,
    rates,
    resampled_totals,
    sign_test,
)

COUNTS = np.random.default_rng(7).poisson((0.6, 0.5, 6.0), (150, 3)) + np.array([0, 0, 1])


def wer(errors, lengths, axis=-1):
    return errors.sum(axis=axis) / lengths.sum(axis=axis)


def wer_difference(a, b, lengths, axis=-1):
    return (b.sum(axis=axis) - a.sum(axis=axis)) / lengths.sum(axis=axis)


def test_intervals_are_those_of_scipy():
    totals = resampled_totals(COUNTS)
    options = {"paired": True, "vectorized": True, "method": "percentile", "n_resamples": 10_000, "rng": 3}
    for statistic, columns, values in (
        (wer, (0, 2), rates(totals[:, 0], totals[:, 2])),
        (wer_difference, (0, 1, 2), rates(totals[:, 1] - totals[:, 0], totals[:, 2])),
    ):
        expected = scipy.stats.bootstrap([COUNTS[:, column] for column in columns], statistic, **options)
        low, high = interval_of(values)
        # The Monte Carlo error of a percentile at 10,000 samples is about a fortieth of the standard error.
        assert low == pytest.approx(expected.confidence_interval.low, abs=0.1 * expected.standard_error)
        assert high == pytest.approx(expected.confidence_interval.high, abs=0.1 * expected.standard_error)
        assert values.std() == pytest.approx(expected.standard_error, rel=0.03)


def test_blocks_and_the_order_of_utterances_change_nothing(monkeypatch):
    whole = resampled_totals(COUNTS, samples=50)
    assert (resampled_totals(COUNTS[::-1], samples=50) == whole).all()
    monkeypatch.setattr(significance, "BLOCK_DRAWS", 7 * len(COUNTS))
    assert (resampled_totals(COUNTS, samples=50) == whole).all()
    # Each set drawn is as large as the set itself.
    assert (resampled_totals(np.ones((9, 2), np.int64), samples=5) == 9).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_matched_pairs_is_a_test_of_the_mean_difference(pairs):
    found = matched_pairs([SegmentErrors(a, b) for a, b in pairs])
    differences = np.array([b - a for a, b in pairs], dtype=float)
    assert found.segments == len(pairs)
    assert found.mean_difference == pytest.approx(differences.mean())
    if differences.std() == 0:
        assert (found.statistic, found.p_value) == ((None, None) if differences[0] else (0.0, 1.0))
        return
    statistic = scipy.stats.ttest_1samp(differences, 0).statistic
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(statistic)))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=80))
def test_the_sign_test_is_an_exact_binomial_test(pairs):
    found = sign_test(pairs)
    a_better, b_better = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    assert found[:2] == (a_better, b_better)
    expected = scipy.stats.binomtest(a_better, a_better + b_better).pvalue if a_better + b_better else 1.0
    assert found.p_value == pytest.approx(expected)


def test_the_sign_test_is_exact_for_thousands():
    assert sign_test([(0, 1)] * 2000 + [(1, 0)] * 2200).p_value == pytest.approx(
        scipy.stats.binomtest(2000, 4200).pvalue
    )


def segments_by_pattern(a, b):
    """The same by regular expression: "g" is a word that both have right, a digit a stretch where one errs."""
    marks, errors = [], []
    steps = [iter(alignment) for alignment in (a, b)]

    def gap(alignment):
        """Insertions up to the next reference word, and whether that word is wrong (None at the end)."""
        insertions = 0
        for expected, got in alignment:
            if expected is not None:
                return insertions, int(expected != got)
            insertions += 1
        return insertions, None

    while True:
        (inserted_a, wrong_a), (inserted_b, wrong_b) = gap(steps[0]), gap(steps[1])
        if inserted_a or inserted_b:
            marks.append("x")
            errors.append((inserted_a, inserted_b))
        if wrong_a is None:
            break
        marks.append("x" if wrong_a or wrong_b else "g")
        errors.append((wrong_a, wrong_b))
    found = []
    for match in re.finditer(r"(?:x|g(?!g)(?<!gg))+", "".join(marks)):
        inside = errors[match.start() : match.end()]
        total = tuple(map(sum, zip(*inside, strict=True)))
        if any(total):
            found.append(total)
    return found


WORDS = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@given(WORDS, WORDS, WORDS)
def test_segments_lie_between_two_good_words(reference, a, b):
    alignments = align_words(reference, a), align_words(reference, b)
    assert [tuple(segment) for segment in error_segments(*alignments)] == segments_by_pattern(*alignments)


def test_segments_of_an_example():
    reference = "one two three four five six seven eight nine"
    a = "won two three four fife six seven seven eight nine"
    b = "one two three for five six seven eight nine ten"
    # won | two three | for, fife, six is right but alone, seven twice | seven eight nine | ten
    assert error_segments(align_words(reference, a), align_words(reference, b)) == [(1, 0), (2, 1), (0, 1)]
