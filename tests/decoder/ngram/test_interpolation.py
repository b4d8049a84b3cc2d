"""Mixtures: against sums over the models' own probabilities, and against a search over all weights."""

import itertools
import math
import warnings

import numpy as np
import pytest

from asr.decoder.ngram import NGramModel, estimate, interpolate, mixture_weights
from asr.errors import DecodingError

from .models import ngrams_of, random_sentences, totals_of

WEIGHTS = (0.5, 0.3, 0.2)


@pytest.fixture(scope="module")
def models():
    """Three models of different orders, whose vocabularies overlap."""
    texts = [random_sentences(250, seed=seed, num_words=num_words) for seed, num_words in ((1, 40), (2, 60), (3, 50))]
    texts[2] = [sentence.replace("w1", "v1") for sentence in texts[2]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the text is too small")
        return [estimate(text, order, [0, 0, 1][:order]) for text, order in zip(texts, (2, 3, 4), strict=True)]


def mixed_log10(models: list[NGramModel], weights: tuple[float, ...], gram: tuple[str, ...]) -> float:
    total = 0.0
    for model, weight in zip(models, weights, strict=True):
        if gram[-1] in model:
            bos = gram[0] == "<s>"
            log_probs = model.log_probs(gram[bos:], bos=bos, eos=False)
            total += weight * math.exp(log_probs[-1])
    return math.log10(total)


def test_it_lists_all_n_grams_at_the_mixture_s_probability_and_sums_to_one(models):
    mixed = interpolate(models, WEIGHTS)
    table = ngrams_of(mixed)
    assert table.keys() == set().union(*(ngrams_of(model) for model in models))
    for gram, (log10_prob, _) in table.items():
        if gram != ("<s>",):
            assert log10_prob == pytest.approx(mixed_log10(models, WEIGHTS, gram), abs=1e-5), gram
    assert totals_of(mixed) == pytest.approx([1.0] * len(mixed.query_arrays[3]), abs=1e-4)


def test_one_model_twice_is_that_model(models):
    twice = interpolate([models[1], models[1]], [1, 3])
    ours, theirs = ngrams_of(twice), ngrams_of(models[1])
    assert all(ours[gram] == pytest.approx(theirs[gram], abs=1e-4) for gram in theirs)


def test_the_weights_are_the_best_ones(models):
    heldout = [*random_sentences(60, seed=7, num_words=60), *random_sentences(30, seed=8, num_words=45), "unheard"]
    found = mixture_weights(models, heldout)
    assert sum(found.weights) == pytest.approx(1)
    assert found.num_oov == 1

    def log_likelihood(weights):
        total = 0.0
        for sentence in heldout:
            words = ("<s>", *sentence.split(), "</s>")
            for end in range(2, len(words) + 1):
                if any(words[end - 1] in model for model in models):
                    total += mixed_log10(models, weights, words[:end])
        return total

    best = log_likelihood(found.weights)
    assert found.perplexity == pytest.approx(10 ** (-best / (found.num_tokens - found.num_oov)), rel=1e-6)
    for first, second in itertools.permutations(range(3), 2):
        moved = np.array(found.weights)
        step = min(0.02, moved[first])
        moved[first] -= step
        moved[second] += step
        assert log_likelihood(tuple(moved)) <= best + 1e-6


def test_the_written_model_predicts_nearly_as_the_mixture(models):
    heldout = random_sentences(100, seed=9, num_words=50)
    found = mixture_weights(models, heldout)
    mixed = interpolate(models, found.weights)
    assert mixed.perplexity(heldout).without_oov == pytest.approx(found.perplexity, rel=0.05)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((1,), "expected 3 numbers"), ((1, 2, -1), "none of them negative"), ((0, 0, 0), "none of them negative")],
)
def test_weights_that_cannot_be_meant_are_refused(models, weights, message):
    with pytest.raises(DecodingError, match=message):
        interpolate(models, weights)


def test_too_little_is_refused(models):
    with pytest.raises(DecodingError, match="expected two or more"):
        interpolate(models[:1], [1])
    with pytest.raises(DecodingError, match="know no word"):
        mixture_weights(models, ["", " "])
    with pytest.raises(DecodingError, match="one string"):
        mixture_weights(models, "the text")
