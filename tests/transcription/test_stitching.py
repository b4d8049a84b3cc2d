"""Seams: overlapping pieces, each blind where it lacks context, give the words of one that is not."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import GreedyDecoder, Labels
from asr.transcription.segments import Piece, cut_audio
from asr.transcription.stitching import MAX_UTTERANCE_SECONDS, Stitcher

RATE, FRAME = 1000, 40
CHARACTERS = Labels(["<blank>", " ", *"abcde"])
SUBWORDS = Labels(["<blank>", "▁", "▁a", "▁b", "c", "d", "e"])


def spoken(seconds, rng, labels, rate_of_speech=4.0):
    """Log-probs ``(T, V)`` of random labels, each over one frame or two, blanks between them."""
    T, V = int(seconds * RATE / FRAME), len(labels)
    best = np.zeros(T, int)
    t = 0
    while t < T:
        best[t : t + rng.integers(1, 3)] = rng.integers(1, V)
        t += 2 + rng.geometric(rate_of_speech * FRAME / RATE)
    probs = np.full((T, V), 0.05 / V)
    probs[np.arange(T), best] += 0.95
    return np.log(probs).astype(np.float32)


def read_in_pieces(truth, rng, labels, blind_start, blind_end):
    """Utterances of pieces whose log-probs are those of `truth`, but invented so near inner edges, and a bit off."""
    samples = np.full(len(truth) * FRAME, 0.1, np.float32)
    samples[:: RATE // 50] *= rng.uniform(0.1, 1, len(samples[:: RATE // 50])).astype(np.float32)
    stitcher = Stitcher(labels, FRAME, RATE)
    start, end = (round(seconds * RATE / FRAME) for seconds in (blind_start, blind_end))
    utterances = []
    for piece, part in cut_audio([samples], RATE, FRAME):
        first = piece.offset // FRAME
        rows = truth[first : first + len(part) // FRAME].copy()
        rows += 0.1 * rng.standard_normal(rows.shape).astype(np.float32)
        if not piece.is_last:
            rows[len(rows) - end :] = spoken(blind_end + 1, rng, labels, 20)[:end]
        if piece.offset:
            rows[:start] = spoken(blind_start + 1, rng, labels, 20)[:start]
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        utterances += stitcher.push(piece, rows)
    return utterances


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([CHARACTERS, SUBWORDS]),
    st.floats(5.0, 250.0),
    st.sampled_from([(1.5, 1.5), (0.5, 2.4), (2.4, 0.5)]),
)
def test_no_word_is_doubled_or_lost_at_a_seam(seed, labels, seconds, blind_seconds):
    rng = np.random.default_rng(seed)
    truth = spoken(seconds, rng, labels)
    utterances = read_in_pieces(truth, rng, labels, *blind_seconds)
    decode = GreedyDecoder(labels, frame_seconds=FRAME / RATE)
    expected = decode(truth)[0]
    words = [
        (word.text, utterance.start_seconds + word.start_seconds, utterance.start_seconds + word.end_seconds)
        for utterance in utterances
        for word in decode(utterance.log_probs)[0].words
    ]
    assert [text for text, _, _ in words] == [word.text for word in expected.words]
    times = np.array([(start, end) for _, start, end in words]).reshape(-1, 2)
    assert times == pytest.approx(np.array([(w.start_seconds, w.end_seconds) for w in expected.words]).reshape(-1, 2))


def test_pieces_that_do_not_overlap_are_joined():
    truth = spoken(4, np.random.default_rng(3), CHARACTERS)
    stitcher = Stitcher(CHARACTERS, FRAME, RATE)
    assert not list(stitcher.push(Piece(0, 0, 2 * RATE, is_last=False), truth[:50]))
    (utterance,) = stitcher.push(Piece(0, 2 * RATE, 2 * RATE, is_last=True), truth[50:])
    np.testing.assert_array_equal(utterance.log_probs, truth)


def test_utterances_follow_one_another_and_are_not_too_long():
    rng = np.random.default_rng(2)
    truth = spoken(400, rng, CHARACTERS)
    truth[:, 1] = -30
    truth -= np.log(np.exp(truth).sum(axis=1, keepdims=True))
    utterances = read_in_pieces(truth, rng, CHARACTERS, 0.5, 0.5)
    assert len(utterances) > 5
    assert utterances[0].start_seconds == 0
    assert utterances[-1].end_seconds == 400
    for before, after in itertools.pairwise(utterances):
        assert before.end_seconds == after.start_seconds
    lengths = [utterance.end_seconds - utterance.start_seconds for utterance in utterances]
    assert max(lengths) <= MAX_UTTERANCE_SECONDS
    assert sum(len(utterance.log_probs) for utterance in utterances) == len(truth)
