"""What augmentation may change, and what it must not."""

from dataclasses import replace

import numpy as np
import pytest

from asr.features import LogMel, LogMelConfig
from asr.training.augment import add_noise, add_pauses, alter, mask, noise_samples, stretch
from asr.training.config import AugmentConfig
from asr.training.draws import Floor, Lengths, Purpose, draw_features, draw_lengths, draw_masks, generator

CONFIG = LogMelConfig(sample_rate=8000, n_mels=20)
NOTHING = AugmentConfig(
    time_stretch=0, frequency_stretch=0, frequency_masks=0, time_masks_per_second=0, noise_utterances=0
)
EVERYTHING = AugmentConfig(pause_probability=0.7, pause_seconds=0.3, noise_probability=0.7)


def speech(num_frames: int, seed: int = 0) -> np.ndarray:
    """Return log-mel features with loud and quiet stretches."""
    rng = np.random.default_rng(seed)
    features = 2 * rng.standard_normal((num_frames, 20), dtype=np.float32) - np.linspace(6, 10, 20, dtype=np.float32)
    features[: num_frames // 2] -= 6
    return features


def altered(features, lengths, config, rng):
    return alter(features, draw_features(lengths, features.shape[1], config, rng))


def masked(features, fill, config, rng):
    x = features.copy()
    mask(x, fill, draw_masks(len(x), x.shape[1], config, 0.01, rng))
    return x


def test_lengths_stay_in_their_bounds_and_equal_what_augmentation_returns():
    num_frames = np.random.default_rng(1).integers(1, 200, 400)
    shortest = np.minimum(num_frames, np.random.default_rng(2).integers(1, 200, 400))
    lengths = draw_lengths(num_frames, np.ones(400), shortest, EVERYTHING, 0.01, np.random.default_rng(3))
    assert (lengths.speech >= shortest).all()
    assert (np.abs(lengths.speech - num_frames) <= 0.1 * num_frames + 0.5).all()
    for pauses in (lengths.before, lengths.after):
        assert 0 <= pauses.min() < pauses.max() == 30
        assert 0.6 < np.mean(pauses > 0) / (30 / 31) < 0.8
    for row in range(0, 400, 10):
        x = altered(speech(num_frames[row]), lengths[row], EVERYTHING, np.random.default_rng(row))
        assert x.shape == (lengths.total[row], 20)
        assert x.dtype == np.float32


def test_nothing_asked_for_changes_nothing():
    features = speech(50)
    kept = features.copy()
    x = altered(features, Lengths.unaltered(np.array([50]))[0], NOTHING, np.random.default_rng(0))
    np.testing.assert_array_equal(x, features)
    everything = Lengths(np.array([60]), np.array([5]), np.array([7]), np.ones(1))
    altered(features, everything[0], EVERYTHING, np.random.default_rng(0))
    np.testing.assert_array_equal(features, kept)


def test_random_numbers_are_a_function_of_seed_epoch_purpose_and_utterance():
    keys = [(s, e, p, i) for s in (0, 1) for e in (0, 1) for p in Purpose for i in (0, 1)]
    drawn = {key: generator(*key).integers(2**62) for key in keys}
    assert len(set(drawn.values())) == len(keys)
    assert all(generator(*key).integers(2**62) == value for key, value in drawn.items())


def test_stretching_moves_time_and_frequency():
    features = np.zeros((41, 20), np.float32)
    features[10, 8] = 1
    longer = stretch(features, 61, 1.25)
    assert longer.shape == (61, 20)
    assert np.unravel_index(longer.argmax(), longer.shape) == (15, 10)
    features = speech(30)
    np.testing.assert_array_equal(stretch(features, 30, 1.0), features)
    # Linear interpolation in both directions leaves a plane a plane.
    t, f = np.meshgrid(np.arange(30.0), np.arange(20.0), indexing="ij")
    plane = stretch((2 * t + f).astype(np.float32), 59, 1.6)
    np.testing.assert_allclose(plane, np.add.outer(np.arange(59.0), np.arange(20) / 1.6), atol=1e-4)


def test_pauses_are_the_quietest_frames_of_the_utterance():
    features = speech(100)
    x = add_pauses(features, *np.split(np.random.default_rng(0).integers(0, 10, 18), [7]))
    np.testing.assert_array_equal(x[7:-11], features)
    quiet = {row.tobytes() for row in features[np.argsort(features.mean(axis=1))[:10]]}
    assert {row.tobytes() for row in (*x[:7], *x[-11:])} <= quiet


def test_noise_adds_energy_and_never_takes_any():
    clean = speech(400)
    raised = []
    for level in (0.0, 0.5, 1.0):
        noisy = clean.copy()
        add_noise(noisy, Floor(level, 1.0, 5))
        assert (noisy >= clean).all()
        # What was added, e^noisy − e^clean, does not depend on what it was added to.
        added = np.log(np.exp(noisy.astype(float)) - np.exp(clean.astype(float)))
        smooth = clean.mean(axis=1, keepdims=True) + clean.mean(axis=0) - clean.mean()
        other = smooth.copy()
        add_noise(other, Floor(level, 1.0, 5))
        same = np.log(np.exp(other.astype(float)) - np.exp(smooth.astype(float)))
        loud = (added > clean - 5) & (same > smooth - 5)
        np.testing.assert_allclose(added[loud], same[loud], atol=0.05)
        raised.append((noisy - clean).mean())
    assert raised[0] < raised[1] < raised[2]
    # The faintest frames are drowned, the loudest are not.
    quiet, loud = (noisy - clean)[:200].mean(), (noisy - clean)[200:].mean()
    assert quiet > 2 * loud


def test_masks_cover_what_they_may_and_grow_in_number_with_the_length():
    config = AugmentConfig(frequency_masks=1, frequency_mask_bands=4, time_masks_per_second=0)
    counts = np.zeros(20)
    for seed in range(2000):
        x = masked(np.ones((9, 20), np.float32), np.zeros(20, np.float32), config, np.random.default_rng(seed))
        hidden = x[0] == 0
        assert (x == x[0]).all()
        assert hidden.sum() <= 4
        assert np.abs(np.diff(np.concatenate(([0], hidden, [0])))).sum() in (0, 2)
        counts += hidden
    # A width from 0 to 4 is 2 on average: a tenth of the bands.
    assert counts.sum() / 2000 == pytest.approx(2, abs=0.15)
    config = AugmentConfig(frequency_masks=0, time_masks_per_second=2, time_mask_seconds=0.01)
    rng = np.random.default_rng(1)
    for T in (100, 1000):
        hidden = 0
        for _ in range(500):
            x = masked(np.ones((T, 20), np.float32), np.zeros(20, np.float32), config, rng)
            hidden += int((x[:, 0] == 0).sum())
        # 2 masks a second of 100 frames, each of 0 or 1 frame.
        assert hidden / 500 == pytest.approx(T / 100, rel=0.15)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_time_masks_cover_no_more_than_their_share(share):
    config = replace(NOTHING, time_masks_per_second=20, time_mask_seconds=0.5, time_mask_share=share)
    x = np.random.default_rng(4).standard_normal((200, 20)).astype(np.float32)
    most = 0
    for seed in range(100):
        hidden = masked(x, x.mean(axis=0), config, np.random.default_rng(seed)) != x
        most = max(most, int(hidden.all(axis=1).sum()))
        assert most <= share * 200
    assert most >= 0.9 * share * 200


def test_masks_hide_features_behind_what_is_average():
    config = replace(NOTHING, frequency_masks=3, time_masks_per_second=5)
    features, average = speech(100), np.arange(20, dtype=np.float32)
    for expected in (average, features.mean(axis=0)):
        x = masked(features, expected, config, np.random.default_rng(2))
        hidden = x != features
        assert 0.1 < hidden.mean() < 0.9
        np.testing.assert_array_equal(x[hidden], np.broadcast_to(expected, x.shape)[hidden])


def test_noise_has_the_length_asked_for():
    log_mel = LogMel(CONFIG)
    for num_samples in (1, 2, 57, 20_000):
        samples = noise_samples(num_samples, np.random.default_rng(num_samples))
        assert samples.shape == (num_samples,)
        assert np.isfinite(log_mel(samples)).all()
