"""Intervals by resampling (Bisani & Ney, *Bootstrap estimates for confidence intervals in ASR*, ICASSP 2004)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES = 10_000
# Numbers drawn at a time: 8 MB, however large the test set is.
BLOCK_DRAWS = 1 << 20


def resampled_totals(counts: NDArray[np.int64], samples: int = SAMPLES, seed: int = 0) -> NDArray[np.int64]:
    """Return the totals of test sets drawn from `counts` with replacement, each as large as the set itself.

    Parameters
    ----------
    counts : ndarray, shape (N, K), int64
        K counts (errors, words, …) of each utterance; the K of one utterance stay together.
    samples : int
    seed : int

    Returns
    -------
    ndarray, shape (samples, K), int64
    """
    N, K = counts.shape
    # Utterances with equal counts are interchangeable: how often each kind is drawn is multinomial.
    kinds, sizes = np.unique(counts, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    totals = np.empty((samples, K), np.int64)
    rows = max(1, BLOCK_DRAWS // len(kinds))
    for first in range(0, samples, rows):
        drawn = generator.multinomial(N, sizes / N, min(rows, samples - first))
        totals[first : first + rows] = drawn @ kinds
    return totals


def rates(errors: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.float64]:
    """Return errors over lengths, elementwise; a set drawn without a reference word counts as having one."""
    quotients: NDArray[np.float64] = errors / np.maximum(1, lengths)
    return quotients


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of resampled values: the percentile interval of 95 %."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)
