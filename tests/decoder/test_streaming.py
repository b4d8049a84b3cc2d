"""Streams: any chunks give what all frames at once give; what is stable stays; memory is bounded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import BeamOptions, BeamSearchDecoder, Lexicon, log_softmax
from asr.decoder.search.state import BACKPOINTERS, PREFIXES
from asr.errors import DecodingError
from tests.decoder.brute_force import LABELS


def speech(num_frames, seed=0, sharpness=3.0):
    return log_softmax(sharpness * np.random.default_rng(seed).normal(size=(num_frames, len(LABELS))))


def chunks_of(log_probs, cuts):
    return np.split(log_probs, sorted({cut % (len(log_probs) - 1) + 1 for cut in cuts}))


def push_all(stream, chunks):
    for chunk in chunks:
        stream.push(chunk)
    return stream


@pytest.fixture(scope="module")
def decoders(lm):
    options = BeamOptions(beam_size=12, nbest=5, horizon_frames=40)
    lexicon = Lexicon(["a", "b", "abba", "ba"])
    return [
        BeamSearchDecoder(LABELS, options=options, frame_seconds=0.02),
        BeamSearchDecoder(LABELS, options=options, lm=lm, hotwords={"ab a": 3.0}),
        BeamSearchDecoder(LABELS, options=options, lexicon=lexicon),
    ]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2), st.lists(st.integers(0, 10_000), max_size=30), st.integers(0, 5))
def test_chunks_of_any_size_give_the_same(decoders, which, cuts, seed):
    decoder, log_probs = decoders[which], speech(300, seed)
    whole = decoder(log_probs)
    assert push_all(decoder.stream(), chunks_of(log_probs, cuts)).finish() == whole
    stream = decoder.stream()
    for chunk in chunks_of(log_probs, cuts):
        before = stream.stable_words
        stream.push(chunk)
        assert stream.stable_words[: len(before)] == before
    stable, partial = stream.stable_words, stream.partial_text
    hypotheses = stream.finish()
    assert hypotheses == whole
    for hypothesis in hypotheses:
        assert hypothesis.words[: len(stable)] == stable
    if which == 0:
        assert " ".join([*(word.text for word in stable), *partial.split()]) == hypotheses[0].text


def test_what_is_taken_is_not_said_again(decoders):
    log_probs = speech(500, seed=7)
    for decoder in decoders:
        whole = decoder(log_probs)[0]
        stream = decoder.stream()
        taken = []
        for chunk in np.array_split(log_probs, 20):
            stream.push(chunk)
            taken += stream.take_stable()
            assert not stream.stable_text
        last = stream.finish()[0]
        assert taken
        assert (*taken, *last.words) == whole.words
        assert last.score == whole.score


def test_memory_is_bounded_where_hypotheses_refuse_to_agree():
    decoder = BeamSearchDecoder(LABELS, options=BeamOptions(beam_size=20, horizon_frames=100))
    stream = decoder.stream()
    sizes = []
    for seed in range(60):
        # Flat: every reading is nearly as good as any other.
        stream.push(speech(100, seed, sharpness=0.02))
        stream.take_stable()
        memory = stream._state
        sizes.append((len(memory.prefixes), len(memory.backpointers)))
        assert len(stream._decided) < 100
        assert memory.counts[PREFIXES] <= 20 * 300
        assert memory.counts[BACKPOINTERS] <= 20 * 300
    assert stream.num_frames == 6000
    assert sizes[-1] == sizes[10]
    assert stream.finish()


def test_long_input_at_once_reuses_its_memory():
    decoder = BeamSearchDecoder(LABELS, options=BeamOptions(beam_size=4, horizon_frames=64))
    log_probs = speech(20_000, sharpness=0.5)
    stream = decoder.stream()
    stream.push(log_probs)
    assert len(stream._state.prefixes) <= 2000
    hypothesis = stream.finish()[0]
    assert hypothesis.words[-1].end_seconds > 19_900
    # The scale keeps probabilities of 1e-10000 and less.
    assert -60_000 < hypothesis.score < -2000


def test_what_was_stable_can_be_read_after_no_hypothesis_is_left():
    stream = BeamSearchDecoder(["", "a", "b"], lexicon=Lexicon(["ab"])).stream()
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(3, dtype=np.float32))
    stream.push(certain[[1, 2, 1, 2, 1]])
    before = stream.stable_words
    with pytest.raises(DecodingError, match="no hypothesis is left"):
        stream.push(certain[[0, 1]])
    # What an array holds beyond its used part is whatever the memory held before.
    stream._state.backpointers[-1:]["previous"] = 1
    assert len(before) == 2
    assert (stream.stable_words, stream.partial_text) == (before, "")


def test_a_stream_ends_once():
    decoder = BeamSearchDecoder(LABELS)
    stream = decoder.stream()
    with pytest.raises(DecodingError, match="no frame"):
        stream.finish()
    assert (stream.stable_text, stream.partial_text) == ("", "")
    stream.push(speech(5))
    stream.finish()
    for again in (stream.finish, lambda: stream.push(speech(5))):
        with pytest.raises(DecodingError, match="finished"):
            again()
