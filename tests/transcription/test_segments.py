"""Cutting long audio: by what was said around, in bounded memory, at pauses; and with overlap where there is none."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio.levels import fill_dead_air
from asr.transcription import segments
from asr.transcription.segments import cut_audio

RATE, FRAME = 1000, 40


def spans_of(samples, rate=RATE, block=None):
    """The spans ``[start, end)`` of samples, and their pieces, which are checked to be those samples."""
    blocks = np.array_split(samples, range(block, len(samples), block)) if block else [samples]
    spans, pieces = [], []
    for piece, part in cut_audio(blocks, rate, FRAME):
        np.testing.assert_array_equal(part, samples[piece.end - piece.num_samples : piece.end])
        pieces.append(piece)
        if piece.is_last:
            spans.append((piece.span_start, piece.end))
    return spans, pieces


def whole_file_spans(samples, rate):
    """What spans are, by a second implementation that sees all of the audio at once."""
    step = rate // 50
    starts = range(0, len(samples), step)
    levels = np.array([10 * np.log10(max(np.mean(samples[i : i + step].astype(float) ** 2), 1e-12)) for i in starts])
    audible = levels[levels > -80]
    if not len(audible):
        return []
    low, high = np.percentile(audible.astype(np.float32), (10, 95))
    threshold = low + 0.35 * (high - low) if high - low >= 15 else -80
    runs = []
    for level in np.flatnonzero(levels > threshold).tolist():
        if runs and level - runs[-1][1] <= 35:
            runs[-1][1] = level
        else:
            runs.append([level, level])
    return [
        (
            0 if first <= 35 else (first - 15) * step,
            len(samples) if last + 35 >= len(levels) else (last + 16) * step,
        )
        for first, last in runs
    ]


PARTS = st.lists(st.tuples(st.sampled_from([0.0, 1e-4, 3e-3, 0.1, 0.5]), st.integers(1, 4000)), min_size=1, max_size=12)


def noise(parts):
    rng = np.random.default_rng(1)
    return np.concatenate([level * rng.uniform(0.5, 1, size) for level, size in parts]).astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(PARTS, st.sampled_from([None, 7, 333, 5000]))
def test_spans_are_those_of_the_whole_file_however_it_comes_in_blocks(parts, block):
    samples = noise(parts)
    assert spans_of(samples, block=block)[0] == whole_file_spans(samples, RATE)


@pytest.mark.parametrize("block", [None, 5000])
def test_pieces_cover_their_span_with_overlap_on_the_grid_of_frames(block):
    rng = np.random.default_rng(1)
    loud = 0.1 * rng.uniform(0.5, 1, 700 * RATE).astype(np.float32)
    quiet = np.full(3 * RATE, 1e-4, np.float32)
    samples = np.concatenate([quiet, loud, quiet, loud[: 20 * RATE]])
    spans, pieces = spans_of(samples, block=block)
    assert len(spans) == 2
    for start, end in spans:
        own = [piece for piece in pieces if piece.span_start == start]
        assert own[0].offset == 0
        assert [piece.is_last for piece in own] == [False] * (len(own) - 1) + [True]
        assert own[-1].end == end
        for before, after in itertools.pairwise(own):
            assert after.offset % FRAME == 0
            assert before.end - (start + after.offset) == pytest.approx(4 * RATE, abs=FRAME)
        assert max(piece.num_samples for piece in own) <= 29.1 * RATE
        assert min(piece.num_samples for piece in own) >= 10 * RATE


def test_cuts_fall_into_short_pauses():
    samples = np.random.default_rng(1).standard_normal(60 * RATE).astype(np.float32)
    for pause in (13.0, 30.5, 44.2):
        samples[int(pause * RATE) : int((pause + 0.3) * RATE)] *= 0.01
    pieces = spans_of(samples)[1]
    # Pieces reach two seconds beyond their cuts.
    cuts = [piece.end / RATE - 2 for piece in pieces[:-1]]
    for pause, cut in zip((13.0, 30.5, 44.2), cuts, strict=True):
        assert pause < cut < pause + 0.3


def test_a_long_recording_is_judged_by_what_is_around_and_kept_in_bounded_memory(monkeypatch):
    monkeypatch.setattr(segments, "LOOK_AHEAD_SECONDS", 60.0)
    monkeypatch.setattr(segments, "LOOK_BACK_SECONDS", 120.0)
    rng = np.random.default_rng(1)
    sizes = []
    window = segments._Window.forget

    def forget(self, sample, level):
        window(self, sample, level)
        sizes.append((len(self._samples), len(self._levels)))

    monkeypatch.setattr(segments._Window, "forget", forget)

    def blocks():
        # A speaker who comes nearer from minute to minute: each stretch is as loud as the room of a later one.
        for minute in range(35):
            for _ in range(12):
                level = 1e-2 * 10 ** (minute / 20)
                yield (level * rng.uniform(0.5, 1, 3 * RATE)).astype(np.float32)
                yield (0.02 * level * rng.uniform(0.5, 1, 2 * RATE)).astype(np.float32)

    pieces = [piece for piece, _ in cut_audio(blocks(), RATE, FRAME)]
    assert len(pieces) == 35 * 12
    starts = np.array([piece.span_start for piece in pieces]) / RATE
    np.testing.assert_allclose(starts[1:], 5 * np.arange(1, 420) - 0.3, atol=0.05)
    assert max(samples for samples, _ in sizes) <= 75 * RATE
    assert max(levels for _, levels in sizes) <= 200 * 50


def test_dead_air_is_filled_with_faint_noise_and_the_rest_is_untouched():
    samples = np.zeros(3000, np.float32)
    samples[1000:2000] = 0.1 * np.random.default_rng(1).standard_normal(1000)
    filled = fill_dead_air(samples, 1000)
    np.testing.assert_array_equal(filled[1000:2000], samples[1000:2000])
    assert 0 < np.abs(np.concatenate((filled[:1000], filled[2000:]))).max() < 0.01
    np.testing.assert_array_equal(fill_dead_air(np.zeros(500, np.float32), 1000), 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-75, -5), st.integers(5, 60)), min_size=2, max_size=8), st.integers(0, 99))
def test_where_levels_change_a_span_still_ends_with_what_its_pieces_have_read(stretches, seed):
    rng = np.random.default_rng(seed)
    samples = np.concatenate([10 ** (db / 20) * rng.standard_normal(sec * RATE) for db, sec in stretches])
    samples[:: RATE // 5] = 0
    with pytest.MonkeyPatch.context() as patch:
        # The threshold changes from piece to piece, as it does in hours of audio.
        patch.setattr(segments, "LOOK_AHEAD_SECONDS", 40.0)
        patch.setattr(segments, "LOOK_BACK_SECONDS", 20.0)
        spans, pieces = spans_of(samples.astype(np.float32))
    for before, after in itertools.pairwise(pieces):
        if after.offset:
            assert after.span_start == before.span_start
            assert before.end - after.span_start - after.offset == pytest.approx(4 * RATE, abs=FRAME)
            assert after.end >= before.end
        else:
            assert before.is_last
            assert after.span_start >= before.end
    assert sum(piece.is_last for piece in pieces) == len(spans)
