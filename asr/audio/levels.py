"""The level of samples, and noise for stretches of digital silence."""

import numpy as np
from numpy.typing import NDArray

# The level is measured in frames of this length.
LEVEL_SECONDS = 0.02
# Quieter than this, in dB of full scale, is silence whatever surrounds it: half a step of 13-bit audio.
SILENCE_DB = -80.0
# Channels cancel each other where their mean has this much less power, times their number, than they have. Where they
# are fainter than this RMS amplitude, that is not looked for.
CANCELLED_POWER = 0.2
FAINT_AMPLITUDE = 1e-3
# Noise in dead stretches is at least this much fainter than speech.
FAINT_DB = 40.0


def fill_dead_air(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return samples with noise where there is none at all (edited or gated audio), as faint as the rest's pauses.

    The logarithm of nothing is far from that of any room, and would dominate a normalisation over the utterance. The
    noise is the same every time; audio without dead stretches is returned unchanged.
    """
    step = level_step(sample_rate)
    levels = measure_levels(samples, step)
    dead = np.repeat(levels <= SILENCE_DB, step)[: len(samples)]
    if not dead.any() or dead.all():
        return samples
    low, high = np.percentile(levels[levels > SILENCE_DB], (10, 95))
    amplitude = 10 ** (min(low, high - FAINT_DB) / 20)
    noise = np.random.default_rng(0).standard_normal(int(dead.sum()), dtype=np.float32)
    filled = samples.copy()
    filled[dead] += np.float32(amplitude) * noise
    return filled


def level_step(sample_rate: int) -> int:
    """Return the number of samples of which one level is measured."""
    return max(1, round(LEVEL_SECONDS * sample_rate))


def measure_levels(samples: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """Return the level of each `step` samples (the last ones may be fewer) in dB of full scale."""
    if not len(samples):
        return np.zeros(0, np.float32)
    starts = np.arange(0, len(samples), step)
    sizes = np.diff(np.append(starts, len(samples)))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts) / sizes
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


def count_cancelled(block: NDArray[np.float32], mono: NDArray[np.float32], step: int) -> int:
    """Count the samples of stretches of `step` in which averaging the channels of `block` leaves next to nothing."""
    count = len(mono) // step
    if not count:
        return 0
    num_channels = block.shape[1]
    power = np.square(block[: count * step]).reshape(count, -1).mean(axis=1)
    left = np.square(mono[: count * step]).reshape(count, -1).mean(axis=1)
    return int(((left < CANCELLED_POWER / num_channels * power) & (power > FAINT_AMPLITUDE**2)).sum()) * step
