"""Features → altered features: stretched, with pauses and noise, then masked (SpecAugment, Park et al. 2019).

And features of noise, for utterances in which nothing is said.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.features import MIN_STD, LogMel, LogMelConfig
from asr.training.config import AugmentConfig

# Spectral slopes of noise: amplitude falls as frequency to the power of minus this, from white to brown noise.
STEEPEST_SLOPE = 1.0
# What counts as a pause within an utterance: this part of its frames, the quietest.
QUIET_PART = 0.1
# A typical deviation of log-mel energies over an utterance, in nats: turns normalised features into energies.
TYPICAL_STD = 2.5


@dataclass(frozen=True)
class Lengths:
    """How long utterances become: each ``(N,)`` int64, in frames; indexing picks some of them.

    Parameters
    ----------
    speech : ndarray
        After stretching.
    before, after : ndarray
        Of the pauses put before and after.
    """

    speech: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @classmethod
    def unaltered(cls, num_frames: NDArray[np.int64]) -> "Lengths":
        """Return lengths that change nothing."""
        return cls(num_frames, np.zeros_like(num_frames), np.zeros_like(num_frames))

    @property
    def total(self) -> NDArray[np.int64]:
        """Frames of the whole, ``(N,)``."""
        return self.before + self.speech + self.after

    def __getitem__(self, index: int | NDArray[np.int64]) -> "Lengths":
        return Lengths(self.speech[index], self.before[index], self.after[index])


def draw_lengths(
    num_frames: NDArray[np.int64], config: AugmentConfig, hop_seconds: float, rng: np.random.Generator
) -> Lengths:
    """Draw how long utterances of `num_frames` ``(N,)`` become."""
    N = len(num_frames)
    factors = 1 + config.time_stretch * rng.uniform(-1, 1, N)
    speech = np.maximum(1, np.rint(num_frames * factors)).astype(np.int64)
    longest = round(config.pause_seconds / hop_seconds)
    before, after = np.where(
        rng.uniform(size=(2, N)) < config.pause_probability, rng.integers(0, longest + 1, (2, N)), 0
    )
    return Lengths(speech, before, after)


def augment(
    features: NDArray[np.float32],
    lengths: Lengths,
    config: AugmentConfig,
    log_mel: LogMelConfig,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return an altered copy of one utterance.

    Parameters
    ----------
    features : ndarray, shape (T, F), float32
        Normalised log-mel features: masks are filled with zero, the mean.
    lengths : Lengths
        Of this utterance, each a scalar.
    config : AugmentConfig
    log_mel : LogMelConfig
        What the features are.
    rng : numpy.random.Generator
        All other randomness comes from here.

    Returns
    -------
    ndarray, shape (lengths.total, F), float32
    """
    x = stretch(features, int(lengths.speech), 1 + config.frequency_stretch * rng.uniform(-1, 1))
    noisy = rng.uniform() < config.noise_probability
    if noisy:
        add_noise(x, config.noise_range * rng.uniform(), rng)
    paused = lengths.before + lengths.after > 0
    if paused:
        x = add_pauses(x, int(lengths.before), int(lengths.after), rng)
    if (noisy or paused) and log_mel.normalisation == "utterance":
        x -= x.mean(axis=0)
        x /= np.maximum(x.std(axis=0), MIN_STD)
    mask(x, config, log_mel.hop_seconds, rng)
    return x


def mask(features: NDArray[np.float32], config: AugmentConfig, hop_seconds: float, rng: np.random.Generator) -> None:
    """Set bands and stretches of ``(T, F)`` features to zero, in place; time masks grow in number with T."""
    T, F = features.shape
    for _ in range(config.frequency_masks):
        width = rng.integers(0, min(config.frequency_mask_bands, F) + 1)
        first = rng.integers(0, F - width + 1)
        features[:, first : first + width] = 0
    for _ in range(rng.poisson(config.time_masks_per_second * T * hop_seconds)):
        width = rng.integers(0, min(round(config.time_mask_seconds / hop_seconds), T) + 1)
        first = rng.integers(0, T - width + 1)
        features[first : first + width] = 0


def stretch(features: NDArray[np.float32], num_frames: int, frequency: float) -> NDArray[np.float32]:
    """Stretch ``(T, F)`` features by linear interpolation to ``(num_frames, F)``.

    A `frequency` factor above 1 moves the content to higher bands, as a shorter vocal tract does; bands that no
    source band reaches repeat the edge.
    """
    T, F = features.shape
    rows = np.linspace(0, T - 1, num_frames)
    bands = np.minimum(np.arange(F) / frequency, F - 1)
    return _interpolate(_interpolate(features, rows).T, bands).T.copy()


def add_pauses(features: NDArray[np.float32], before: int, after: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return ``(before + T + after, F)``: around the features, frames drawn from the quietest of their own."""
    quiet = np.argsort(features.mean(axis=1))[: max(1, round(QUIET_PART * len(features)))]
    drawn = features[rng.choice(quiet, before + after)]
    return np.concatenate((drawn[:before], features, drawn[before:]))


def add_noise(features: NDArray[np.float32], level: float, rng: np.random.Generator) -> None:
    """Lay a floor under ``(T, F)`` log-mel features, in place: noise adds to energies, not to their logarithms.

    Parameters
    ----------
    features : ndarray, shape (T, F), float32
    level : float
        0: at the faintest frames; 1: at the loudest.
    rng : numpy.random.Generator
    """
    T, F = features.shape
    low, high = np.percentile(features.mean(axis=1), (5, 95))
    # A spectrum that tilts one way or the other, and single frames that differ as those of noise do.
    tilt = rng.uniform(-1, 1) * np.linspace(-0.5, 0.5, F, dtype=np.float32)
    floor = np.float32(low + level * (high - low)) + tilt
    floor = floor + np.float32(0.15) * rng.standard_normal((T, F), dtype=np.float32)
    features *= TYPICAL_STD
    np.logaddexp(features, TYPICAL_STD * floor, out=features)
    features /= TYPICAL_STD


def noise(log_mel: LogMel, num_frames: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return features ``(num_frames, F)`` of noise between white and brown, its level swelling slowly or not at all."""
    num_samples = max(1, (num_frames - 1) * log_mel.config.hop_samples)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    slope = rng.uniform(0, STEEPEST_SLOPE)
    spectrum *= np.maximum(1, np.arange(len(spectrum))) ** -slope
    samples = np.fft.irfft(spectrum, num_samples)
    swell = 1 + rng.uniform(0, 0.9) * np.sin(np.linspace(0, rng.uniform(0, 6), num_samples) + rng.uniform(0, 6))
    samples *= swell * 10 ** rng.uniform(-4, -1) / max(np.abs(samples).max(), 1e-12)
    features: NDArray[np.float32] = log_mel(samples.astype(np.float32))
    return features


def _interpolate(values: NDArray[np.float32], positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Interpolate linearly between the rows of `values` at fractional row `positions`."""
    below = positions.astype(np.int64)
    above = np.minimum(below + 1, len(values) - 1)
    part = (positions - below).astype(np.float32)[:, None]
    interpolated: NDArray[np.float32] = values[below] * (1 - part) + values[above] * part
    return interpolated
