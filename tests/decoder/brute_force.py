"""The decoder's oracle: every labelling of a few frames, scored by the formula written out."""

import itertools
import math

import numpy as np
import pytest

from asr.decoder import BeamOptions, log_softmax

LABELS = ["<blank>", " ", "a", "b"]
SUBWORDS = ["<blank>", "▁a", "b", "▁ba", "a"]
EMPTY_SCORE = -1.5
NO_PRUNING = BeamOptions(
    beam_size=2000,
    top_k=0,
    token_threshold=-math.inf,
    beam_threshold=math.inf,
    nbest=2000,
    alpha=0.8,
    beta=0.7,
    oov_score=-10.0,
    empty_score=EMPTY_SCORE,
)
ARPA = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.2 <unk>
-99 <s> -0.3
-0.9 </s>
-0.7 a -0.4
-0.6 ab -0.2
-1.1 ba -0.1

\\2-grams:
-0.4 <s> a
-0.3 a ba
-0.8 a a
-0.2 ab a
-0.5 ba </s>

\\end\\
"""


def random_log_probs(seed, num_frames=5, num_labels=4, scale=2.0):
    return log_softmax(scale * np.random.default_rng(seed).normal(size=(num_frames, num_labels)))


def labellings(log_probs):
    """The log-probability of every labelling: the sum over all alignments, one by one."""
    totals = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        tokens = tuple(token for token, _ in itertools.groupby(path) if token != 0)
        log_p = sum(float(log_probs[t, token]) for t, token in enumerate(path))
        totals[tokens] = np.logaddexp(totals.get(tokens, -np.inf), log_p)
    return totals


def num_empty(tokens, labels):
    """How many delimiters end no word."""
    return sum(labels[b] == " " and (a is None or labels[a] == " ") for a, b in itertools.pairwise([None, *tokens]))


def brute_force(log_probs, labels=LABELS, bonus=lambda _words: 0.0, empty_score=0.0):
    """Text → best score of a labelling with this text, by the written-out formula."""
    best = {}
    for tokens, log_p in labellings(log_probs).items():
        text = "".join(labels[token] for token in tokens).replace("▁", " ")
        words = text.split()
        score = log_p + bonus(words) + empty_score * num_empty(tokens, labels)
        if score > -np.inf:
            best[" ".join(words)] = max(best.get(" ".join(words), -np.inf), score)
    return best


def assert_same(hypotheses, expected):
    assert {hypothesis.text for hypothesis in hypotheses} == set(expected)
    for hypothesis in hypotheses:
        assert hypothesis.score == pytest.approx(expected[hypothesis.text], abs=1e-4)
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)


def lm_bonus(lm, options, oov_score=0.0, known=()):
    def bonus(words):
        unknown = [word for word in words if word not in lm and word not in known]
        cost = oov_score * len(unknown) if unknown else 0.0
        return options.alpha * lm.score(words) + options.beta * len(words) + cost

    return bonus


def hotword_bonus(weights):
    def bonus(words):
        return sum(
            weight
            for phrase, weight in weights.items()
            for i in range(len(words))
            if words[i : i + len(phrase.split())] == phrase.split()
        )

    return bonus
