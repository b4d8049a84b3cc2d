"""Beam search against brute force over all labellings, and against torch's CTC loss."""

import itertools
import math

import numpy as np
import pytest
import torch

from asr.decoder import BeamOptions, BeamSearchDecoder, NGramModel, align, log_softmax
from asr.errors import DecodingError

LABELS = ["<blank>", " ", "a", "b"]
SUBWORDS = ["<blank>", "▁a", "b", "▁ba", "a"]
NO_PRUNING = BeamOptions(
    beam_size=2000, top_k=0, token_threshold=-math.inf, beam_threshold=math.inf, nbest=2000, alpha=0.8, beta=0.7
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


@pytest.fixture(scope="module")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return NGramModel.read(path)


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


def brute_force(log_probs, labels=LABELS, bonus=lambda words: 0.0):
    """Text → best score of a labelling with this text, by the written-out formula."""
    best = {}
    for tokens, log_p in labellings(log_probs).items():
        text = "".join(labels[token] for token in tokens).replace("▁", " ")
        words = text.split()
        score = log_p + bonus(words)
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


@pytest.mark.parametrize("seed", range(3))
def test_every_labelling_has_its_exact_probability(seed):
    log_probs = random_log_probs(seed)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING)
    hypotheses = decoder(log_probs)
    assert_same(hypotheses, brute_force(log_probs))
    for hypothesis in hypotheses[:20]:
        loss = torch.nn.functional.ctc_loss(
            torch.tensor(log_probs)[:, None], torch.tensor([hypothesis.tokens]).reshape(1, -1),
            torch.tensor([len(log_probs)]), torch.tensor([len(hypothesis.tokens)]), reduction="sum",
        )  # fmt: skip
        assert hypothesis.acoustic_score == pytest.approx(-float(loss), abs=1e-4)
        assert hypothesis.score == hypothesis.acoustic_score


@pytest.mark.parametrize(("oov", "cost"), [("allow", 0.0), ("penalise", -3.0), ("forbid", -np.inf)])
@pytest.mark.parametrize("labels", [LABELS, SUBWORDS])
def test_words_of_a_language_model(lm, oov, cost, labels):
    options = BeamSearchDecoder(labels, options=NO_PRUNING, lm=lm).with_options(oov=oov, oov_score=-3.0).options
    decoder = BeamSearchDecoder(labels, options=options, lm=lm)
    log_probs = random_log_probs(5, num_labels=len(labels))
    expected = brute_force(log_probs, labels, lm_bonus(lm, options, cost))
    hypotheses = decoder(log_probs)
    assert_same(hypotheses, expected)
    for hypothesis in hypotheses:
        assert hypothesis.lm_score == pytest.approx(lm.score(hypothesis.text), abs=1e-5)


def test_without_sentence_end_and_with_added_words(lm):
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm).with_options(oov="forbid", sentence_end=False)
    log_probs = random_log_probs(6)
    before = {hypothesis.text for hypothesis in decoder(log_probs)}
    assert "bb" not in before
    decoder.add_words(["bb", "a"])
    options = decoder.options

    def bonus(words):
        cost = 0.0 if all(word in lm or word == "bb" for word in words) else -np.inf
        return options.alpha * lm.score(words, eos=False) + options.beta * len(words) + cost

    assert_same(decoder(log_probs), brute_force(log_probs, bonus=bonus))


def test_language_model_of_tokens(tmp_path):
    text = ARPA.replace(" ab", " |").replace(" ba", " b")
    (tmp_path / "tokens.arpa").write_text(text)
    lm = NGramModel.read(tmp_path / "tokens.arpa")
    log_probs = random_log_probs(7)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm, lm_level="token")
    names = {1: "|", 2: "a", 3: "b"}
    best = {}
    for tokens, log_p in labellings(log_probs).items():
        score = log_p + 0.8 * lm.score([names[token] for token in tokens]) + 0.7 * len(tokens)
        key = " ".join("".join(LABELS[token] for token in tokens).split())
        best[key] = max(best.get(key, -np.inf), score)
    assert_same(decoder(log_probs), best)


