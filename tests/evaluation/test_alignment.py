"""Alignments spell out both texts with the fewest errors; confusions count them."""

from hypothesis import given
from hypothesis import strategies as st

from asr.evaluation.alignment import Confusions, align_words
from asr.wer import word_errors

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=7).map(" ".join)


@given(WORDS, WORDS)
def test_an_alignment_holds_both_texts_and_the_errors_of_the_counts(reference, hypothesis):
    steps = align_words(reference, hypothesis)
    assert " ".join(step.reference for step in steps if step.reference is not None) == reference
    assert " ".join(step.hypothesis for step in steps if step.hypothesis is not None) == hypothesis
    counts = word_errors([reference], [hypothesis])
    found = Confusions.of([steps])
    assert sum(count for _, count in found.substitutions) == counts.substitutions
    assert sum(count for _, count in found.insertions) == counts.insertions
    assert sum(count for _, count in found.deletions) == counts.deletions


def test_the_most_frequent_confusions_come_first():
    pairs = [("b c", "d c"), ("b", "d"), ("a", "x"), ("b", "b q"), ("z q", "z")]
    found = Confusions.of([align_words(*pair) for pair in pairs])
    assert found.substitutions == ((("b", "d"), 2), (("a", "x"), 1))
    assert found.insertions == found.deletions == (("q", 1),)
