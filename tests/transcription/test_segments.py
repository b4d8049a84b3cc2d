"""Cutting long audio."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcription.segments import cut_points


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