def test_scores_add_up(lm):
    options = NO_PRUNING
    decoder = BeamSearchDecoder(LABELS, options=options, lm=lm, hotwords={"ab a": 1.5, "b": 2.0})
    for hypothesis in decoder(random_log_probs(8))[:50]:
        words = hypothesis.text.split()
        unknown = sum(word not in lm and word != "b" for word in words)
        expected = hypothesis.acoustic_score + 0.8 * hypothesis.lm_score + 0.7 * len(words) - 10 * unknown
        assert hypothesis.score == pytest.approx(expected + hypothesis.hotword_score, abs=1e-6)
        assert hypothesis.hotword_score == pytest.approx(hotword_bonus({"ab a": 1.5, "b": 2.0})(words))


def test_equal_scores_are_ordered_by_tokens():
    uniform = np.full((3, 4), np.log(0.25))
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING)
    hypotheses = decoder(uniform)
    keys = [(-hypothesis.score, hypothesis.tokens) for hypothesis in hypotheses]
    assert keys == sorted(keys)
    assert decoder(uniform) == hypotheses


def test_pruning_keeps_what_matters():
    log_probs = log_softmax(6 * np.random.default_rng(9).normal(size=(60, 4)))
    best = BeamSearchDecoder(LABELS, options=BeamOptions(beam_size=500, beam_threshold=1e9))(log_probs)[0]
    for limits in ({"beam_size": 20}, {"top_k": 2}, {"token_threshold": -8.0}, {"beam_threshold": 8.0}):
        pruned = BeamSearchDecoder(LABELS, options=BeamOptions(**limits))(log_probs)[0]
        assert pruned.text == best.text
        assert pruned.words == best.words
        assert best.score - 0.5 < pruned.score <= best.score + 1e-9
    # One token a frame, one hypothesis: the best path and nothing else.
    narrow = BeamSearchDecoder(LABELS, options=BeamOptions(beam_size=1, top_k=1))(log_probs)[0]
    assert narrow.score <= best.score


def test_bad_options(lm):
    for message, options in {
        "beam_size is 0": {"beam_size": 0},
        "top_k is -1": {"top_k": -1},
        "alpha is -1": {"alpha": -1},
        "alpha is nan": {"alpha": math.nan},
        "beta is inf": {"beta": math.inf},
        "beam_threshold is 0": {"beam_threshold": 0},
        "token_threshold is 1": {"token_threshold": 1},
        "nbest is 0": {"nbest": 0},
        "oov_score is 2": {"oov_score": 2},
        "horizon_frames is 0": {"horizon_frames": 0},
        "did you mean 'forbid'": {"oov": "forbidd"},
    }.items():
        with pytest.raises(DecodingError, match=message):
            BeamOptions(**options)
    with pytest.raises(DecodingError, match="did you mean 'alpha'"):
        BeamSearchDecoder(LABELS).with_options(alfa=1)
    with pytest.raises(DecodingError, match="lm_level"):
        BeamSearchDecoder(LABELS, lm=lm, lm_level="char")
    with pytest.raises(DecodingError, match="word delimiter"):
        BeamSearchDecoder(["_", "a", "b"], lm=lm)
    with pytest.raises(DecodingError, match="knows none of the labels"):
        BeamSearchDecoder(["_", "x", "y"], lm=lm, lm_level="token")


def test_a_model_in_another_letter_case_is_warned_of(lm):
    with pytest.warns(UserWarning, match=r"0 of the language model's 3 words.*'a' \('a'\).*'A', *'B'|letter case"):
        BeamSearchDecoder(["_", " ", "A", "B"], lm=lm)


@pytest.mark.parametrize("seed", range(3))
def test_times_and_confidences_are_those_of_forced_alignment(seed, lm):
    log_probs = log_softmax(2 * np.random.default_rng(seed).normal(size=(40, 4)))
    decoder = BeamSearchDecoder(LABELS, lm=lm, frame_seconds=0.02).with_options(nbest=20, beam_threshold=50.0)
    for hypothesis in decoder(log_probs):
        aligned = align(log_probs, hypothesis.tokens, LABELS, frame_seconds=0.02)
        assert len(aligned.words) == len(hypothesis.words)
        for word, expected in zip(hypothesis.words, aligned.words, strict=True):
            assert word.text == expected.text
            assert word.start_seconds == pytest.approx(expected.start_seconds)
            assert word.end_seconds == pytest.approx(expected.end_seconds)
            assert word.confidence == pytest.approx(expected.confidence, abs=1e-6)
        times = [time for word in hypothesis.words for time in (word.start_seconds, word.end_seconds)]
        assert times == sorted(times)
