"""Features → altered features: stretched in time and frequency, then masked (SpecAugment, Park et al. 2019).

And features of noise, for utterances in which nothing is said.
"""

import numpy as np
from numpy.typing import NDArray

from asr.features import LogMel
from asr.training.config import AugmentConfig

# Spectral slopes of noise: amplitude falls as frequency to the power of minus this, from white to brown noise.
STEEPEST_SLOPE = 1.0


def augment(
    features: NDArray[np.float32], config: AugmentConfig, hop_seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return an altered copy of one utterance.

    Parameters
    ----------
    features : ndarray, shape (T, F), float32
        Normalised log-mel features: masks are filled with zero, the mean.
    config : AugmentConfig
    hop_seconds : float
        Seconds from frame to frame.
    rng : numpy.random.Generator
        All randomness comes from here.

    Returns
    -------
    ndarray, shape (T', F), float32
        T' is T times a factor from ``1 ± config.time_stretch``.
    """
    stretched = stretch(
        features,
        1 + config.time_stretch * rng.uniform(-1, 1),
        1 + config.frequency_stretch * rng.uniform(-1, 1),
    )
    T, F = stretched.shape
    for _ in range(config.frequency_masks):
        width = rng.integers(0, min(config.frequency_mask_bands, F) + 1)
        first = rng.integers(0, F - width + 1)
        stretched[:, first : first + width] = 0
    for _ in range(rng.poisson(config.time_masks_per_second * T * hop_seconds)):
        width = rng.integers(0, min(round(config.time_mask_seconds / hop_seconds), T) + 1)
        first = rng.integers(0, T - width + 1)
        stretched[first : first + width] = 0
    return stretched


def stretch(features: NDArray[np.float32], time: float, frequency: float) -> NDArray[np.float32]:
    """Stretch ``(T, F)`` features by linear interpolation to ``(round(T · time), F)``.

    A `frequency` factor above 1 moves the content to higher bands, as a shorter vocal tract does; bands that no
    source band reaches repeat the edge.
    """
    T, F = features.shape
    stretched_frames = max(1, round(T * time))
    rows = np.linspace(0, T - 1, stretched_frames)
    bands = np.minimum(np.arange(F) / frequency, F - 1)
    return _interpolate(_interpolate(features, rows).T, bands).T.copy()


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
