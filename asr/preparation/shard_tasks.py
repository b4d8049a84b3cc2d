"""One shard is one task: a pure function of its slice and the settings, whoever runs it, and however often."""

import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, DataError, MissingExtraError
from asr.features import LogMel, LogMelConfig
from asr.files import atomic_path, write_text
from asr.preparation.checks import Limits, frames_needed, measure_loudness, reason_to_reject
from asr.preparation.plan import WORK, PlannedUtterance, Rejection, read_slice, settings_digest
from asr.preparation.recordings import audio_reason, read_planned
from asr.store.layout import FILTERBANK, Kind, ShardRow, ShardWriter, file_checksum, schema, shard_name

# Every eighth frame or sample tells whether two utterances are the same recording as well as all of them do.
DIGEST_STEP = 8


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
    """The result for a slice, written after its shard.

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
    """Return the receipt of a complete shard that was made from the same slice and settings; else None."""
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
        # One thread per process: more would only get in each other's way.
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
            "the same command again to resume"
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
        return Rejection(planned.id, audio_reason(error), str(error))
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


@functools.lru_cache(maxsize=2)
def _log_mel(folder: str, config: LogMelConfig) -> LogMel:
    # The stored filterbank: workers need not import librosa, and all use the same one.
    return LogMel(config, np.load(Path(folder, FILTERBANK), allow_pickle=False))


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
