"""Beam search against brute force over all labellings, and against torch's CTC loss."""

import math
import pickle
import warnings
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from asr.decoder import BeamOptions, BeamSearchDecoder, GreedyDecoder, Labels, NGramModel, align, log_softmax
from asr.decoder.ngram import estimate
from asr.errors import DecodingError
from tests.decoder.brute_force import (
    ARPA,
    EMPTY_SCORE,
    LABELS,
    NO_PRUNING,
    SUBWORDS,
    assert_same,
    brute_force,
    hotword_bonus,
    labellings,
    lm_bonus,
    num_empty,
    random_log_probs,
)


@pytest.mark.parametrize("seed", range(3))
def test_every_labelling_has_its_exact_probability(seed):
    log_probs = random_log_probs(seed)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING)
    hypotheses = decoder(log_probs)
    assert_same(hypotheses, brute_force(log_probs))
    assert all(hypothesis.score == hypothesis.acoustic_score for hypothesis in hypotheses)


def test_the_acoustic_score_is_the_ctc_loss():
    torch = pytest.importorskip("torch")
    log_probs = random_log_probs(3, num_frames=12)
    for hypothesis in BeamSearchDecoder(LABELS, options=NO_PRUNING).with_options(nbest=20)(log_probs):
        loss = torch.nn.functional.ctc_loss(
            torch.tensor(log_probs)[:, None], torch.tensor([hypothesis.tokens]).reshape(1, -1),
            torch.tensor([len(log_probs)]), torch.tensor([len(hypothesis.tokens)]), reduction="sum",
        )  # fmt: skip
        assert hypothesis.acoustic_score == pytest.approx(-float(loss), abs=1e-4)


@pytest.mark.parametrize(("oov", "cost"), [("allow", 0.0), ("penalise", -3.0), ("forbid", -np.inf)])
@pytest.mark.parametrize("labels", [LABELS, SUBWORDS])
def test_words_of_a_language_model(lm, oov, cost, labels):
    options = BeamSearchDecoder(labels, options=NO_PRUNING, lm=lm).with_options(oov=oov, oov_score=-3.0).options
    decoder = BeamSearchDecoder(labels, options=options, lm=lm)
    log_probs = random_log_probs(5, num_labels=len(labels))
    expected = brute_force(log_probs, labels, lm_bonus(lm, options, cost), EMPTY_SCORE)
    hypotheses = decoder(log_probs)
    assert_same(hypotheses, expected)
    for hypothesis in hypotheses:
        assert hypothesis.lm_score == pytest.approx(lm.score(hypothesis.text), abs=1e-5)


def test_without_sentence_end_and_with_added_words(lm):
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm).with_options(oov="forbid", sentence_end=False)
    log_probs = random_log_probs(6)
    before = {hypothesis.text for hypothesis in decoder(log_probs)}
    assert "bb" not in before
    decoder.add_words([])
    assert {hypothesis.text for hypothesis in decoder(log_probs)} == before
    decoder.add_words(["bb", "a"])
    options = decoder.options

    def bonus(words):
        cost = 0.0 if all(word in lm or word == "bb" for word in words) else -np.inf
        return options.alpha * lm.score(words, eos=False) + options.beta * len(words) + cost

    assert_same(decoder(log_probs), brute_force(log_probs, bonus=bonus, empty_score=EMPTY_SCORE))


@pytest.mark.parametrize("seed", range(3))
def test_a_6_gram_of_pieces(seed):
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(SUBWORDS[1:], rng.integers(3, 12), p=[0.4, 0.3, 0.2, 0.1])) for _ in range(300)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lm = estimate(texts, 6)
    assert lm.order == 6
    log_probs = random_log_probs(seed, num_frames=7, num_labels=len(SUBWORDS))
    decoder = BeamSearchDecoder(SUBWORDS, options=NO_PRUNING, lm=lm, lm_level="token")
    best: dict[str, float] = {}
    for tokens, log_p in labellings(log_probs).items():
        score = log_p + 0.8 * lm.score([SUBWORDS[token] for token in tokens]) + 0.7 * len(tokens)
        text = decoder.labels.text(tokens)
        best[text] = max(best.get(text, -math.inf), score)
    found = decoder.with_options(beam_size=100_000, nbest=100_000)(log_probs)
    assert max(len(hypothesis.tokens) for hypothesis in found) == 7
    assert_same(found, best)


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
        empty = num_empty(hypothesis.tokens, LABELS)
        expected = hypothesis.acoustic_score + 0.8 * hypothesis.lm_score + 0.7 * len(words) - 10 * unknown
        expected += EMPTY_SCORE * empty
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
    # One token per frame, one hypothesis: the best path and nothing else.
    # No memory is asked for tokens beyond the labels.
    every = [BeamSearchDecoder(LABELS, options=BeamOptions(top_k=top_k))(log_probs) for top_k in (0, 10**15)]
    assert every[0] == every[1]
    narrow = BeamSearchDecoder(LABELS, options=BeamOptions(beam_size=1, top_k=1))(log_probs)[0]
    assert narrow.score <= best.score


