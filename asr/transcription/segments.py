"""Long audio → segments of a length that the model was trained on, cut where it is quietest."""

import numpy as np
from numpy.typing import NDArray

# The energy that decides on a cut is that of this stretch: longer than a stop consonant, shorter than a pause.
QUIET_SECONDS = 0.2


def cut_points(
    samples: NDArray[np.float32], sample_rate: int, min_seconds: float = 10.0, max_seconds: float = 25.0
) -> list[int]:
    """Return sample indices ``[0, …, len(samples)]`` at which to cut audio into segments.

    Audio of at most `max_seconds` is one segment. Otherwise each segment ends in the quietest stretch of
    0.2 s between `min_seconds` and `max_seconds` after its start.

    Parameters
    ----------
    samples : ndarray, shape (num_samples,), float32
    sample_rate : int
        In Hz.
    min_seconds, max_seconds : float
        Shortest and longest segment, in seconds; the last may be shorter.
    """
    shortest, longest = round(min_seconds * sample_rate), round(max_seconds * sample_rate)
    quiet = max(1, round(QUIET_SECONDS * sample_rate))
    points = [0]
    while len(samples) - points[-1] > longest:
        first = points[-1] + shortest
        # In float64: a running sum of squares over seconds loses small differences in float32.
        energy = np.cumsum(np.square(samples[first : points[-1] + longest], dtype=np.float64))
        windowed = energy[quiet:] - energy[:-quiet]
        points.append(first + int(windowed.argmin()) + quiet // 2)
    return [*points, len(samples)]
