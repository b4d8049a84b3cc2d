"""Entropy pruning: against the relative entropy summed over the whole vocabulary, one n-gram left out at a time."""

import math
import warnings

import pytest

from asr.decoder.ngram import NGramModel, estimate, prune, restrict
from asr.errors import DecodingError

from .models import backed_off, ngrams_of, random_sentences, totals_of

LN10 = math.log(10)


@pytest.fixture(scope="module")
def model():
    # Few words, so that sums over all of them are quick; too few for the 1-grams' discounts, which is no matter here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimate(random_sentences(150, seed=3, num_words=25))


def rise_without(table, words, gram):
    """Return the relative rise of perplexity without one n-gram: the definition, summed over all words."""
    context = gram[:-1]
    less = {other: numbers for other, numbers in table.items() if other != gram}
    listed = [other for other in less if other[:-1] == context]
    free = 1 - math.fsum(10 ** less[other][0] for other in listed)
    lower_free = 1 - math.fsum(math.exp(backed_off(table, context[1:], other[-1])) for other in listed)
    less[context] = (less[context][0], math.log10(free / lower_free))
    divergence = 0.0
    for word in words:
        before, after = backed_off(table, context, word), backed_off(less, context, word)
        divergence += math.exp(before) * (before - after)
    context_log_prob = sum(
        # <s> is as likely as </s>.
        backed_off(table, context[:i], context[i] if context[i] != "<s>" else "</s>")
        for i in range(len(context))
    )
    return math.expm1(math.exp(context_log_prob) * divergence)


def test_what_goes_is_what_the_definition_says(model):
    table = ngrams_of(model)
    words = [word for word in model.words if word != "<s>"]
    rises = {gram: rise_without(table, words, gram) for gram in table if len(gram) == 3}
    threshold = sorted(rises.values())[len(rises) // 2] * 1.0001
    kept = ngrams_of(prune(model, threshold))
    decided = [gram for gram, rise in rises.items() if abs(rise - threshold) > 1e-3 * threshold]
    assert len(decided) > 0.9 * len(rises)
    assert [gram in kept for gram in decided] == [rises[gram] > threshold for gram in decided]
    # Bigrams go by the same rule, unless a trigram that stays begins with them.
    begun = {gram[:-1] for gram in kept if len(gram) == 3}
    for gram in (gram for gram in table if len(gram) == 2):
        rise = rise_without(table, words, gram)
        if abs(rise - threshold) > 1e-3 * threshold:
            assert (gram in kept) == (gram in begun or rise > threshold), gram


@pytest.mark.parametrize("threshold", [0.0, 1e-5, 1e-4, 1e-2])
def test_what_stays_keeps_its_probability_and_all_sum_to_one(model, threshold):
    pruned = prune(model, threshold)
    before, after = ngrams_of(model), ngrams_of(pruned)
    assert all(before[gram][0] == after[gram][0] for gram in after)
    assert totals_of(pruned) == pytest.approx([1.0] * len(pruned.query_arrays[3]), abs=1e-4)


def test_everything_may_go_but_the_words(model, tmp_path):
    before = ngrams_of(model)
    pruned = prune(model, math.inf)
    assert ngrams_of(model) == before
    assert pruned.counts == (model.counts[0], 0, 0)
    pruned.write_arpa(tmp_path / "lm.arpa")
    assert NGramModel.read(tmp_path / "lm.arpa").score("w1 w2") == pytest.approx(pruned.score("w1 w2"))
    assert prune(estimate(random_sentences(250, seed=1), order=1), 1.0).order == 1


def test_states_of_a_pruned_model_follow_the_definition(model):
    # Here a bigram may be gone while a trigram that ends with it stays, so a context's suffix is no context.
    pruned = prune(model, 1e-3)
    table = ngrams_of(pruned)
    assert any(gram[1:] not in table for gram in table if len(gram) == 3)
    for sentence in random_sentences(40, seed=9, num_words=25):
        words = ("<s>", *sentence.split())
        expected = [backed_off(table, words[:i], words[i]) for i in range(1, len(words))]
        assert pruned.log_probs(words[1:], eos=False) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("threshold", [-1e-9, math.nan])
def test_a_threshold_that_cannot_be_meant_is_refused(model, threshold):
    with pytest.raises(DecodingError, match="expected a relative rise"):
        prune(model, threshold)


def test_other_words_than_the_vocabularys_leave_no_trace_but_unk(model):
    vocabulary = [word for word in model.words if not word.startswith("<")][::2]
    small = restrict(model, [*vocabulary, "never-seen"])
    assert set(small.words) == {*vocabulary, "<unk>", "<s>", "</s>"}
    before, after = ngrams_of(model), ngrams_of(small)
    assert set(after) == {gram for gram in before if set(gram) <= set(small.words)}
    for gram, (log10_prob, _) in after.items():
        if gram != ("<unk>",):
            assert log10_prob == before[gram][0]
    assert all(total == pytest.approx(1, abs=1e-5) for total in totals_of(small))
    with pytest.raises(DecodingError, match="knows none of the words"):
        restrict(model, ["other"])