def test_searches_of_one_thread_have_nothing_of_each_other(lm):
    rng = np.random.default_rng(5)
    utterances = [log_softmax(rng.normal(0, 3, (frames, 4))) for frames in (5, 400, 1, 40)]
    wide = BeamSearchDecoder(["", " ", "a", "b"], lm=lm)
    narrow = wide.with_options(beam_size=3)
    # Threads of their own have no memory of a search before.
    fresh = [decoder.decode_batch([utterance], threads=2)[0] for decoder in (wide, narrow) for utterance in utterances]
    for _ in range(2):
        assert [decoder(utterance) for decoder in (wide, narrow) for utterance in utterances] == fresh
    stream = wide.stream()
    stream.push(utterances[1])
    narrow(utterances[3])
    wide(utterances[3])
    assert stream.finish() == fresh[1]


@pytest.mark.parametrize("hotwords", [(), ["ba"]])
def test_whole_utterances_are_decoded_as_streams_are(lm, hotwords):
    rng = np.random.default_rng(11)
    utterances = [log_softmax(rng.normal(0, 3, (frames, 4))) for frames in (5, 30, 1, 90)]
    # Several hypotheses are best; and the memory of the beginning is not enough.
    utterances[2:2] = [np.log(np.full((3, 4), 0.25)), log_softmax(rng.normal(0, 1, (900, 4)))]
    for options in ({}, {"beam_size": 3}, {"nbest": 4}, {"oov": "forbid", "recombine": True, "prior_weight": 0.5}):
        decoder = BeamSearchDecoder(
            LABELS, lm=lm, options=options, hotwords=hotwords, label_priors=np.log([0.7, *3 * [0.1]])
        )
        streamed = []
        for utterance in utterances:
            stream = decoder.stream()
            stream.push(utterance)
            streamed.append(stream.finish())
        assert decoder.decode_batch(utterances) == streamed
        assert [decoder(utterance) for utterance in utterances] == streamed


def test_a_batch_holds_few_large_utterances_at_a_time(monkeypatch):
    monkeypatch.setattr("asr.decoder.batch.CHUNK_VALUES", 30)
    drawn: list[weakref.ref[np.ndarray]] = []

    def utterances() -> Iterator[np.ndarray]:
        for _ in range(8):
            assert sum(utterance() is not None for utterance in drawn) <= 2
            utterance = log_softmax(np.random.default_rng(1).normal(size=(10, 4)))
            drawn.append(weakref.ref(utterance))
            yield utterance

    assert len(BeamSearchDecoder(LABELS).decode_batch(utterances())) == 8


def test_an_utterance_that_nothing_fits_is_named():
    impossible = np.full((4, 4), -np.inf)
    impossible[:, 3] = 0.0
    possible = log_softmax(np.random.default_rng(2).normal(size=(4, 4)))
    decoder = BeamSearchDecoder(LABELS, lexicon=["a"])
    with pytest.raises(DecodingError, match="utterance 1 of the batch: no hypothesis is left after frame 0"):
        decoder.decode_batch([possible, impossible, possible])


def test_a_decoder_works_in_memory_that_processes_share(lm):
    log_probs = log_softmax(np.random.default_rng(5).normal(size=(30, 4)))
    decoder = BeamSearchDecoder(["", " ", "a", "b"], lm=lm, hotwords=["ab"])
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(decoder, protocol=5, buffer_callback=buffers.append)
    # As joblib's and ray's, they cannot be written to.
    other = pickle.loads(pickled, buffers=[bytes(buffer.raw()) for buffer in buffers])
    assert other(log_probs) == decoder(log_probs)
    assert other.lm.score("a b") == lm.score("a b")


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
    with pytest.warns(UserWarning, match="each label is a word"):
        BeamSearchDecoder(["_", "a", "b"], lm=lm)
    with pytest.raises(DecodingError, match="knows none of the labels"):
        BeamSearchDecoder(["_", "x", "y"], lm=lm, lm_level="token")
    with pytest.warns(UserWarning, match=r"1 of the language model's 3 tokens: no label is .*lm_level='word'"):
        BeamSearchDecoder(["_", "a", "y"], lm=lm, lm_level="token")


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


