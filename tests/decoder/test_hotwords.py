"""Hotwords: against brute force that scores texts again, and what they must not change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import BeamSearchDecoder, Hotwords, Lexicon, log_softmax
from asr.errors import DecodingError
from tests.decoder.brute_force import (
    EMPTY_SCORE,
    LABELS,
    NO_PRUNING,
    SUBWORDS,
    assert_same,
    brute_force,
    hotword_bonus,
    labellings,
    lm_bonus,
    random_log_probs,
)

PHRASES = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aa"]), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(PHRASES, st.floats(-3, 6).map(lambda value: round(value, 2)), max_size=4), st.booleans())
def test_each_occurrence_counts_its_weight_once(weights, subwords):
    labels = SUBWORDS if subwords else LABELS
    log_probs = random_log_probs(1, num_labels=len(labels))
    decoder = BeamSearchDecoder(labels, options=NO_PRUNING)
    expected = brute_force(log_probs, labels, hotword_bonus(weights))
    assert_same(decoder(log_probs, hotwords=weights), expected)
    plain = {hypothesis.text: hypothesis for hypothesis in decoder(log_probs)}
    for hypothesis in decoder(log_probs, hotwords=weights):
        same = plain[hypothesis.text]
        if same.tokens == hypothesis.tokens:
            assert hypothesis.acoustic_score == pytest.approx(same.acoustic_score, abs=1e-9)
            assert hypothesis.words == same.words
        assert hypothesis.hotword_score == pytest.approx(hotword_bonus(weights)(hypothesis.text.split()))


def test_unknown_words_are_known_while_they_are_hot(lm):
    log_probs = random_log_probs(2)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm).with_options(oov="forbid")
    hot = decoder(log_probs, hotwords={"bb": 2.0})
    language = lm_bonus(lm, NO_PRUNING, -np.inf, known=["bb"])
    boost = hotword_bonus({"bb": 2.0})
    assert_same(
        hot, brute_force(log_probs, bonus=lambda words: language(words) + boost(words), empty_score=EMPTY_SCORE)
    )
    assert not any("bb" in hypothesis.text.split() for hypothesis in decoder(log_probs))


def test_a_lexicon_takes_hotwords_in():
    log_probs = random_log_probs(3)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lexicon=Lexicon(["a"]), hotwords=["b a"])
    assert "b a" in {hypothesis.text for hypothesis in decoder(log_probs)}


def test_zero_boost_changes_nothing(lm):
    rng = np.random.default_rng(4)
    log_probs = log_softmax(3 * rng.normal(size=(120, 4)))
    for options in ({}, {"lm": lm}, {"lexicon": Lexicon(["a", "ba"])}):
        decoder = BeamSearchDecoder(LABELS, **options).with_options(nbest=20)
        assert decoder(log_probs) == decoder(log_probs, hotwords={"bb": 0.0, "a b": 0})


def test_unfinished_phrases_survive_in_a_narrow_beam_but_leave_nothing():
    letters = ["_", " ", *"abcdefghijkl"]
    rng = np.random.default_rng(5)
    said = [letters.index(letter) for letter in "abc def ghi"]
    values = rng.normal(size=(len(said) * 2, len(letters)))
    values[0::2, 0] += 6
    values[1::2] += 9 * np.eye(len(letters))[said]
    # "k" for "e": the phrase is a little less probable than what is heard at first.
    values[11, letters.index("k")] += 12
    log_probs = log_softmax(values)
    decoder = BeamSearchDecoder(letters).with_options(beam_size=8)
    assert decoder(log_probs)[0].text == "abc dkf ghi"
    assert decoder(log_probs, hotwords={"abc def ghi": 12.0})[0].text == "abc def ghi"
    broken, plain = decoder(log_probs, hotwords={"abc def jjj": 12.0})[0], decoder(log_probs)[0]
    assert (broken.words, broken.hotword_score) == (plain.words, 0.0)


def test_bad_hotwords():
    with pytest.raises(DecodingError, match=r"hotwords have .*'Zoë' \('Z', 'o', 'ë'\)"):
        BeamSearchDecoder(LABELS, hotwords=["a Zoë"])
    for phrases in ("one", [""], {"a": float("nan")}, {"a": float("inf")}):
        with pytest.raises(DecodingError, match="hotword"):
            Hotwords(phrases)


@pytest.mark.parametrize("weight", [4.0, 40.0])
@pytest.mark.parametrize("labels", [LABELS, SUBWORDS, ["<blank>", "▁", "a", "b", "▁a"]])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_save_time_and_change_nothing(lm, labels, seed, weight):
    log_probs = log_softmax(1.5 * np.random.default_rng(seed).normal(size=(80, len(labels))))
    hotwords = {"ab a": weight, "a": 0.5, "bb": 3.0, "a b": -2.0}
    for models in ({"lm": lm}, {"lm": lm, "lexicon": Lexicon(["a", "ab", "bab"])}, {}):
        decoder = BeamSearchDecoder(labels, hotwords=hotwords, **models).with_options(beam_size=15, nbest=15)
        expected = decoder(log_probs)
        # No label is refused by a bound any more.
        setup = dataclasses.replace(decoder._setup)
        setup.__dict__["scorer"] = setup.scorer._replace(token_gain=1e9)
        decoder._setup = setup
        assert decoder(log_probs) == expected


def test_a_hotword_within_another_keeps_its_credit():
    # "york" has begun where "new yo" stands, and is worth more: it must not be lost on the way.
    labels = ["<blank>", " ", *"neworyk"]
    frames = log_softmax(8 * np.eye(len(labels))[[labels.index(letter) for letter in "new yoro"]])
    decoder = BeamSearchDecoder(labels, hotwords={"new yo kw": 1.0, "york": 20.0}, options={"beam_size": 1})
    stream = decoder.stream()
    stream.push(frames[:6])
    prefix = stream._state.prefixes[stream._state.beams[0, 0]["prefix"]]
    assert stream.stable_text + " " + stream.partial_text == "new yo"
    assert prefix["look_ahead"] == pytest.approx(20 * 2 / 5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("first", [None, {"a": 1.5, "b a": 2.0}])
def test_hotwords_that_change_during_a_stream(seed, first):
    log_probs, then = random_log_probs(seed), {"a": 2.0, "a b": 3.0, "bb": -1.0}
    stream = BeamSearchDecoder(LABELS, options=NO_PRUNING).stream(hotwords=first)
    stream.push(log_probs[:2])
    stream.set_hotwords(then)
    stream.push(log_probs[2:])
    # In two frames any two different labels may have been said, and a word that ended with them.
    expected = {}
    for tokens, log_p in labellings(log_probs).items():
        words, bonus, start = [], 0.0, 0
        for end in [*(i for i, token in enumerate(tokens) if token == 1), len(tokens)]:
            if start < end:
                words.append("".join(LABELS[token] for token in tokens[start:end]))
                weights = then if end >= 2 or end == len(tokens) else first or {}
                said = " ".join(words)
                bonus += sum(w for phrase, w in weights.items() if f" {said}".endswith(f" {phrase}"))
            start = end + 1
        text = " ".join(words)
        expected[text] = max(expected.get(text, -np.inf), log_p + bonus)
    assert_same(stream.finish(), expected)


def test_hotwords_that_come_and_go_leave_nothing():
    log_probs = random_log_probs(8)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING)
    for cut in range(1, 4):
        stream = decoder.stream()
        stream.set_hotwords({"b": 1e-6, "a ab": 1e-6})
        stream.push(log_probs[:cut])
        stream.set_hotwords(None)
        stream.push(log_probs[cut:])
        assert_same(stream.finish(), brute_force(log_probs))
