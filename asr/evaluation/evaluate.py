"""A model and a store → error counts, utterance by utterance."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.data.store import AudioStore, FeatureStore
from asr.errors import DataError
from asr.evaluation.results import Evaluation, Timing, UtteranceResult
from asr.features import LogMelConfig
from asr.settings import to_dict
from asr.transcription.bundle import Bundle
from asr.transcription.recognition import batches_by_length
from asr.transcription.runtime import Runtime
from asr.transcription.transcribe import Decoder

Store = FeatureStore | AudioStore


def evaluate(
    store: Store,
    bundle: Bundle,
    runtime: Runtime,
    decoder: Decoder,
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Recognise every utterance of `store` and count errors.

    Parameters
    ----------
    store : FeatureStore or AudioStore
    bundle : Bundle
    runtime : Runtime
    decoder : callable
        ``(log_probs (T, V)) -> hypotheses, best first``.
    advance : callable, optional
        Called with the number of utterances just done.

    Returns
    -------
    Evaluation
        In the order of the store, with the time that recognition took.

    Raises
    ------
    DataError
        If the store's features are not those of the model, or it has no utterance.
    """
    check_store(store, bundle)
    results: dict[int, UtteranceResult] = {}
    network_seconds = decoder_seconds = 0.0
    # First calls compile and allocate, which is no part of the speed.
    decoder(runtime([features_of(store, int(np.argmin(store.num_frames)), bundle)])[0])
    for indices in batches_by_length(list(map(int, store.num_frames))):
        features = [features_of(store, index, bundle) for index in indices]
        started = time.perf_counter()
        log_probs = runtime(features)
        recognised = time.perf_counter()
        best = [decoder(rows)[0] for rows in log_probs]
        network_seconds += recognised - started
        decoder_seconds += time.perf_counter() - recognised
        for index, hypothesis in zip(indices, best, strict=True):
            results[index] = replace(
                UtteranceResult.scored(store.ids[index], store.texts[index], hypothesis.text),
                speaker=store.speakers[index],
                duration_seconds=float(store.durations_seconds[index]),
                source=store.sources[index],
                timed_words=hypothesis.words,
            )
        advance(len(indices))
    timing = Timing(float(store.durations_seconds.sum()), network_seconds, decoder_seconds)
    return Evaluation(tuple(results[index] for index in sorted(results)), timing)


def features_of(store: Store, index: int, bundle: Bundle) -> NDArray[np.floating[Any]]:
    """Return the features ``(T, F)`` of an utterance; those of waveforms through float16, as a store keeps them."""
    if isinstance(store, FeatureStore):
        return store[index].features
    return bundle.log_mel(store[index].samples.astype(np.float32) / 32768).astype(np.float16)


def check_store(store: Store, bundle: Bundle) -> None:
    """Refuse a store that `bundle` cannot recognise.

    Raises
    ------
    DataError
        If its features, or the rate of its waveforms, are not those of the model; or if it is empty.
    """
    if isinstance(store, FeatureStore):
        check_features(store, bundle.features, f"model {bundle.name}")
        return
    _check_not_empty(store)
    if store.config.sample_rate != bundle.features.sample_rate:
        raise DataError(
            f"{store.path}: the store's waveforms are sampled at {store.config.sample_rate} Hz; expected "
            f"{bundle.features.sample_rate} Hz, as model {bundle.name} takes them: prepare the corpus at that rate"
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
            f"{store.path}: the store's features are not those of {owner}: {'; '.join(different)}: prepare the corpus "
            "with those feature settings, into another folder"
        )


def _check_not_empty(store: Store) -> None:
    if not len(store):
        raise DataError(f"the store of {store.corpus} has no utterance; expected at least one")


def unwritable(store: Store, tokens: Iterable[str]) -> tuple[int, str]:
    """Return how many transcripts hold characters that no token writes, and these characters."""
    known = set("".join(tokens)) | {" "}
    found = [set(text) - known for text in store.texts]
    return sum(map(bool, found)), "".join(sorted(set().union(*found)))
