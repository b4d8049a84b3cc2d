"""Error counts against a second implementation, and as an algebra."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.wer import ErrorCounts, character_errors, word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=7)


def fewest_errors(reference: list[str], hypothesis: list[str]) -> int:
    """Levenshtein's distance, straight from its recursion over prefixes."""
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, 1):
        previous, row[0] = row[0], i
        for j, got in enumerate(hypothesis, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (expected != got))
    return row[-1]


@given(WORDS, WORDS)
def test_counts_are_those_of_a_shortest_alignment(reference, hypothesis):
    counts = word_errors([" ".join(reference)], [" ".join(hypothesis)])
    assert counts.errors == fewest_errors(reference, hypothesis)
    assert counts.reference_length == len(reference)
    assert counts.hits + counts.substitutions + counts.insertions == len(hypothesis)
    characters = character_errors([" ".join(reference)], [" ".join(hypothesis)])
    assert characters.errors == fewest_errors(list(" ".join(reference)), list(" ".join(hypothesis)))


@given(st.lists(st.tuples(WORDS, WORDS), max_size=4))
def test_counts_of_a_set_are_the_sum_of_its_utterances(pairs):
    references = [" ".join(reference) for reference, _ in pairs]
    hypotheses = [" ".join(hypothesis) for _, hypothesis in pairs]
    together = word_errors(references, hypotheses)
    assert together == sum((word_errors([r], [h]) for r, h in zip(references, hypotheses, strict=True)), ErrorCounts())


def test_an_empty_reference_has_no_rate():
    assert word_errors([""], ["a b"]) == ErrorCounts(insertions=2)
    assert word_errors([""], ["a b"]).rate is None
    assert word_errors([], []).kaldi_line() == "%WER n/a [ 0 / 0, 0 ins, 0 del, 0 sub ]"


def test_kaldi_line():
    assert ErrorCounts(44, 9, 12, 717).kaldi_line() == "%WER 8.41 [ 65 / 773, 9 ins, 12 del, 44 sub ]"


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        word_errors(["a"], [])
