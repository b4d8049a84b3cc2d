"""Features → altered features: stretched, with pauses and noise, then masked (SpecAugment, Park et al. 2019).

Features are plain log-mel energies, in nats: the model normalises them afterwards.

And features of noise, for utterances in which nothing is said. What is drawn is a function of (seed, epoch, utterance).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.features import LogMel
from asr.training.config import AugmentConfig

Value = TypeVar("Value", bound=np.generic)

# Spectral slopes of noise: amplitude falls as frequency to the power of minus this, from white to brown noise.
STEEPEST_SLOPE = 1.0
# What counts as a pause within an utterance: this part of its frames, the quietest.
QUIET_PART = 0.1
# The spectrum of noise is tilted by up to this at its lowest and highest band, one way or the other, in nats.
MAX_TILT = 1.25
# How much single frames of noise differ from its mean spectrum, in nats: their energies are averages over a band.
NOISE_STD = 0.375
# Drawn once: an utterance's noise is a piece of it, from a place of its own. Drawing anew takes ten times as long.
TEXTURE = np.random.default_rng(0).standard_normal(1 << 19, dtype=np.float32)


class Purpose(IntEnum):
    """What random numbers are drawn for: no two purposes share any."""

    ORDER = 1
    LENGTHS = 2
    FEATURES = 3
    WAVEFORM = 4
    NOISE = 5
    WEIGHTS = 6


def generator(seed: int, epoch: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """Return the random numbers of an epoch, or of utterance `index` and its copy in it, for one purpose."""
    return np.random.default_rng((seed, epoch, purpose, *index))


@dataclass(frozen=True)
class Lengths:
    """How long utterances become, in frames, each ``(N,)`` int32; indexing picks some of them.

    Parameters
    ----------
    speech : ndarray
        After stretching.
    before, after : ndarray
        Of the pauses put before and after.
    speed : ndarray, shape (N,), float64
        How fast their waveforms are played, which `speech` has accounted for; 1 for features.
    """

    speech: NDArray[np.int32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    speed: NDArray[np.float64]

    @classmethod
    def unaltered(cls, num_frames: NDArray[np.int32]) -> "Lengths":
        """Return lengths that change nothing."""
        shape = np.shape(num_frames)
        nothing = np.broadcast_to(np.int32(0), shape)
        return cls(num_frames, nothing, nothing, np.broadcast_to(np.float64(1), shape))

    @classmethod
    def joined(cls, first: "Lengths", second: "Lengths") -> "Lengths":
        """Return the lengths of `first`, then those of `second`."""
        parts = ("speech", "before", "after", "speed")
        return cls(*(appended(getattr(first, part), getattr(second, part)) for part in parts))

    @property
    def total(self) -> NDArray[np.int32]:
        """Frames of the whole, ``(N,)``."""
        return self.before + self.speech + self.after

    def __getitem__(self, index: int | slice | NDArray[np.integer[Any]]) -> "Lengths":
        return Lengths(self.speech[index], self.before[index], self.after[index], self.speed[index])


def repeated(value: Value, count: int) -> NDArray[Value]:
    """Return an array of one value, ``(count,)``, that takes no memory."""
    array: NDArray[Value] = np.broadcast_to(value, (count,))
    return array


def appended(first: NDArray[Value], second: NDArray[Value]) -> NDArray[Value]:
    """Return two arrays as one, of the type of the first; without memory where both are the same `repeated` value."""
    if first.strides == second.strides == (0,) and len(first) and len(second) and first[0] == second[0]:
        return repeated(first[0], len(first) + len(second))
    return np.append(first, second.astype(first.dtype))


def draw_lengths(
    num_frames: NDArray[np.int32],
    speed: NDArray[np.float64],
    shortest: NDArray[np.int32],
    config: AugmentConfig,
    hop_seconds: float,
    rng: np.random.Generator,
) -> Lengths:
    """Draw how long utterances become.

    Parameters
    ----------
    num_frames : ndarray, shape (N,), int32
        How long they are, in frames, played at `speed`.
    speed : ndarray, shape (N,), float64
    shortest : ndarray, shape (N,), int32
        What their speech is not shortened below, as its transcript needs that many.
    config : AugmentConfig
    hop_seconds : float
    rng : numpy.random.Generator
    """
    N = len(num_frames)
    # In place: of ten million utterances each array of float64 is 80 MB.
    stretched = rng.uniform(-1, 1, N)
    stretched *= config.time_stretch
    stretched += 1
    stretched *= num_frames
    speech = np.rint(stretched, out=stretched).astype(np.int32)
    np.maximum(speech, shortest, out=speech)
    np.maximum(speech, 1, out=speech)
    before = after = repeated(np.int32(0), N)
    if config.pause_probability:
        longest = round(config.pause_seconds / hop_seconds)
        chosen = rng.uniform(size=(2, N)) < config.pause_probability
        before, after = np.where(chosen, rng.integers(0, longest + 1, (2, N)).astype(np.int32), np.int32(0))
    return Lengths(speech, before, after, speed)


def alter(
    features: NDArray[np.float32],
    lengths: Lengths,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return an altered copy of one utterance, without masks.

    Parameters
    ----------
    features : ndarray, shape (T, F), float32
        Log-mel features.
    lengths : Lengths
        Of this utterance, each a scalar.
    config : AugmentConfig
    rng : numpy.random.Generator
        All other randomness comes from here.

    Returns
    -------
    ndarray, shape (lengths.total, F), float32
    """
    x = stretch(features, int(lengths.speech), 1 + config.frequency_stretch * rng.uniform(-1, 1))
    if rng.uniform() < config.noise_probability:
        add_noise(x, config.noise_range * rng.uniform(), rng)
    if lengths.before + lengths.after > 0:
        x = add_pauses(x, int(lengths.before), int(lengths.after), rng)
    return x


