"""One shard is one task: a pure function of its slice and the settings, whoever runs it, and however often."""

import functools
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioWarning, IncompleteAudioWarning, load_audio, resample
from asr.errors import AsrError, AudioError, DataError, MissingExtraError
from asr.features import LogMel, LogMelConfig
from asr.files import atomic_path, write_text
from asr.preparation.checks import Limits, frames_needed, measure_loudness, reason_to_reject
from asr.preparation.plan import WORK, PlannedUtterance, Rejection, read_slice, settings_digest
from asr.store.layout import FILTERBANK, Kind, ShardRow, ShardWriter, file_checksum, schema, shard_name

# Every eighth frame or sample tells whether two utterances are the same recording as well as all of them do.
DIGEST_STEP = 8
# A stated duration that differs from the real one by more is no matter of rounding.
MAX_DIFFERENCE_SECONDS = 0.5


@dataclass(frozen=True)
class ShardSettings:
    """What all shards of a split share.

    Parameters
    ----------
    folder : str
        The split's store.
    roots : tuple of str
        Folders of the corpus.
    kind : {"features", "audio"}
    features : LogMelConfig
    has_text : bool
        False for noise and impulse responses.
    limits : Limits
    metadata : dict of str to str
        For the schema.
    """

    folder: str
    roots: tuple[str, ...]
    kind: Kind
    features: LogMelConfig
    has_text: bool
    limits: Limits
    metadata: dict[str, str]


@dataclass(frozen=True)
class ShardTask:
    """One unit of work.

    Parameters
    ----------
    number : int
        Of the shard.
    slice_digest : str
        SHA-256 of its slice.
    settings : ShardSettings
    """

    number: int
    slice_digest: str
    settings: ShardSettings

    @property
    def shard(self) -> Path:
        """The Arrow file."""
        return Path(self.settings.folder, shard_name(self.number))

    @property
    def slice(self) -> Path:
        """The planned utterances."""
        return Path(self.settings.folder, WORK, f"slice-{self.number:05d}.jsonl")

    @property
    def done(self) -> Path:
        """The receipt, written after the shard."""
        return Path(self.settings.folder, WORK, f"done-{self.number:05d}.json")

    def digest(self) -> str:
        """Return a SHA-256 of all that the shard depends on, and of nothing else (not where the files lie)."""
        settings = self.settings
        return settings_digest(
            self.number, self.slice_digest, settings.kind, settings.features, settings.has_text, settings.limits,
            settings.metadata, Measures._fields,
        )  # fmt: skip


class Measures(NamedTuple):
    """What is measured of a stored utterance: the columns of the index that its shard lacks."""

    num_frames: int
    frames_needed: int
    level_db: float
    clipped: float
    content: str
    disagreement: float


