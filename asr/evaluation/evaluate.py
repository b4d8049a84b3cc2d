"""A model and a store → error counts, utterance by utterance."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr.bundle.bundle import Bundle, Precision
from asr.bundle.runtime import Runtime, make_runtime
from asr.cluster import connected, results
from asr.errors import DataError
from asr.evaluation.results import Evaluation, Timing, UtteranceResult
from asr.settings import digest
from asr.store.checking import Store
from asr.store.remote import remote_address
from asr.store.store import open_store
from asr.transcription.decoding import Decoder, DecodingOptions, make_decoder
from asr.transcription.job import check_same_model, model_checksum, model_everywhere
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
    # First calls compile and allocate, which is no part of the speed.
    decoder(runtime([bundle.front_end.stored(store, int(np.argmin(store.num_frames)))])[0])
    batches = batches_by_length(list(map(int, store.num_frames)))
    return _gathered(store, (_recognised(store, bundle, runtime, decoder, batch) for batch in batches), advance)


@dataclass(frozen=True)
class ClusterJob:
    """What the workers of a cluster need to know; they open store, model, language model and lexicon under these paths.

    Parameters
    ----------
    address : str
        Of the dask scheduler: ``tcp://host:port``.
    data : Path
        The store.
    model : str
        A bundle's directory, or the name of one that ships.
    decoding : DecodingOptions
    device, precision
        As for `make_runtime`.
    threads : int
        Of a task; 0: one.
    """

    address: str
    data: Path
    model: str
    decoding: DecodingOptions
    device: str = "cpu"
    threads: int = 0
    precision: Precision = "float32"


def evaluate_on_cluster(
    store: Store, bundle: Bundle, job: ClusterJob, advance: Callable[[int], None] = lambda _: None
) -> Evaluation:
    """Recognise every utterance of `store` on a cluster and count errors: the same words as `evaluate`.

    Parameters
    ----------
    store : FeatureStore or AudioStore
        That of `ClusterJob.data`.
    bundle : Bundle
        That of `ClusterJob.model`.
    job : ClusterJob
    advance : callable, optional
        Called with the number of utterances just done.

    Raises
    ------
    DataError
        As `evaluate`; or if no scheduler answers, or the cluster fails.
    AsrError
        If a worker lacks this version of the package, the model or the store: the message names the worker.
    """
    bundle.front_end.check_store(store, f"model {bundle.name}")
    everywhere = replace(
        job,
        data=job.data if remote_address(job.data) else job.data.absolute(),
        model=model_everywhere(bundle),
        decoding=job.decoding.with_absolute_paths(),
        threads=job.threads or 1,
    )
    opened = (everywhere, model_checksum(bundle), digest(store.identity))
    tasks = ((*opened, batch) for batch in batches_by_length(list(map(int, store.num_frames))))
    with connected(job.address, "evaluating on a cluster", "run the same command again") as executor:
        return _gathered(store, results(executor, _work, tasks, in_order=False), advance)


@dataclass(frozen=True)
class _Recognised:
    """Some utterances, by their index in the store, and the time that network and decoder took."""

    utterances: dict[int, UtteranceResult]
    network_seconds: float
    decoder_seconds: float


def _recognised(store: Store, bundle: Bundle, runtime: Runtime, decoder: Decoder, indices: list[int]) -> _Recognised:
    features = [bundle.front_end.stored(store, index) for index in indices]
    started = time.perf_counter()
    log_probs = runtime(features)
    recognised = time.perf_counter()
    best = [decoder(rows)[0] for rows in log_probs]
    decoded = time.perf_counter()
    utterances = {
        index: replace(
            UtteranceResult.scored(store.ids[index], store.texts[index], hypothesis.text),
            speaker=store.speakers[index],
            duration_seconds=float(store.durations_seconds[index]),
            source=store.sources[index],
            timed_words=hypothesis.words,
        )
        for index, hypothesis in zip(indices, best, strict=True)
    }
    return _Recognised(utterances, recognised - started, decoded - recognised)


def _gathered(store: Store, parts: Iterable[_Recognised], advance: Callable[[int], None]) -> Evaluation:
    utterances: dict[int, UtteranceResult] = {}
    network_seconds = decoder_seconds = 0.0
    for part in parts:
        utterances.update(part.utterances)
        network_seconds += part.network_seconds
        decoder_seconds += part.decoder_seconds
        advance(len(part.utterances))
    timing = Timing(float(store.durations_seconds.sum()), network_seconds, decoder_seconds)
    return Evaluation(tuple(utterances[index] for index in sorted(utterances)), timing)


# Of a worker: what the last task was done with, a job and the checksums of its model and its store.
_opened: list[tuple[tuple[ClusterJob, str, str], tuple[Store, Bundle, Runtime, Decoder]]] = []
_opening = threading.Lock()


def _work(task: tuple[ClusterJob, str, str, list[int]]) -> _Recognised:
    """Recognise some utterances on a worker."""
    *_, indices = task
    with _opening:
        if not _opened or _opened[0][0] != task[:3]:
            _opened.clear()
            _opened.append((task[:3], _open(*task[:3])))
        tools = _opened[0][1]
    return _recognised(*tools, indices)


def _open(job: ClusterJob, model_sha256: str, identity: str) -> tuple[Store, Bundle, Runtime, Decoder]:
    if not (remote_address(job.data) or job.data.is_dir()):
        raise DataError(
            f"{job.data}: does not exist here, unlike where the command was started; expected the same store under the "
            "same path on every machine"
        )
    store, bundle = open_store(job.data), Bundle.load(job.model)
    if digest(store.identity) != identity:
        raise DataError(
            f"{job.data}: is not the store that the command was started with; expected the same files under the same "
            "path on every machine"
        )
    check_same_model(bundle, model_sha256)
    runtime = make_runtime(bundle, job.device, job.threads, job.precision)
    return store, bundle, runtime, make_decoder(bundle, job.decoding)
