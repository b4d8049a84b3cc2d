"""Cutting long audio."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcription.segments import cut_points, fill_dead_air, speech_spans


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40_000), st.integers(0, 2**32 - 1))
def test_segments_tile_the_audio_within_their_bounds(num_samples, seed):
    samples = np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)
    points = cut_points(samples, sample_rate=100, min_seconds=10, max_seconds=25)
    assert points[0] == 0
    assert points[-1] == num_samples
    lengths = np.diff(points)
    assert (lengths <= 2500).all()
    assert len(lengths) == 1 or (lengths >= 1000).all()


def test_cuts_fall_into_pauses():
    rate = 1000
    samples = np.random.default_rng(1).standard_normal(60 * rate).astype(np.float32)
    for pause in (13.0, 30.5, 44.2):
        samples[int(pause * rate) : int((pause + 0.3) * rate)] *= 0.01
    points = np.array(cut_points(samples, rate)[1:-1]) / rate
    for pause, point in zip((13.0, 30.5, 44.2), points, strict=True):
        assert pause < point < pause + 0.3


def test_long_silences_are_left_out_and_short_ones_are_kept():
    rate = 8000
    rng = np.random.default_rng(1)
    loud, quiet = 0.1 * rng.standard_normal(3 * rate), 1e-4 * rng.standard_normal(5 * rate)
    pause = quiet[: rate // 2]
    samples = np.concatenate((quiet, loud, quiet, loud, pause, loud, pause)).astype(np.float32)
    spans = np.array(speech_spans(samples, rate)) / rate
    np.testing.assert_allclose(spans, [[4.7, 8.3], [12.7, 20.0]], atol=0.05)
    assert speech_spans(loud.astype(np.float32), rate) == [(0, len(loud))]
    assert speech_spans(np.zeros(rate, np.float32), rate) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1e-4, 0.1]), st.integers(1, 4000)), min_size=1, max_size=8))
def test_spans_are_in_order_within_the_audio_and_hold_all_that_is_loud(parts):
    rng = np.random.default_rng(1)
    samples = np.concatenate([level * rng.uniform(0.5, 1, size) for level, size in parts]).astype(np.float32)
    spans = speech_spans(samples, 1000)
    bounds = [bound for span in spans for bound in span]
    assert bounds == sorted(bounds)
    assert all(0 <= bound <= len(samples) for bound in bounds)
    inside = np.zeros(len(samples), bool)
    for first, end in spans:
        inside[first:end] = True
    whole = len(samples) // 20 * 20
    loud = np.repeat((samples[:whole].reshape(-1, 20) > 0.04).all(axis=1), 20)
    assert inside[:whole][loud].all()


def test_dead_air_is_filled_with_faint_noise_and_the_rest_is_untouched():
    samples = np.zeros(3000, np.float32)
    samples[1000:2000] = 0.1 * np.random.default_rng(1).standard_normal(1000)
    filled = fill_dead_air(samples, 1000)
    np.testing.assert_array_equal(filled[1000:2000], samples[1000:2000])
    assert 0 < np.abs(np.concatenate((filled[:1000], filled[2000:]))).max() < 0.01
    np.testing.assert_array_equal(fill_dead_air(np.zeros(500, np.float32), 1000), 0)
