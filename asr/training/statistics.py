"""Mean and deviation of the training set's features, for a model that normalises by them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.errors import DataError
from asr.features import LogMel
from asr.store.checking import Store
from asr.store.store import FeatureStore

# Utterances that are read, evenly spread over the training set: mean and deviation of a larger sample hardly differ.
MAX_UTTERANCES = 1000


def feature_statistics(
    store: Store, weights: NDArray[np.float64] | None = None, max_utterances: int = MAX_UTTERANCES
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each band over the frames of a training set.

    Parameters
    ----------
    store : FeatureStore or AudioStore
    weights : ndarray, shape (N,), float64, optional
        How often each utterance is trained on, for one with a weight of 1; those of 0 are not read.
    max_utterances : int
        The most that are read, evenly spaced.

    Returns
    -------
    mean, std : Tensor, shape (F,), float32
        In nats, rounded to six digits: the same whichever machine added them up.

    Raises
    ------
    DataError
        If there is no utterance.
    """
    weights = np.ones(len(store)) if weights is None else weights
    chosen = np.flatnonzero(weights)
    if not len(chosen):
        raise DataError("the training set has no utterance; expected some, to measure mean and deviation")
    shares = weights[chosen]
    if len(chosen) > max_utterances:
        places = (np.arange(max_utterances) + 0.5) / max_utterances * shares.sum()
        chosen, shares = chosen[np.searchsorted(np.cumsum(shares), places)], np.ones(max_utterances)
    n_mels = store.config.n_mels
    log_mel = LogMel(store.config, store.filterbank)
    count, total, squares = 0.0, np.zeros(n_mels), np.zeros(n_mels)
    for index, share in zip(chosen.tolist(), shares.tolist(), strict=True):
        features = _features(store, index, log_mel)
        count += share * len(features)
        total += share * features.sum(axis=0)
        squares += share * np.square(features).sum(axis=0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    return _rounded(mean), _rounded(std)


def _features(store: Store, index: int, log_mel: LogMel) -> NDArray[np.float64]:
    if isinstance(store, FeatureStore):
        return store[index].features.astype(np.float64)
    return log_mel(store[index].waveform).astype(np.float64)


def _rounded(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor([float(f"{value:.6g}") for value in values], dtype=torch.float32)
