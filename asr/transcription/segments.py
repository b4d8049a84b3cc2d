"""Audio → the parts to recognise: without long silences, and no longer than what the model was trained on.

Features are normalised over their utterance. Seconds of silence would shift all of it, so they are left out, and
what stands between two of them is recognised on its own.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

# The level is measured in frames of this length.
LEVEL_SECONDS = 0.02
# Quieter than this, in dB of full scale, is silence whatever surrounds it: half a step of 13-bit audio.
SILENCE_DB = -80.0
# Speech and pauses are told apart at this part of the range from the quietest tenth to the loudest twentieth of all
# frames, if that range is wide enough to tell them apart.
THRESHOLD = 0.35
MIN_RANGE_DB = 15.0
# A pause this long ends a segment; so much of it stays on either side.
PAUSE_SECONDS = 0.7
MARGIN_SECONDS = 0.3
# Noise in dead stretches is at least this much fainter than speech.
FAINT_DB = 40.0

# The energy that decides on a cut is that of this stretch: longer than a stop consonant, shorter than a pause.
QUIET_SECONDS = 0.2


def speech_spans(samples: NDArray[np.float32], sample_rate: int) -> list[tuple[int, int]]:
    """Return the parts ``(first sample, end)`` to recognise, in order; none where all is silence.

    Parameters
    ----------
    samples : ndarray, shape (num_samples,), float32
    sample_rate : int
        In Hz.
    """
    return [
        (first + start, first + end)
        for first, last in _between_pauses(samples, sample_rate)
        for start, end in itertools.pairwise(cut_points(samples[first:last], sample_rate))
    ]


def fill_dead_air(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return samples with noise where there is none at all (edited or gated audio), as faint as the rest's pauses.

    The logarithm of nothing is far from that of any room, and would dominate the normalisation. The noise is the
    same whenever it is made; audio without dead stretches is returned as it is.
    """
    levels, step = _levels(samples, sample_rate)
    dead = np.repeat(levels <= SILENCE_DB, step)[: len(samples)]
    if not dead.any() or dead.all():
        return samples
    low, high = np.percentile(levels[levels > SILENCE_DB], (10, 95))
    amplitude = 10 ** (min(low, high - FAINT_DB) / 20)
    noise = np.random.default_rng(0).standard_normal(int(dead.sum()), dtype=np.float32)
    filled = samples.copy()
    filled[dead] += np.float32(amplitude) * noise
    return filled


def _between_pauses(samples: NDArray[np.float32], sample_rate: int) -> list[tuple[int, int]]:
    """Return what is left of audio without its long pauses but for their margins."""
    levels, step = _levels(samples, sample_rate)
    audible = levels[levels > SILENCE_DB]
    if not len(audible):
        return []
    low, high = np.percentile(audible, (10, 95))
    threshold = low + THRESHOLD * (high - low) if high - low >= MIN_RANGE_DB else SILENCE_DB
    loud = np.flatnonzero(levels > threshold)
    pause = round(PAUSE_SECONDS / LEVEL_SECONDS)
    margin = round(MARGIN_SECONDS / LEVEL_SECONDS)
    breaks = np.flatnonzero(np.diff(loud) > pause)
    spans = []
    for first, last in zip(loud[np.append(0, breaks + 1)], loud[np.append(breaks, len(loud) - 1)], strict=True):
        # A margin at an end of the audio that is shorter than a pause is left as it is.
        begin = 0 if first <= pause else first - margin
        end = len(levels) if last + pause >= len(levels) else last + 1 + margin
        spans.append((int(begin) * step, min(len(samples), int(end) * step)))
    return spans


def _levels(samples: NDArray[np.float32], sample_rate: int) -> tuple[NDArray[np.float64], int]:
    """Return the level of each 20 ms in dB of full scale, and their length in samples."""
    step = max(1, round(LEVEL_SECONDS * sample_rate))
    starts = np.arange(0, len(samples), step)
    sizes = np.diff(np.append(starts, len(samples)))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts) / sizes
    return 10 * np.log10(np.maximum(power, 1e-12)), step


def cut_points(
    samples: NDArray[np.float32], sample_rate: int, min_seconds: float = 10.0, max_seconds: float = 25.0
) -> list[int]:
    """Return sample indices ``[0, …, len(samples)]`` at which to cut audio into segments.

    Audio of at most `max_seconds` is one segment. Otherwise each segment ends in the quietest stretch of
    0.2 s between `min_seconds` and `max_seconds` after its start, and leaves at least `min_seconds` for the next.

    Parameters
    ----------
    samples : ndarray, shape (num_samples,), float32
    sample_rate : int
        In Hz.
    min_seconds, max_seconds : float
        Shortest and longest segment, in seconds; the longest is at least twice the shortest.
    """
    shortest, longest = round(min_seconds * sample_rate), round(max_seconds * sample_rate)
    quiet = max(1, round(QUIET_SECONDS * sample_rate))
    points = [0]
    while len(samples) - points[-1] > longest:
        first = points[-1] + shortest
        # In float64: a running sum of squares over seconds loses small differences in float32.
        last = min(points[-1] + longest, len(samples) - shortest)
        energy = np.cumsum(np.square(samples[first:last], dtype=np.float64))
        windowed = energy[quiet:] - energy[:-quiet] if len(energy) > quiet else energy[:1]
        points.append(first + int(windowed.argmin()) + quiet // 2)
    return [*points, len(samples)]
