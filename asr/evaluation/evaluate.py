"""A model and a store → error counts, utterance by utterance."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import Runtime
from asr.evaluation.results import Evaluation, Timing, UtteranceResult
from asr.store.checking import Store
from asr.transcription.decoding import Decoder
from asr.transcription.recognition import batches_by_length


def evaluate(
    store: Store,
    bundle: Bundle,
    runtime: Runtime,
    decoder: Decoder,
    advance: Callable[[int], None] = lambda _count: None,
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
    bundle.front_end.check_store(store, f"model {bundle.name}")
    results: dict[int, UtteranceResult] = {}
    network_seconds = decoder_seconds = 0.0
    # First calls compile and allocate, which is no part of the speed.
    decoder(runtime([bundle.front_end.stored(store, int(np.argmin(store.num_frames)))])[0])
    for indices in batches_by_length(list(map(int, store.num_frames))):
        features = [bundle.front_end.stored(store, index) for index in indices]
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
