"""Features → altered features: stretched, with pauses and noise, then masked (SpecAugment, Park et al. 2019).

Features are plain log-mel energies, in nats: the model normalises them afterwards. And sounds of noise, for utterances
in which nothing is said. What is done to an utterance was drawn before.
"""

import numpy as np
from numpy.typing import NDArray

from asr.training.draws import TEXTURE, FeatureDraw, Floor, Masks, num_quiet

# Spectral slopes of noise: amplitude falls as frequency to the power of minus this, from white to brown noise.
STEEPEST_SLOPE = 1.0
# How much single frames of noise differ from its mean spectrum, in nats: their energies are averages over a band.
NOISE_STD = 0.375
# A floor of noise lies between these parts of an utterance's frames, sorted by energy: its faintest and its loudest.
FAINTEST, LOUDEST = 0.05, 0.95


def alter(features: NDArray[np.float32], draw: FeatureDraw) -> NDArray[np.float32]:
    """Return an altered copy of one utterance's features ``(T, F)``, as long as was drawn, without masks."""
    x = stretch(features, draw.num_frames, draw.frequency)
    if draw.floor:
        add_noise(x, draw.floor)
    if len(draw.before) or len(draw.after):
        x = add_pauses(x, draw.before, draw.after)
    return x


def mask(features: NDArray[np.float32], fill: NDArray[np.float32], masks: Masks) -> None:
    """Set what `masks` hide of ``(T, F)`` features to `fill` ``(F,)``, in place."""
    features[:, masks.bands] = fill[masks.bands]
    features[masks.frames] = fill


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


def add_pauses(
    features: NDArray[np.float32], before: NDArray[np.int64], after: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return features ``(T, F)`` between pauses: of their own frames, the quietest numbered `before` and `after`."""
    quiet = features[np.argsort(features.mean(axis=1))[: num_quiet(len(features))]]
    return np.concatenate((quiet[before], features, quiet[after]))


def add_noise(features: NDArray[np.float32], noise: Floor) -> None:
    """Lay a floor under ``(T, F)`` log-mel features, in place: noise adds to energies, not to their logarithms.

    The floor has the spectrum of the utterance, tilted one way or the other.
    """
    T, F = features.shape
    means = np.sort(features.mean(axis=1))
    low, high = means[round(FAINTEST * (T - 1))], means[round(LOUDEST * (T - 1))]
    spectrum = features.mean(axis=0)
    spectrum += low + noise.level * (high - low) - spectrum.mean()
    spectrum += noise.tilt * np.linspace(-1, 1, F, dtype=np.float32)
    floor = piece(TEXTURE, T * F, noise.start).reshape(T, F) * np.float32(NOISE_STD)
    floor += spectrum
    # ln(eᵃ + eᵇ) = max(a, b) + ln(1 + e^−|a − b|), in place: three times as fast as logaddexp.
    gap = np.abs(features - floor)
    np.negative(gap, out=gap)
    np.exp(gap, out=gap)
    gap += 1
    np.log(gap, out=gap)
    np.maximum(features, floor, out=features)
    features += gap


def piece(samples: NDArray[np.float32], num_samples: int, start: int) -> NDArray[np.float32]:
    """Return ``(num_samples,)`` of `samples` from `start` on; they are repeated where they do not suffice."""
    if start + num_samples <= len(samples):
        return samples[start : start + num_samples]
    return np.resize(np.roll(samples, -start), num_samples)


def noise_samples(num_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise ``(num_samples,)`` between white and brown, its level swelling slowly or not at all."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    slope = rng.uniform(0, STEEPEST_SLOPE)
    spectrum *= np.maximum(1, np.arange(len(spectrum))) ** -slope
    samples = np.fft.irfft(spectrum, num_samples)
    swell = 1 + rng.uniform(0, 0.9) * np.sin(np.linspace(0, rng.uniform(0, 6), num_samples) + rng.uniform(0, 6))
    samples *= swell * 10 ** rng.uniform(-4, -1) / max(np.abs(samples).max(), 1e-12)
    return samples.astype(np.float32)


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
