"""Log-mel features equal librosa's and torchaudio's, and come from one frame formula."""

import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import load_audio
from asr.errors import AsrError, AudioError, ModelError, UsageError
from asr.features import BLOCK_FRAMES, LogMel, LogMelConfig, mel_filterbank
from asr.settings import from_dict, to_dict

librosa = pytest.importorskip("librosa", reason="the filterbank is librosa's: it needs the [data] extra")

PLAIN = LogMelConfig()
CONFIGS = [
    PLAIN,
    replace(PLAIN, sample_rate=8000, n_mels=40),
    replace(PLAIN, window_seconds=0.032, hop_seconds=0.008, n_mels=64),
    replace(PLAIN, low_hz=60.0, high_hz=7600.0, floor=1e-6),
    replace(PLAIN, sample_rate=11_000, n_mels=32),  # a window of an odd number of samples
]


def synthetic(num_samples: int, rate: int, seed: int = 1) -> np.ndarray:
    """A gliding voice-like buzz with pauses and faint noise, float64."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(num_samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * seconds)) / rate
    buzz = sum(np.sin(k * phase) / k for k in range(1, 20))
    loudness = np.clip(np.sin(2 * np.pi * 1.5 * seconds), 0, 1)
    return 0.2 * loudness * buzz + 1e-3 * rng.standard_normal(num_samples)


def by_librosa(samples: np.ndarray, config: LogMelConfig) -> np.ndarray:
    # The filters are a setting (we store them in float32), the rest is computed in the type of the samples.
    spectrum = librosa.stft(
        samples,
        n_fft=config.window_samples,
        hop_length=config.hop_samples,
        window="hann",
        center=True,
        pad_mode="constant",
    )
    power = np.abs(spectrum) ** 2
    filters = librosa.filters.mel(
        sr=config.sample_rate,
        n_fft=config.window_samples,
        n_mels=config.n_mels,
        fmin=config.low_hz,
        fmax=config.top_hz,
        dtype=np.float32,
    )
    return np.asarray(np.log(np.maximum(filters.astype(samples.dtype) @ power, config.floor)).T)


def by_librosa_in_one_call(samples: np.ndarray, config: LogMelConfig) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=samples,
        sr=config.sample_rate,
        n_fft=config.window_samples,
        hop_length=config.hop_samples,
        n_mels=config.n_mels,
        fmin=config.low_hz,
        fmax=config.top_hz,
        pad_mode="constant",
    )
    return np.asarray(np.log(np.maximum(mel, config.floor)).T)


def by_torchaudio(samples: np.ndarray, config: LogMelConfig) -> np.ndarray:
    torch = pytest.importorskip("torch", reason="torch is a second oracle")
    transforms = pytest.importorskip("torchaudio.transforms", reason="torchaudio is a second oracle")
    transform = transforms.MelSpectrogram(
        sample_rate=config.sample_rate,
        n_fft=config.window_samples,
        hop_length=config.hop_samples,
        n_mels=config.n_mels,
        f_min=config.low_hz,
        f_max=config.top_hz,
        norm="slaney",
        mel_scale="slaney",
        pad_mode="constant",
        wkwargs={"dtype": torch.from_numpy(samples).dtype},
    )
    if samples.dtype == np.float32 and config.window_samples % 2 == 0:
        mel = transform(torch.from_numpy(samples))
    else:
        # torchaudio makes filters in float32 only and rounds otherwise than librosa, and it takes the highest
        # frequency of an odd transform for half the rate: compare the rest.
        spectrum = transform.spectrogram(torch.from_numpy(samples))
        mel = torch.from_numpy(mel_filterbank(config).astype(np.float64)) @ spectrum.double()
    return np.asarray(np.log(np.maximum(mel.numpy(), config.floor)).T)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("reference", [by_librosa, by_librosa_in_one_call, by_torchaudio])
def test_equal_to_the_reference_in_float32(config, reference):
    samples = synthetic(3 * config.sample_rate + 123, config.sample_rate).astype(np.float32)
    features = LogMel(config)(samples)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference(samples, config), rtol=0, atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("reference", [by_librosa, by_torchaudio])
def test_equal_to_the_reference_in_float64(config, reference):
    samples = synthetic(3 * config.sample_rate + 123, config.sample_rate)
    features = LogMel(config)(samples)
    assert features.dtype == np.float64
    np.testing.assert_allclose(features, reference(samples, config), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def an4_recordings() -> list[np.ndarray]:
    """Some of AN4's recordings, float32 at 16 kHz."""
    folder = Path(os.environ.get("ASR_ARCHIVES", Path(__file__).resolve().parents[2] / "shared" / "data"))
    archives = sorted(folder.glob("an4_sphere.tar*"))
    if not archives:
        pytest.skip(f"no an4_sphere archive in {folder}: set ASR_ARCHIVES")
    recordings = []
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            if member.name.endswith(".sph"):
                recordings.append(load_audio(archive.extractfile(member).read(), 16_000).samples)
                if len(recordings) == 12:
                    break
    return recordings


