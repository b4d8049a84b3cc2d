"""Training on waveforms: each change keeps what it must, and features are those of a feature store."""

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from asr.audio import resample  # noqa: E402
from asr.errors import DataError, UsageError  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.settings import override  # noqa: E402
from asr.store.checking import check_same_features  # noqa: E402
from asr.store.store import AudioStore, FeatureStore  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.augment import piece  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.checkpoint import run_settings  # noqa: E402
from asr.training.config import AugmentConfig, TrainingConfig, WaveformAugmentConfig  # noqa: E402
from asr.training.draws import draw_start  # noqa: E402
from asr.training.waveforms import add_pauses, play, played_samples, reverberate, scaled_noise  # noqa: E402
from tests.training.conftest import RATE  # noqa: E402

MODEL = ModelConfig(time_reduction=4)
TOKENIZER = CharTokenizer.from_texts(["so it is "])
UNMASKED = AugmentConfig(
    time_stretch=0, frequency_stretch=0, frequency_masks=0, time_masks_per_second=0, noise_utterances=0
)


def source(store, augment, budget=500):
    return BatchSource(store, TOKENIZER, MODEL, budget, augment)


def batches(store, augment, epochs=2):
    made = source(store, augment)
    return [made.batch(planned, 1, epoch) for epoch in range(epochs) for planned in made.plan(1, epoch)]


@pytest.mark.parametrize("augment", [None, AugmentConfig(), AugmentConfig(noise_probability=0.5, noise_utterances=0.5)])
def test_batches_of_waveforms_are_those_of_stored_features(stores, augment):
    features, audio = FeatureStore.open(stores / "features/train"), AudioStore.open(stores / "audio/train")
    check_same_features(features, audio)
    for ours, theirs in zip(batches(audio, augment), batches(features, augment), strict=True):
        assert ours.ids == theirs.ids
        assert torch.equal(ours.features, theirs.features)
        assert torch.equal(ours.targets, theirs.targets)
    for ours, theirs in zip(source(audio, None).in_order(), source(features, None).in_order(), strict=True):
        loaded = source(audio, None).load(ours).features
        assert torch.equal(loaded, source(features, None).load(theirs).features)


@pytest.mark.parametrize("time_stretch", [0.0, 0.2])
def test_lengths_are_as_planned_whatever_is_altered(stores, waveform, time_stretch):
    store = AudioStore.open(stores / "audio/train")
    augment = replace(UNMASKED, time_stretch=time_stretch, pause_probability=0.5, pause_seconds=0.3, waveform=waveform)
    made = source(store, augment)
    largest = made.largest().features.shape
    for epoch in range(5):
        for planned in made.plan(1, epoch):
            batch = made.batch(planned, 1, epoch)
            assert batch.feature_lengths.tolist() == planned.lengths.total.tolist()
            assert math.prod(batch.features.shape[:2]) <= min(500, largest[0] * largest[1])
            for x, length in zip(batch.features, batch.feature_lengths.tolist(), strict=True):
                assert x[:length].isfinite().all()
                assert (x[length:] == 0).all()


def test_other_noises_are_other_data(stores, waveform):
    store, model = AudioStore.open(stores / "audio/train"), AcousticModel(MODEL, 20, len(TOKENIZER.tokens))
    dev, settings = source(store, None), []
    for waveforms in (waveform, replace(waveform, noises=waveform.impulse_responses)):
        train = source(store, AugmentConfig(waveform=waveforms))
        settings.append(run_settings(model, train, {"dev": dev}, TrainingConfig()))
    assert [key for key in settings[0]["data"] if settings[0]["data"][key] != settings[1]["data"][key]] == ["train"]


def test_what_is_heard_depends_on_seed_epoch_and_utterance_alone(stores, waveform):
    store = AudioStore.open(stores / "audio/train")
    augment = AugmentConfig(pause_probability=0.5, waveform=waveform)
    first, again = source(store, augment), source(AudioStore.open(stores / "audio/train"), augment)
    plan = list(first.plan(1, 2))
    made = {id(planned): first.batch(planned, 1, 2) for planned in plan}
    for planned in reversed(again.plan(1, 2)):
        twin = next(p for p in plan if p.indices[0] == planned.indices[0])
        assert torch.equal(made[id(twin)].features, again.batch(planned, 1, 2).features)
    other = first.batch(plan[0], 2, 2).features
    assert other.shape == made[id(plan[0])].features.shape
    assert not torch.equal(other, made[id(plan[0])].features)


def test_played_faster_it_is_shorter_and_higher_and_as_preparation_does_it():
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    for speed in (0.9, 1.0, 1.1, 1.25):
        played = play(tone, speed, RATE)
        assert len(played) == round(RATE / speed) == played_samples(RATE, speed, RATE)
        peak = np.abs(np.fft.rfft(played, 4 * RATE)).argmax() / 4
        assert peak == pytest.approx(500 * speed, abs=1)
        if speed != 1:
            prepared = resample(tone, round(RATE * speed), RATE)
            shared = min(len(prepared), len(played))
            np.testing.assert_array_equal(played[:shared], prepared[:shared])
    for num_samples in (1, 2, 3, 79, 80, 81):
        assert len(play(tone[:num_samples], 1.1, RATE)) == played_samples(num_samples, 1.1, RATE)


