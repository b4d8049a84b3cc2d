"""Transcribe thousands of recordings, in this process or in several; errors are reported, and the others continue."""

import hashlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.audio import AudioPart
from asr.bundle.bundle import Bundle, Precision
from asr.bundle.shipped import SHIPPED
from asr.cluster import connected, results
from asr.cores import num_cores, start_worker
from asr.errors import AsrError, AudioError, MissingExtraError, ModelError, UsageError
from asr.transcription.decoding import DecodingOptions
from asr.transcription.inputs import STANDARD_INPUT, Recording
from asr.transcription.transcribe import OnProgress, Transcriber
from asr.transcription.transcript import Transcript

# A process is given so much at once: enough for batches of recordings of similar length, and to start no queue of its
# own; few enough that all processes end at about the same time.
GROUP_FILES = 32
GROUP_BYTES = 64 << 20
# For how many workers the work is cut on a cluster, whose workers come and go.
CLUSTER_SLOTS = 64


@dataclass(frozen=True)
class JobOptions:
    """How recordings are transcribed.

    Parameters
    ----------
    model : str
        As for `asr.load`.
    device, threads, precision
        As for `asr.load`; of several processes, each has its share of the cores if `threads` is 0.
    decoding : DecodingOptions
    jobs : int
        Number of processes; 0: one per core.
    cluster : str
        The address of a dask scheduler, whose workers do the work: ``tcp://host:port``. They open the recordings, the
        model, the language model and the lexicon under the same paths as here; each task has one thread unless
        `threads` says more. Empty: no cluster.
    part : AudioPart
        The part of each recording to transcribe; source and channels are those of the recordings.
    """

    model: str
    device: str = "cpu"
    threads: int = 0
    precision: Precision = "float32"
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    jobs: int = 1
    part: AudioPart = field(default_factory=lambda: AudioPart(STANDARD_INPUT))
    cluster: str = ""

    def transcriber(self) -> Transcriber:
        """Return a recogniser with these options."""
        threads = self.threads
        if self.cluster and not threads:
            # A worker runs as many tasks at a time as it has threads.
            threads = 1
        elif self.jobs > 1 and not threads and self.device == "cpu":
            threads = max(1, num_cores() // self.jobs)
        return Transcriber(
            self.model, device=self.device, threads=threads, precision=self.precision, decoder=self.decoding
        )


@dataclass(frozen=True)
class Result:
    """The result for a recording: its transcript, or its error."""

    index: int
    transcript: Transcript | None
    error: str = ""


def run_job(
    recordings: Sequence[Recording], options: JobOptions, *, in_order: bool, progress: OnProgress
) -> Iterator[Result]:
    """Yield the result of each recording.

    Parameters
    ----------
    recordings : sequence of Recording
    options : JobOptions
    in_order : bool
        Whether results come in the order of the recordings, or as soon as they are ready.
    progress : callable
        Called as recordings proceed; with several processes, as they are done.

    Raises
    ------
    UsageError
        If an option is invalid.
    ModelError, DecodingError
        If the model, the language model or the lexicon is damaged, or they do not fit each other.
    AsrError
        If a process dies, the cluster fails, or a worker lacks this version of the package, the model or the files.
    """
    if options.cluster:
        yield from _on_cluster(recordings, options, in_order, progress)
        return
    if options.jobs < 0:
        raise UsageError(f"the number of jobs is {options.jobs}; expected 1 or more, or 0 for one per core")
    options = replace(options, jobs=options.jobs or num_cores())
    if options.jobs == 1 or len(recordings) < 2:
        if recordings:
            transcriber = replace(options, jobs=1).transcriber()
            yield from _transcribe(transcriber, list(enumerate(recordings)), options.part, progress)
        return
    if any(recording.path == STANDARD_INPUT for recording in recordings):
        raise UsageError("the standard input cannot be shared by several processes: leave out - or --jobs")
    # Wrong options are reported once, before any process is started, and a branch of the Hub means one commit.
    options = replace(options, model=model_everywhere(options.transcriber().bundle))
    yield from _in_processes(_groups(recordings, options.jobs), options, in_order, progress)


def _transcribe(
    transcriber: Transcriber, recordings: Sequence[tuple[int, Recording]], part: AudioPart, progress: OnProgress
) -> Iterator[Result]:
    def report(place: int, share: float, seconds: float) -> None:
        progress(recordings[place][0], share, seconds)

    sources = (source_of(recording, part) for _, recording in recordings)
    transcripts = transcriber.transcribe_many(sources, progress=report)
    for (index, recording), transcript in zip(recordings, transcripts, strict=True):
        if isinstance(transcript, AsrError):
            # Errors of the audio name their file, those of the decoder do not.
            is_named = isinstance(transcript, AudioError | MissingExtraError)
            yield Result(index, None, str(transcript) if is_named else f"{recording.path}: {transcript}")
        else:
            yield Result(index, replace(transcript, channel=recording.channel))


def source_of(recording: Recording, part: AudioPart) -> AudioPart:
    """Return what of a recording is heard: its channel, in the part that is wanted of all."""
    channels = [recording.channel - 1] if recording.channel else None
    if recording.path != STANDARD_INPUT:
        return replace(part, source=recording.path, channels=channels)
    return replace(part, source=sys.stdin.buffer if sys.stdin else _ClosedInput(), channels=channels)


class _ClosedInput(io.BytesIO):
    """The standard input of a process that was started without one."""

    name = "<stdin>"

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
        raise ValueError("the standard input is closed")


def _groups(recordings: Sequence[Recording], jobs: int) -> Iterator[list[tuple[int, Recording]]]:
    """Yield recordings with their indices, few enough at a time that every process gets some."""
    most = max(1, min(GROUP_FILES, len(recordings) // (4 * jobs)))
    group: list[tuple[int, Recording]] = []
    num_bytes = 0
    for index, recording in enumerate(recordings):
        size = recording.num_bytes
        if group and (len(group) == most or num_bytes + size > GROUP_BYTES):
            yield group
            group, num_bytes = [], 0
        group.append((index, recording))
        num_bytes += size
    yield group


def _in_processes(
    groups: Iterator[list[tuple[int, Recording]]], options: JobOptions, in_order: bool, progress: OnProgress
) -> Iterator[Result]:
    # A forked process would inherit the threads' locks of ONNX Runtime, but not its threads.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(options.jobs, context, initializer=_start_worker, initargs=(options,))
    try:
        futures: list[Future[list[Result]]] = [pool.submit(_work, group) for group in groups]
        for future in futures if in_order else as_completed(futures):
            for result in future.result():
                progress(result.index, 1.0, result.transcript.duration if result.transcript else 0.0)
                yield result
    except BrokenProcessPool:
        raise AsrError(
            "a process ended before its work was done (killed, or out of memory?): use fewer --jobs, and "
            "--skip-existing to resume"
        ) from None
    finally:
        # After Ctrl-C, nobody waits for what is under way.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


_worker: dict[str, tuple[Transcriber, AudioPart]] = {}


def _start_worker(options: JobOptions) -> None:
    # Ctrl-C ends a worker without a word: the parent has the last one.
    start_worker(signal.SIG_DFL)
    _worker["it"] = options.transcriber(), options.part


def _work(group: list[tuple[int, Recording]]) -> list[Result]:
    transcriber, part = _worker["it"]
    return list(_transcribe(transcriber, group, part, lambda _index, _share, _seconds: None))


@dataclass(frozen=True)
class _ClusterTask:
    """Some recordings for a worker; those in `seen` can be read here, so must be there."""

    options: JobOptions
    model_sha256: str
    recordings: list[tuple[int, Recording]]
    seen: list[str]


def _on_cluster(
    recordings: Sequence[Recording], options: JobOptions, in_order: bool, progress: OnProgress
) -> Iterator[Result]:
    if options.jobs != 1:
        raise UsageError("--jobs starts processes on this machine, and --cluster has its own: leave one of them out")
    if any(recording.path == STANDARD_INPUT for recording in recordings):
        raise UsageError("the workers of a cluster cannot read the standard input: leave out - or --cluster")
    if not recordings:
        return
    # Wrong options are reported once, before anything is sent.
    bundle = options.transcriber().bundle
    checksum = model_checksum(bundle)
    options = replace(options, model=model_everywhere(bundle), decoding=options.decoding.with_absolute_paths())

    def tasks() -> Iterator[_ClusterTask]:
        for group in _groups(recordings, CLUSTER_SLOTS):
            there = [
                (index, replace(recording, path=str(Path(recording.path).absolute()))) for index, recording in group
            ]
            seen = [recording.path for _, recording in there if _is_readable(recording.path)]
            yield _ClusterTask(options, checksum, there, seen)

    advice = "add --skip-existing to the same command to resume"
    with connected(options.cluster, "transcribing on a cluster", advice) as executor:
        for done in results(executor, _work_on_cluster, tasks(), in_order=in_order):
            for result in done:
                progress(result.index, 1.0, result.transcript.duration if result.transcript else 0.0)
                yield result


def model_everywhere(bundle: Bundle) -> str:
    """Return how workers with other working folders, maybe on other machines, name a model."""
    folder = bundle.directory
    return folder.name if folder.parent == SHIPPED else str(folder.absolute())


def model_checksum(bundle: Bundle) -> str:
    """Return a checksum of a bundle's files."""
    digest = hashlib.sha256()
    for path in bundle.files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def check_same_model(bundle: Bundle, checksum: str) -> None:
    """Raise a `ModelError` if a worker's bundle has another `model_checksum` than that of the process that asks."""
    if model_checksum(bundle) != checksum:
        raise ModelError(
            f"{bundle.directory}: is not the model that the command was started with; expected the same files under "
            "the same path on every machine"
        )


# Of a worker: what the last task was done with. One alone, as a model may fill a good part of the memory.
_opened: list[tuple[JobOptions, str, Transcriber]] = []
_opening = threading.Lock()


def _is_readable(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.R_OK)


def _work_on_cluster(task: _ClusterTask) -> list[Result]:
    lost = [path for path in task.seen if not _is_readable(path)]
    if lost:
        what = "cannot be read" if Path(lost[0]).exists() else "does not exist"
        raise AudioError(
            f"{lost[0]}: {what} here, unlike where the command was started ({len(lost)} such files of "
            f"{len(task.seen)}); expected the same files, readable, under the same paths on every machine"
        )
    with _opening:
        if not _opened or _opened[0][:2] != (task.options, task.model_sha256):
            _opened.clear()
            transcriber = task.options.transcriber()
            check_same_model(transcriber.bundle, task.model_sha256)
            _opened.append((task.options, task.model_sha256, transcriber))
        transcriber = _opened[0][2]
    return list(_transcribe(transcriber, task.recordings, task.options.part, lambda _index, _share, _seconds: None))