@dataclass(frozen=True)
class Receipt:
    """What became of a slice, written after its shard.

    Parameters
    ----------
    task : str
        Digest of the task.
    sha256 : str
    bytes : int
        Of the shard.
    measures : list of Measures
        Of each utterance in it.
    rejected : list of Rejection
    """

    task: str
    sha256: str
    bytes: int
    measures: list[Measures]
    rejected: list[Rejection]

    @classmethod
    def read(cls, path: Path) -> "Receipt":
        """Return what `write` wrote.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError
            If there is none, or it is damaged.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        measures = [Measures(*row) for row in values["measures"]]
        rejected = [Rejection(**row) for row in values["rejected"]]
        return cls(**{**values, "measures": measures, "rejected": rejected})

    def write(self, path: Path) -> None:
        """Write the receipt as JSON."""
        write_text(path, json.dumps(asdict(self), ensure_ascii=False))

    def __len__(self) -> int:
        return len(self.measures) + len(self.rejected)


def finished(task: ShardTask) -> Receipt | None:
    """Return the receipt of a shard that is there, whole, and made from the same slice and settings; else None."""
    try:
        receipt = Receipt.read(task.done)
        if receipt.task != task.digest() or file_checksum(task.shard) != receipt.sha256:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return receipt


def prepare_shard(task: ShardTask) -> Receipt:
    """Read, check and store the utterances of one slice; return the receipt, which is also written beside it.

    Raises
    ------
    DataError
        If a recording changed since planning, or the disk is full.
    """
    settings = task.settings
    measures: list[Measures] = []
    rejected: list[Rejection] = []
    layout = schema(settings.kind, settings.features.n_mels, settings.metadata)
    try:
        # One thread a process: more would only get in each other's way.
        with _one_thread(), atomic_path(task.shard) as temporary, _arrow_file(temporary) as file:
            writer = ShardWriter(file, layout)
            for planned in read_slice(task.slice):
                prepared = _prepare_utterance(planned, settings)
                if isinstance(prepared, Rejection):
                    rejected.append(prepared)
                else:
                    writer.add(prepared.row, prepared.payload)
                    measures.append(prepared.measures)
            writer.close()
        size = task.shard.stat().st_size
        receipt = Receipt(task.digest(), file_checksum(task.shard), size, measures, rejected)
        receipt.write(task.done)
    except OSError as error:
        raise DataError(
            f"{task.shard}: cannot be written ({error.strerror or error}): make room or choose another --out, then run "
            "the same command again, it goes on where it was"
        ) from None
    return receipt


@contextmanager
def _arrow_file(path: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.OSFile(str(path), "wb") as file:
        yield file


@dataclass(frozen=True)
class _Prepared:
    """An utterance as its shard and the index take it; `payload` as `ShardWriter.add` has it."""

    row: ShardRow
    payload: NDArray[Any]
    measures: Measures


def _prepare_utterance(planned: PlannedUtterance, settings: ShardSettings) -> _Prepared | Rejection:
    features = settings.features
    rate = features.sample_rate
    try:
        samples = read_planned(planned, settings.roots, rate)
    except (AudioError, MissingExtraError) as error:
        return Rejection(planned.id, _audio_reason(error), str(error))
    duration = len(samples) / rate
    loudness = measure_loudness(samples)
    reason = reason_to_reject(duration, planned.text if settings.has_text else None, loudness, settings.limits)
    if reason is not None:
        return Rejection(planned.id, *reason)
    payload: NDArray[Any]
    if settings.kind == "audio":
        payload = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    else:
        payload = _log_mel(settings.folder, features)(samples).astype(np.float16)
    # Of what is stored, not of the file: the same recording in two formats of the same samples is still found.
    content = hashlib.blake2b(payload[::DIGEST_STEP].tobytes(), digest_size=8).hexdigest()
    return _Prepared(
        ShardRow(planned.id, planned.text, planned.speaker, duration, str(planned.source)),
        payload,
        Measures(
            features.num_frames(len(samples)),
            frames_needed(planned.text),
            round(loudness.level_db, 2),
            round(loudness.clipped, 6),
            content,
            planned.disagreement,
        ),
    )


def _audio_reason(error: AsrError) -> str:
    if isinstance(error, MissingExtraError):
        return "needs PyAV"
    if isinstance(error, TruncatedAudioError):
        return "truncated audio"
    if isinstance(error, DurationError):
        return "part beyond the audio" if ": the part ends" in str(error) else "duration not as stated"
    if ": the part starts at" in str(error):
        return "part beyond the audio"
    # With the colon: a file's name may have these words in it too.
    return "empty audio" if re.search(r": (is empty|holds no samples)", str(error)) else "unreadable audio"


def read_planned(planned: PlannedUtterance, roots: Sequence[str], rate: int) -> NDArray[np.float32]:
    """Return the samples of a planned utterance: its recordings joined, with their gaps, at its speed."""
    parts: list[NDArray[np.float32]] = []
    for position, (root, name, size) in enumerate(planned.files):
        path = Path(roots[root], name) if root >= 0 else Path(name)
        _check_unchanged(path, size)
        try:
            part = _load(path, rate, planned)
        finally:
            _check_unchanged(path, size)
        if position and planned.gaps_seconds:
            parts.append(np.zeros(round(planned.gaps_seconds[position - 1] * rate), dtype=np.float32))
        parts.append(part)
    samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if planned.speed != 1.0:
        samples = resample(samples, round(rate * planned.speed), rate)
    return samples


class DurationError(AudioError):
    """Audio that is not as long as the corpus says."""


class TruncatedAudioError(AudioError):
    """Audio that ends before its header says: what is missing may be in the transcript."""


def _load(path: Path, rate: int, planned: PlannedUtterance) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AudioWarning)
        warnings.simplefilter("error", IncompleteAudioWarning)
        try:
            waveform = load_audio(
                path,
                rate,
                start_seconds=planned.start_seconds,
                end_seconds=planned.end_seconds,
                channels=planned.channels or None,
            )
        except IncompleteAudioWarning as warning:
            raise TruncatedAudioError(str(warning)) from None
    _check_duration(path, waveform.duration_seconds, planned)
    return waveform.samples


def _check_duration(path: Path, heard: float, planned: PlannedUtterance) -> None:
    """Refuse audio that is not as long as the corpus says: the transcript is of another, or of more."""
    if planned.end_seconds is not None and planned.end_seconds - planned.start_seconds - heard > MAX_DIFFERENCE_SECONDS:
        end = planned.start_seconds + heard
        raise DurationError(f"{path}: the part ends at {planned.end_seconds:g} s, but the audio at {end:.2f} s")
    # Some tables state milliseconds.
    differences = [abs(stated - heard) for stated in (planned.stated_seconds, planned.stated_seconds / 1000)]
    if planned.stated_seconds and min(differences) > MAX_DIFFERENCE_SECONDS:
        raise DurationError(f"{path}: lasts {heard:.2f} s, but {planned.stated_seconds:g} s are stated")


def _check_unchanged(path: Path, size: int) -> None:
    try:
        now = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: is gone since the preparation began ({error.strerror}): run it again") from None
    if now != size:
        raise DataError(
            f"{path}: changed during the preparation ({size} bytes at first, now {now}): let nothing write to the "
            "corpus, and run the same command again"
        )


@functools.lru_cache(maxsize=2)
def _log_mel(folder: str, config: LogMelConfig) -> LogMel:
    # The stored filterbank: workers need not import librosa, and all use the same one.
    return LogMel(config, np.load(Path(folder, FILTERBANK), allow_pickle=False))


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
