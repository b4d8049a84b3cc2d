"""Whether a store fits its user: the same features, the same letters."""

from collections.abc import Iterable

import numpy as np

from asr.errors import DataError
from asr.features import LogMelConfig
from asr.settings import to_dict
from asr.store.store import AudioStore, FeatureStore

Store = FeatureStore | AudioStore


def check_store(store: Store, features: LogMelConfig, owner: str) -> None:
    """Refuse a store that a model with these features, `owner` in messages, cannot recognise.

    Raises
    ------
    DataError
        If its features, or the rate of its waveforms, are not those of the model; or if it is empty.
    """
    if isinstance(store, FeatureStore):
        check_features(store, features, owner)
        return
    _check_not_empty(store)
    if store.config.sample_rate != features.sample_rate:
        raise DataError(
            f"{store.path}: the store's waveforms are sampled at {store.config.sample_rate} Hz; expected "
            f"{features.sample_rate} Hz, like {owner}: prepare the corpus at that rate"
        )


def check_features(store: Store, features: LogMelConfig, owner: str) -> None:
    """Refuse a store whose features are not those of its user, `owner` in messages.

    Raises
    ------
    DataError
        Naming what differs; or if the store is empty.
    """
    _check_not_empty(store)
    got, expected = to_dict(store.config), to_dict(features)
    different = [f"{key}: {got[key]} (expected {expected[key]})" for key in expected if got[key] != expected[key]]
    if different:
        raise DataError(
            f"{store.path}: the store's features differ from those of {owner}: {'; '.join(different)}: prepare the "
            "corpus with those feature settings, into another folder"
        )


def check_same_features(train: Store, dev: Store) -> None:
    """Refuse two stores whose features differ; one may hold waveforms and the other features.

    Raises
    ------
    DataError
        Naming what differs; or if `dev` is empty.
    """
    check_features(dev, train.config, f"the training store {train.path}")
    if not np.array_equal(train.filterbank, dev.filterbank):
        raise DataError(
            f"{dev.path}: its mel filters differ from those of the training store {train.path}: prepare both with the "
            "same version of librosa"
        )


def unwritable(store: Store, tokens: Iterable[str]) -> tuple[int, str]:
    """Return how many transcripts hold characters that no token writes, and these characters."""
    known = set("".join(tokens)) | {" "}
    found = [set(text) - known for text in store.texts]
    return sum(map(bool, found)), "".join(sorted(set().union(*found)))


def _check_not_empty(store: Store) -> None:
    if not len(store):
        raise DataError(f"the store of {store.corpus} has no utterance; expected at least one")