def mask(
    features: NDArray[np.float32],
    fill: NDArray[np.float32],
    config: AugmentConfig,
    hop_seconds: float,
    rng: np.random.Generator,
) -> None:
    """Set bands and stretches of ``(T, F)`` features to `fill` ``(F,)``, in place; time masks grow in number with T."""
    T, F = features.shape
    for _ in range(config.frequency_masks):
        width = rng.integers(0, min(config.frequency_mask_bands, F) + 1)
        first = rng.integers(0, F - width + 1)
        features[:, first : first + width] = fill[first : first + width]
    left = int(config.time_mask_share * T)
    for _ in range(rng.poisson(config.time_masks_per_second * T * hop_seconds)):
        width = rng.integers(0, min(round(config.time_mask_seconds / hop_seconds), T) + 1)
        width = min(width, left)
        left -= width
        first = rng.integers(0, T - width + 1)
        features[first : first + width] = fill


def stretch(features: NDArray[np.float32], num_frames: int, frequency: float) -> NDArray[np.float32]:
    """Stretch ``(T, F)`` features by linear interpolation to ``(num_frames, F)``.

    A `frequency` factor above 1 moves the content to higher bands, as a shorter vocal tract does; bands that no
    source band reaches repeat the edge.
    """
    T, F = features.shape
    x = features
    if num_frames != T:
        x = _interpolate(x, np.linspace(0, T - 1, num_frames), axis=0)
    if frequency != 1:
        x = _interpolate(x, np.minimum(np.arange(F) / frequency, F - 1), axis=1)
    return x.copy() if x is features else x


def add_pauses(features: NDArray[np.float32], before: int, after: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return ``(before + T + after, F)``: around the features, frames drawn from the quietest of their own."""
    quiet = np.argsort(features.mean(axis=1))[: max(1, round(QUIET_PART * len(features)))]
    drawn = features[rng.choice(quiet, before + after)]
    return np.concatenate((drawn[:before], features, drawn[before:]))


def add_noise(features: NDArray[np.float32], level: float, rng: np.random.Generator) -> None:
    """Lay a floor under ``(T, F)`` log-mel features, in place: noise adds to energies, not to their logarithms.

    The floor has the spectrum of the utterance, tilted one way or the other.

    Parameters
    ----------
    features : ndarray, shape (T, F), float32
    level : float
        0: at the faintest frames; 1: at the loudest.
    rng : numpy.random.Generator
    """
    T, F = features.shape
    means = np.sort(features.mean(axis=1))
    low, high = means[round(0.05 * (T - 1))], means[round(0.95 * (T - 1))]
    spectrum = features.mean(axis=0)
    spectrum += low + level * (high - low) - spectrum.mean()
    spectrum += rng.uniform(-MAX_TILT, MAX_TILT) * np.linspace(-1, 1, F, dtype=np.float32)
    first = int(rng.integers(max(1, len(TEXTURE) - T * F + 1)))
    floor = np.resize(TEXTURE[first : first + T * F], (T, F)) * np.float32(NOISE_STD)
    floor += spectrum
    # ln(eᵃ + eᵇ) = max(a, b) + ln(1 + e^−|a − b|), in place: three times as fast as logaddexp.
    gap = np.abs(features - floor)
    np.negative(gap, out=gap)
    np.exp(gap, out=gap)
    gap += 1
    np.log(gap, out=gap)
    np.maximum(features, floor, out=features)
    features += gap


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


def _interpolate(values: NDArray[np.float32], positions: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Interpolate linearly between the rows (or columns: `axis` 1) of `values` at fractional `positions`."""
    below = positions.astype(np.intp)
    above = np.minimum(below + 1, values.shape[axis] - 1)
    part = (positions - below).astype(np.float32)
    interpolated: NDArray[np.float32] = values.take(above, axis)
    lower = values.take(below, axis)
    interpolated -= lower
    interpolated *= part if axis else part[:, None]
    interpolated += lower
    return interpolated
