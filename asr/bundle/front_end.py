"""Samples → what the network takes; and what a store holds → the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.features import LogMel
from asr.model_config import MIN_STD, Normalisation
from asr.store.checking import Store
from asr.store.store import FeatureStore

# Frames whose sum is taken in the type of the features; the sums of these blocks are added in float64.
SUM_FRAMES = 1024


class FrontEnd:
    """Log-mel features as a model takes them: float16, as stores keep them, so that both give the same words.

    Parameters
    ----------
    log_mel : LogMel
    normalisation : {"global", "utterance", "none"}
        What is done here: nothing, but for bundles of format 1, whose networks do not normalise themselves.
    mean, std : ndarray, shape (n_mels,), float32, optional
        For "global", in nats.
    """

    def __init__(
        self,
        log_mel: LogMel,
        normalisation: Normalisation = "none",
        mean: NDArray[np.float32] | None = None,
        std: NDArray[np.float32] | None = None,
    ) -> None:
        self.log_mel = log_mel
        self.sample_rate = log_mel.config.sample_rate
        self._normalisation = normalisation
        self._mean, self._std = mean, std

    def __call__(self, samples: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
        """Return the features ``(T, n_mels)`` of samples ``(num_samples,)``, raising as `LogMel`."""
        return self._normalised(self.log_mel(samples)).astype(np.float16)

    def stored(self, store: Store, index: int) -> NDArray[np.float16]:
        """Return the features ``(T, n_mels)`` of an utterance of a store."""
        if not isinstance(store, FeatureStore):
            return self(store[index].samples.astype(np.float32) / 32768)
        features = store[index].features
        if self._normalisation == "none":
            return features
        return self._normalised(features.astype(np.float32)).astype(np.float16)

    def _normalised(self, features: NDArray[Any]) -> NDArray[Any]:
        if self._normalisation == "utterance":
            normalise_utterance(features)
        elif self._normalisation == "global":
            assert self._mean is not None
            assert self._std is not None
            features -= self._mean
            features /= np.maximum(self._std, np.float32(MIN_STD))
        return features


def normalise_utterance(features: NDArray[Any]) -> None:
    """Give each band of features ``(T, F)`` zero mean and unit deviation over time, in place."""
    # From the first frame on: what is constant, such as digital silence, is then exactly zero.
    features -= features[0].copy()
    features -= _mean(features)
    features *= 1 / np.maximum(np.sqrt(_mean(features, squared=True)), MIN_STD)


def _mean(features: NDArray[Any], *, squared: bool = False) -> NDArray[Any]:
    """Return the mean of `features` ``(T, F)``, or of their squares, over time: ``(F,)``, of the same dtype.

    Sums over the frames of an hour need float64; those of a block do not, and are a matrix product.
    """
    total = np.zeros(features.shape[1])
    for first in range(0, len(features), SUM_FRAMES):
        block = features[first : first + SUM_FRAMES]
        total += np.ones(len(block), dtype=features.dtype) @ (np.square(block) if squared else block)
    return (total / len(features)).astype(features.dtype)
