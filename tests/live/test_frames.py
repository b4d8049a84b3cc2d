"""Features of a stream are those of the whole, however the samples come."""

import numpy as np
import pytest

from asr.audio import resample
from asr.errors import AudioError
from asr.features import LogMel, LogMelConfig
from asr.live.frames import FeatureStream, check_samples

pytest.importorskip("librosa", reason="needs librosa")


@pytest.mark.parametrize("window_seconds", [0.025, 0.064, 0.008])
def test_chunks_of_any_size_are_the_whole(window_seconds):
    log_mel = LogMel(LogMelConfig(sample_rate=8000, n_mels=10, window_seconds=window_seconds))
    seed = 7
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    for num_samples in (1, 79, 80, 100, 1000, 5003):
        samples = rng.uniform(-0.5, 0.5, num_samples).astype(np.float32)
        whole = log_mel(samples)
        for _ in range(5):
            stream = FeatureStream(log_mel, 8000)
            cuts = np.sort(rng.integers(0, num_samples + 1, int(rng.integers(0, 12))))
            parts = [stream.push(chunk) for chunk in np.split(samples, cuts)]
            late = [np.sum([len(part) for part in parts[: n + 1]]) for n in range(len(parts))]
            # A frame comes with the last sample of its window.
            for number, end in zip(late, [*cuts, num_samples], strict=True):
                window, hop = log_mel.config.window_samples, log_mel.config.hop_samples
                assert number == max(0, (end - window + window // 2) // hop + 1)
            features = np.concatenate([*parts, stream.finish()])
            np.testing.assert_allclose(features, whole, rtol=1e-3, atol=2e-5)


def test_other_rates_are_resampled_as_a_whole():
    log_mel = LogMel(LogMelConfig(sample_rate=16000, n_mels=20))
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 30_000).astype(np.float32)
    stream = FeatureStream(log_mel, 44_100)
    parts = [stream.push(chunk) for chunk in np.array_split(samples, 13)]
    features = np.concatenate([*parts, stream.finish()])
    whole = log_mel(resample(samples, 44_100, 16_000))
    assert abs(len(features) - len(whole)) <= 1
    shared = min(len(features), len(whole)) - 3
    np.testing.assert_allclose(features[:shared], whole[:shared], rtol=0, atol=0.05)


def test_what_is_no_chunk_is_refused():
    for wrong, message in (
        (np.zeros((2, 3), np.float32), r"shape \(2, 3\)"),
        ([0.0], "list"),
        (np.array([np.nan], np.float32), "NaN"),
        (np.array([1 + 1j]), "dtype complex"),
        (np.array([3e4], np.float32), "divide 16-bit"),
    ):
        with pytest.raises(AudioError, match=message):
            check_samples(wrong)
    assert check_samples(np.array([16384], np.int16)).tolist() == [0.5]
    assert len(check_samples(np.zeros(0, np.float32))) == 0