@pytest.mark.parametrize("context", ["ab a", "zz", ""])
def test_the_language_model_goes_on_from_what_was_said_before(lm, context):
    log_probs = random_log_probs(6)
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=lm).with_options(oov="allow")
    before = context.split()

    def bonus(words):
        language = lm.score([*before, *words]) - lm.score(before, eos=False)
        return NO_PRUNING.alpha * language + NO_PRUNING.beta * len(words)

    hypotheses = decoder(log_probs, context=context)
    assert_same(hypotheses, brute_force(log_probs, bonus=bonus, empty_score=EMPTY_SCORE))
    stream = decoder.stream(context=context)
    stream.push(log_probs[:3])
    stream.push(log_probs[3:])
    assert stream.finish() == hypotheses
    # A hypothesis is as good a context as its text, and what it goes on to is another's context.
    last = next(hypothesis for hypothesis in decoder(log_probs) if hypothesis.text == "a ba")
    assert decoder(log_probs, context=last) == decoder(log_probs, context="a ba")


def test_a_model_of_tokens_goes_on_from_a_hypothesis(tmp_path):
    path = tmp_path / "tokens.arpa"
    path.write_text(ARPA.replace("ab", "b").replace("ba", "|"))
    decoder = BeamSearchDecoder(LABELS, options=NO_PRUNING, lm=NGramModel.read(path), lm_level="token")
    log_probs = random_log_probs(7, num_frames=4)
    plain = {hypothesis.tokens: hypothesis.lm_score for hypothesis in decoder(log_probs)}
    last = next(hypothesis for hypothesis in decoder(log_probs) if hypothesis.text == "b")
    for hypothesis in decoder(log_probs, context=last):
        names = [LABELS[token].replace(" ", "|") for token in hypothesis.tokens]
        assert hypothesis.lm_score == pytest.approx(
            decoder.lm.score(["b", *names]) - decoder.lm.score(["b"], eos=False)
        )
        assert hypothesis.tokens in plain
    with pytest.raises(DecodingError, match="expected a hypothesis"):
        decoder(log_probs, context="b")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "labels",
    [
        # One alphabet as three toolkits write it.
        Labels(SUBWORDS),
        Labels.from_nemo(SUBWORDS[1:]),
        Labels.from_huggingface({"[PAD]": 0, "a": 1, "##b": 2, "ba": 3, "##a": 4}),
        # Of NeMo's, with the mark as a label of its own.
        Labels.from_nemo(["▁", "b", "▁ba", "a"]),
    ],
    ids=["marks", "nemo", "continuation", "lone mark"],
)
def test_subwords(lm, labels, seed):
    log_probs = random_log_probs(seed, num_labels=5)
    texts = ["<blank>", *(text for i, text in enumerate(labels.texts) if i != labels.blank)]
    columns = np.roll(log_probs, -1, axis=1) if labels.blank == 4 else log_probs
    decoder = BeamSearchDecoder(labels, options=NO_PRUNING, lm=lm).with_options(oov="allow")
    assert_same(decoder(columns), brute_force(log_probs, texts, lm_bonus(lm, NO_PRUNING)))


def test_bytes_are_put_together():
    labels = Labels(["<blank>", "▁", "<0xC3>", "<0xA9>", "t"])
    said = {(2, 3, 4, 2, 3): "été", (1, 4, 2, 3, 1, 4): "té t", (4, 2): "t\ufffd", (3, 2, 3): "\ufffdé"}
    for tokens, text in said.items():
        path = [x for token in tokens for x in (token, 0)]
        probs = np.full((len(path), 5), 0.01)
        probs[np.arange(len(path)), path] = 0.96
        for decoder in (GreedyDecoder(labels), BeamSearchDecoder(labels)):
            assert decoder(np.log(probs))[0].text == text
    # Words, too, are spelled in bytes where their characters have no label.
    log_probs = random_log_probs(3, num_frames=6, num_labels=5)
    closed = BeamSearchDecoder(labels, options=NO_PRUNING, lexicon=["é", "té"])(log_probs)
    free = BeamSearchDecoder(labels, options=NO_PRUNING)(log_probs)
    expected = {h.text: h.score for h in free if set(h.text.split()) <= {"é", "té"}}
    assert "té é" in expected
    assert_same(closed, expected)