@pytest.mark.parametrize("reference", [by_librosa, by_torchaudio])
def test_equal_to_the_reference_on_an4(an4_recordings, reference):
    log_mel = LogMel(PLAIN)
    for samples in an4_recordings:
        np.testing.assert_allclose(log_mel(samples), reference(samples, PLAIN), rtol=0, atol=1e-3)
        double = samples.astype(np.float64)
        np.testing.assert_allclose(log_mel(double), reference(double, PLAIN), rtol=0, atol=1e-6)


# Made once: hypothesis calls the tests below hundreds of times.
LOG_MELS = [LogMel(config) for config in CONFIGS]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(LOG_MELS), st.integers(1, 20_000))
def test_num_frames_is_the_shape(log_mel, num_samples):
    features = log_mel(np.full(num_samples, 0.1, dtype=np.float32))
    assert features.shape == (log_mel.config.num_frames(num_samples), log_mel.config.n_mels)


def test_no_sample_is_no_frame():
    assert PLAIN.num_frames(0) == 0
    with pytest.raises(AudioError, match=r"shape \(0,\)"):
        LogMel(PLAIN)(np.zeros(0, dtype=np.float32))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3 * BLOCK_FRAMES), st.integers(0, 2**32 - 1))
def test_a_frame_depends_on_its_window_alone(frame, seed):
    # Whatever block it falls into, and whatever else the utterance holds.
    log_mel = LOG_MELS[0]
    hop, half = PLAIN.hop_samples, PLAIN.window_samples // 2
    rng = np.random.default_rng(seed)
    samples, elsewhere = rng.standard_normal((2, (3 * BLOCK_FRAMES + 5) * hop), dtype=np.float32)
    window = slice(max(0, frame * hop - half), frame * hop + half)
    elsewhere[window] = samples[window]
    expected = log_mel(samples)[frame]
    np.testing.assert_allclose(log_mel(elsewhere)[frame], expected, atol=1e-5)
    # Alone, as the first frame after a shift by whole hops.
    first = max(0, frame - 3)
    np.testing.assert_allclose(log_mel(samples[first * hop :])[frame - first], expected, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1e-30, 0.25])
@pytest.mark.parametrize("num_samples", [1, 100, 50_000])
def test_silence_and_constants_stay_finite(level, num_samples):
    features = LogMel(PLAIN)(np.full(num_samples, level, dtype=np.float32))
    assert np.isfinite(features).all()
    if level == 0:
        np.testing.assert_allclose(features, np.log(PLAIN.floor), rtol=1e-6)


def test_samples_are_not_altered():
    samples = synthetic(5000, 16_000).astype(np.float32)
    before = samples.copy()
    LogMel(PLAIN)(samples)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    "samples", [np.zeros((10, 2), dtype=np.float32), np.zeros(10, dtype=np.int16), np.zeros(10, dtype=np.float16)]
)
def test_samples_of_another_shape_or_type_are_refused(samples):
    with pytest.raises(AudioError, match="expected"):
        LogMel(PLAIN)(samples)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(20)), st.integers(0, 20))
def test_any_filterbank_will_do(order, empty):
    # The product is taken by groups of bands; bands in any order, and without a frequency, must give what one does.
    config = replace(PLAIN, n_mels=20)
    filterbank = mel_filterbank(config)
    filterbank[:empty] = 0
    samples = synthetic(8_000, 16_000).astype(np.float32)
    expected = LogMel(config, filterbank)(samples)[:, order]
    np.testing.assert_allclose(LogMel(config, filterbank[order])(samples), expected, rtol=0, atol=1e-4)


def test_samples_need_not_lie_side_by_side():
    stereo = np.stack([synthetic(8_000, 16_000), np.zeros(8_000)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(LogMel(PLAIN)(stereo[:, 0]), LogMel(PLAIN)(stereo[:, 0].copy()))


def test_a_filterbank_that_does_not_fit_is_refused():
    with pytest.raises(ModelError, match=r"shape \(40, 201\); the configuration needs \(80, 201\)"):
        LogMel(PLAIN, np.zeros((40, 201), dtype=np.float32))


@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_more_bands_than_frequencies_are_refused():
    with pytest.raises(UsageError, match="mel bands contain no frequency"):
        LogMel(replace(PLAIN, n_mels=200))


@pytest.mark.parametrize("config", CONFIGS)
def test_the_configuration_survives_json(config):
    assert from_dict(LogMelConfig, json.loads(json.dumps(to_dict(config))), "features") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample_rate": 0}, "sample_rate is 0; expected a positive number"),
        ({"sample_rate": "16k"}, "features.sample_rate is '16k'; expected int"),
        ({"n_mels": -1}, "n_mels is -1"),
        ({"n_mels": 40.5}, "n_mels is 40.5; expected int"),
        ({"floor": 0.0}, "floor"),
        ({"floor": float("nan")}, "floor"),
        ({"hop_seconds": 1e-6}, "less than two samples and one sample"),
        ({"low_hz": 9000.0}, "half the sample rate"),
        ({"high_hz": 9000.0}, "half the sample rate"),
        ({"low_hz": -1.0}, "low_hz"),
        ({"n_mel": 80}, "did you mean 'n_mels'"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(values, message):
    with pytest.raises(AsrError, match=message):
        from_dict(LogMelConfig, values, "features")
