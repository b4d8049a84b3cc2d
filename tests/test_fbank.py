"""The features of other toolkits' models, against those toolkits' own extractors."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from asr.bundle.front_end import WaveformConfig, WaveformFrontEnd
from asr.errors import AudioError, UsageError
from asr.fbank import PRESETS, Fbank, FbankConfig, mel_filters, num_frames

LENGTHS = [8_000, 16_000, 16_159, 31_337, 80_001]


def sound(num_samples, seed=0):
    """Noise under tones, louder and fainter: faint bands beside loud ones."""
    random = np.random.default_rng(seed)
    t = np.arange(num_samples) / 16_000
    tones = sum(np.sin(2 * np.pi * hz * t + hz) / hz**0.5 for hz in (110, 450, 1_700, 5_100))
    loudness = 0.02 + 0.3 * np.sin(3 * t) ** 2
    return (loudness * (tones + 0.1 * random.standard_normal(num_samples))).astype(np.float32)


@pytest.mark.parametrize("num_samples", LENGTHS)
@pytest.mark.parametrize("preset", ["kaldi", "icefall"])
@pytest.mark.parametrize("hop_samples", [160, 640])
def test_kaldi_s_are_torchaudio_s(preset, hop_samples, num_samples):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    config, samples = replace(PRESETS[preset], hop_samples=hop_samples), sound(num_samples)
    expected = kaldi.fbank(
        torch.from_numpy(samples)[None].double() * config.scale,
        num_mel_bins=80,
        frame_shift=hop_samples / 16,
        dither=0.0,
        snip_edges=config.framing == "whole",
        high_freq=config.high_hz,
    )
    got = Fbank(config)(samples)
    assert got.shape == tuple(expected.shape)
    # torchaudio's filters are of float32.
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num_samples", LENGTHS)
@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("parakeet", "ParakeetFeatureExtractor"),
        ("lasr", "LasrFeatureExtractor"),
        ("seamless", "SeamlessM4TFeatureExtractor"),
    ],
)
def test_hugging_face_s_are_transformers_own(preset, name, num_samples):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    samples = sound(num_samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extractor = getattr(transformers, name)()
        out = extractor(samples, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    valid = int(np.asarray(out["attention_mask"]).sum())
    expected = np.asarray(out["input_features"])[0][:valid]
    got = Fbank(PRESETS[preset])(samples)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_slaney_s_filters_are_librosa_s():
    filters = pytest.importorskip("librosa.filters")
    for n_mels in (64, 80, 128):
        expected = filters.mel(sr=16_000, n_fft=512, n_mels=n_mels, dtype=np.float64)
        np.testing.assert_allclose(mel_filters(FbankConfig(n_mels=n_mels)), expected.T, atol=1e-12)


def test_frames_are_stacked_as_sense_voice_does():
    config = PRESETS["sense-voice"]
    plain = FbankConfig(**{**vars(config), "stack": 1, "stack_hop": 1, "stack_padding": False})
    for num_samples in LENGTHS:
        samples = sound(num_samples)
        frames, got = Fbank(plain)(samples), Fbank(config)(samples)
        T = len(frames)
        assert len(got) == -(-T // 6)
        for t, row in enumerate(got):
            # Seven frames, three before; what lies outside is the first or the last.
            expected = np.concatenate([frames[min(max(6 * t - 3 + i, 0), T - 1)] for i in range(7)])
            np.testing.assert_allclose(row, expected, atol=1e-6)


def test_values_are_shifted_and_scaled():
    config = FbankConfig(n_mels=4, normalise=False)
    moved = FbankConfig(n_mels=4, normalise=False, shift=(1.0, 2.0, 3.0, 4.0), factor=(2.0, 2.0, 2.0, 0.5))
    samples = sound(8_000)
    expected = (Fbank(config)(samples) + np.arange(1, 5)) * [2, 2, 2, 0.5]
    np.testing.assert_allclose(Fbank(moved)(samples), expected, atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_short_audio_gives_what_frames_there_are(preset):
    for num_samples in (1, 159, 160, 399, 400, 800):
        features = Fbank(PRESETS[preset])(sound(num_samples))
        assert np.isfinite(features).all()
        if PRESETS[preset].stack == 1:
            assert len(features) == num_frames(num_samples, PRESETS[preset])


@pytest.mark.parametrize("front_end", [Fbank(FbankConfig()), WaveformFrontEnd(WaveformConfig())])
def test_what_is_no_waveform_is_refused(front_end):
    with pytest.raises(AudioError, match="at least one"):
        front_end(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match="int16"):
        front_end(np.zeros(800, np.int16))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mels": 0}, "front_end.n_mels is 0"),
        ({"n_fft": 256}, "a window of 400 samples and a Fourier transform of 256"),
        ({"high_hz": 9_000.0}, "the band 0.0–9000.0 Hz"),
        ({"shift": (1.0,)}, "front_end.shift has 1 values; expected 80"),
        ({"window": "haan"}, "did you mean 'hann'"),
    ],
)
def test_what_is_out_of_range_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        FbankConfig(**changes)