def test_reverberation_is_convolution_that_keeps_times_length_and_level():
    rng = np.random.default_rng(2)
    speech = rng.standard_normal(500).astype(np.float32)
    response = (rng.standard_normal(200) * np.exp(-np.arange(200) / 30) * 0.1).astype(np.float32)
    response[20] = -1
    heard = reverberate(speech, response)
    expected = np.array(
        [sum(speech[t - k + 20] * response[k] for k in range(200) if 0 <= t - k + 20 < 500) for t in range(500)]
    )
    expected *= np.sqrt(np.mean(speech**2) / np.mean(expected**2))
    np.testing.assert_allclose(heard, expected, atol=1e-4)
    # A click stays where it is, however late the direct path of the response comes.
    click = np.zeros(500, np.float32)
    click[100] = 1
    assert np.abs(reverberate(click, response)).argmax() == 100
    np.testing.assert_array_equal(reverberate(speech, np.zeros(10, np.float32)), speech)


@pytest.mark.parametrize("num_samples", [10, 1000, 5000])
def test_noise_is_a_piece_at_the_ratio_asked_for(num_samples):
    rng = np.random.default_rng(3)
    recorded = rng.standard_normal(1000).astype(np.float32)
    for _ in range(20):
        cut = piece(recorded, num_samples, draw_start(len(recorded), num_samples, rng))
        assert len(cut) == num_samples
        start = int(np.flatnonzero(recorded == cut[0])[0])
        np.testing.assert_array_equal(cut, recorded[(start + np.arange(num_samples)) % 1000])
        noise = scaled_noise(cut, 0.04, 7.0)
        assert 10 * np.log10(0.04 / np.mean(np.square(noise, dtype=float))) == pytest.approx(7, abs=1e-3)
    assert not scaled_noise(np.zeros(50, np.float32), 1.0, 0.0).any()


def test_pauses_sound_like_the_quietest_stretch():
    rng = np.random.default_rng(4)
    samples = rng.standard_normal(RATE).astype(np.float32)
    samples[2400:4800] = 0.01 * np.convolve(rng.standard_normal(2407), np.ones(8) / np.sqrt(8), mode="valid")
    paused = add_pauses(samples, 4000, 2000, RATE, 17)
    np.testing.assert_array_equal(paused[4000:-2000], samples)
    for pause in (paused[:4000], paused[-2000:]):
        assert np.sqrt(np.mean(pause**2)) == pytest.approx(0.01, rel=0.3)
        spectrum = np.square(np.abs(np.fft.rfft(pause, RATE)))
        # Eight equal samples pass nine tenths of their energy below an eighth of the sample rate.
        assert 0.8 < spectrum[:1000].sum() / spectrum.sum() < 0.97
    assert len(add_pauses(samples[:3], 5, 0, RATE, 17)) == 8


def test_noise_runs_through_pauses(stores, waveform):
    store = AudioStore.open(stores / "audio/train")
    loud = replace(waveform, speeds=(1.0,), impulse_responses="", noise_probability=1, min_snr_db=-40, max_snr_db=-40)
    spread = []
    for altered in (WaveformAugmentConfig(), replace(loud, gain_db=0)):
        made = source(store, replace(UNMASKED, pause_probability=1, pause_seconds=0.5, waveform=altered))
        planned = made.plan(1, 0)[0]
        batch = made.batch(planned, 1, 0)
        length = planned.lengths[0]
        x = batch.features[0, : int(length.total)].mean(1)
        speech = x[int(length.before) + int(length.speech) // 2 :][: int(length.speech) // 3]
        spread.append(float(speech.mean() - x[: int(length.before)].mean()))
    assert spread[0] > 1.5
    assert abs(spread[1]) < 0.3


def test_what_does_not_apply_or_is_not_there_is_refused(stores, waveform):
    features, audio = FeatureStore.open(stores / "features/train"), AudioStore.open(stores / "audio/train")
    with pytest.raises(UsageError, match="--store audio"):
        source(features, AugmentConfig(waveform=waveform))
    for field in ("noises", "impulse_responses"):
        for path, message in (
            (stores / "nowhere", "no such store"),
            (stores / "features/train", "expected audio"),
            (stores / "noise16000/noise", "expected 8000 Hz"),
        ):
            with pytest.raises(DataError, match=rf"waveform\.{field}: .*{message}"):
                source(audio, AugmentConfig(waveform=replace(waveform, **{field: str(path)})))
    for setting in ("speeds=(0.9,3)", "noise_probability=1.5", "gain_db=-1", "speed=0.9"):
        with pytest.raises(UsageError, match=r"augment\.waveform"):
            override(TrainingConfig(), [f"augment.waveform.{setting}"])
    changed = override(TrainingConfig(), ["augment.waveform.speeds=0.9,1.0,1.1", "augment.waveform.noises=data/noise"])
    assert changed.augment.waveform == WaveformAugmentConfig(speeds=(0.9, 1.0, 1.1), noises="data/noise")
