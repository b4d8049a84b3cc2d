"""Evaluate a model on a store as live streams: error counts, and the delay of words."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import Runtime
from asr.decoder import Word
from asr.errors import DataError, DecodingError
from asr.evaluation.alignment import align_words as align_texts
from asr.evaluation.results import Evaluation, Timing, UtteranceResult
from asr.live import LiveModel
from asr.live.replay import Latency, Shown, hear_features
from asr.store.checking import Store
from asr.transcription.aligning import align_words


def evaluate_streaming(
    store: Store,
    model: LiveModel,
    aligner: Bundle,
    runtime: Runtime,
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[Evaluation, Latency]:
    """Recognise every utterance of `store` as a stream; count errors, and measure the delay of correct words.

    Parameters
    ----------
    store : FeatureStore or AudioStore
    model : LiveModel
    aligner : Bundle
        Its forced alignment says when words ended; a model of one direction would place them late itself.
    runtime : Runtime
        The aligner's.
    advance : callable, optional
        Called with the number of utterances just done.

    Raises
    ------
    DataError
        If the store's features are not those of both models, or it has no utterance.
    """
    for bundle in (model.bundle, aligner):
        bundle.front_end.check_store(store, f"model {bundle.name}")
    results, latency = [], Latency()
    for index, reference in enumerate(store.texts):
        timeline = hear_features(model, model.bundle.front_end.stored(store, index), latency)
        transcript = timeline.transcript()
        result = UtteranceResult.scored(store.ids[index], reference, transcript.text)
        results.append(
            replace(
                result,
                speaker=store.speakers[index],
                duration_seconds=float(store.durations_seconds[index]),
                source=store.sources[index],
                timed_words=transcript.words,
            )
        )
        said = _said(reference, aligner, runtime([aligner.front_end.stored(store, index)])[0])
        latency.add(_right(timeline.shown(), said), timeline.first_seconds)
        advance(1)
    timing = Timing(float(store.durations_seconds.sum()), latency.wall_seconds, 0.0)
    return Evaluation(tuple(results), timing), latency


def _said(reference: str, aligner: Bundle, log_probs: NDArray[np.float32]) -> tuple[Word, ...]:
    """Return when the words of a reference were said; nothing where the aligner's tokens cannot write it."""
    try:
        return align_words(log_probs, reference, aligner.tokenizer, aligner.frame_seconds)
    except (DataError, DecodingError):
        return ()


def _right(shown: list[Shown], said: tuple[Word, ...]) -> list[tuple[Shown, Word]]:
    """Pair the words that are right with when they were said."""
    pairs: list[tuple[Shown, Word]] = []
    first = second = 0
    # With spaces also where the model writes none: they divide the words to align.
    texts = (" ".join(word.text for word in said), " ".join(word.word.text for word in shown))
    for expected, got in align_texts(*texts):
        if expected is not None and expected == got:
            pairs.append((shown[second], said[first]))
        first += expected is not None
        second += got is not None
    return pairs
