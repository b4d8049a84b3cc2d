"""One shard is one task: a pure function of its slice and the settings, whoever runs it, and however often."""

import functools
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioWarning, load_audio, resample
from asr.errors import AsrError, AudioError, DataError, MissingExtraError
from asr.features import LogMel, LogMelConfig
from asr.files import atomic_path, write_text
from asr.preparation.checks import Level, Limits, frames_needed, measure_level, reason_to_reject
from asr.preparation.plan import WORK, read_slice, settings_digest
from asr.store.layout import (
    FILTERBANK,
    Kind,
    ShardWriter,
    file_checksum,
    schema,
    shard_name,
)

# What the index has beside the columns of the shards.
MEASURES = ("num_frames", "frames_needed", "level_db", "clipped", "content", "disagreement")
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
            settings.metadata, MEASURES,
        )  # fmt: skip


def finished(task: ShardTask) -> dict[str, Any] | None:
    """Return the receipt of a shard that is there, whole, and made from the same slice and settings; else None."""
    try:
        receipt: dict[str, Any] = json.loads(task.done.read_text(encoding="utf-8"))
        if receipt["task"] != task.digest() or file_checksum(task.shard) != receipt["sha256"]:
            return None
    except (OSError, ValueError, KeyError):
        return None
    return receipt


def prepare_shard(task: ShardTask) -> dict[str, Any]:
    """Read, check and store the utterances of one slice; return the receipt, which is also written beside it.

    Returns
    -------
    dict
        ``sha256`` and ``bytes`` of the shard, a row of measurements for each utterance in it, what was rejected.

    Raises
    ------
    DataError
        If a recording changed since planning, or the disk is full.
    """
    settings = task.settings
    measures: list[list[Any]] = []
    rejected: list[dict[str, str]] = []
    n_mels = settings.features.n_mels
    try:
        # One thread a process: more would only get in each other's way.
        with _one_thread(), atomic_path(task.shard) as temporary, _arrow_file(temporary) as file:
            writer = ShardWriter(file, schema(settings.kind, n_mels, settings.metadata))
            for planned in read_slice(task.slice):
                _prepare_utterance(planned, settings, writer, measures, rejected)
            writer.close()
        receipt = {
            "task": task.digest(),
            "sha256": file_checksum(task.shard),
            "bytes": task.shard.stat().st_size,
            "measures": measures,
            "rejected": rejected,
        }
        write_text(task.done, json.dumps(receipt, ensure_ascii=False))
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


def _prepare_utterance(
    planned: dict[str, Any],
    settings: ShardSettings,
    writer: ShardWriter,
    measures: list[list[Any]],
    rejected: list[dict[str, str]],
) -> None:
    """Add one utterance to `writer` and its measurements to `measures`, or its reason to `rejected`."""
    rate = settings.features.sample_rate
    try:
        samples = read_planned(planned, settings.roots, rate)
    except (AudioError, MissingExtraError) as error:
        rejected.append({"id": planned["id"], "reason": _audio_reason(error), "detail": str(error)})
        return
    duration = len(samples) / rate
    level = measure_level(samples)
    text = planned["text"] if settings.has_text else None
    reason = reason_to_reject(duration, text, level, settings.limits)
    if reason is not None:
        rejected.append({"id": planned["id"], "reason": reason[0], "detail": reason[1]})
        return
    payload: NDArray[Any]
    if settings.kind == "audio":
        payload = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    else:
        payload = _log_mel(settings.folder, settings.features)(samples).astype(np.float16)
    row = (planned["id"], planned["text"], planned["speaker"], duration, source_of(planned))
    writer.add(row, payload)
    measured = _measures(len(samples), planned["text"], level, payload, settings.features)
    measures.append([*measured, planned.get("disagreement", 0.0)])


def _measures(num_samples: int, text: str, level: Level, payload: NDArray[Any], features: LogMelConfig) -> list[Any]:
    """Return the columns of the index that the shard itself lacks: `MEASURES` but the last."""
    # Of what is stored, not of the file: the same recording in two formats of the same samples is still found.
    digest = hashlib.blake2b(payload[::DIGEST_STEP].tobytes(), digest_size=8).hexdigest()
    frames = features.num_frames(num_samples)
    return [frames, frames_needed(text), round(level.level_db, 2), round(level.clipped, 6), digest]


def _audio_reason(error: AsrError) -> str:
    if isinstance(error, MissingExtraError):
        return "needs PyAV"
    if isinstance(error, TruncatedAudioError):
        return "truncated audio"
    # With the colon: a file's name may have these words in it too.
    return "empty audio" if re.search(r": (is empty|holds no samples)", str(error)) else "unreadable audio"


def read_planned(planned: dict[str, Any], roots: Sequence[str], rate: int) -> NDArray[np.float32]:
    """Return the samples of a planned utterance: its recordings joined, with their gaps, at its speed."""
    parts: list[NDArray[np.float32]] = []
    for position, (root, name, size) in enumerate(planned["files"]):
        path = Path(roots[root], name) if root >= 0 else Path(name)
        _check_unchanged(path, size)
        try:
            part = _load(path, rate, planned)
        finally:
            _check_unchanged(path, size)
        if position and planned["gaps"]:
            parts.append(np.zeros(round(planned["gaps"][position - 1] * rate), dtype=np.float32))
        parts.append(part)
    samples = np.concatenate(parts) if len(parts) > 1 else parts[0]
    if planned["speed"] != 1.0:
        samples = resample(samples, round(rate * planned["speed"]), rate)
    return samples


class TruncatedAudioError(AudioError):
    """Audio that ends before its header says: what is missing may be in the transcript."""


def _load(path: Path, rate: int, planned: dict[str, Any]) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AudioWarning)
        try:
            return load_audio(
                path,
                rate,
                start_seconds=planned["start"],
                end_seconds=planned["end"],
                channels=planned.get("channels"),
            ).samples
        except AudioWarning as warning:
            raise TruncatedAudioError(str(warning)) from None


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


def source_of(planned: dict[str, Any]) -> str:
    """Return the recordings' names, with what was done to them: see `asr.store.store.StoredUtterance`."""
    changes = []
    if planned["start"] or planned["end"] is not None:
        changes.append(f"t={_seconds(planned['start'])}")
        if planned["end"] is not None:
            changes[-1] += f",{_seconds(planned['end'])}"
    if planned.get("channels"):
        changes.append(f"channels={','.join(map(str, planned['channels']))}")
    if planned["speed"] != 1.0:
        changes.append(f"speed={planned['speed']:g}")
    names = " + ".join(name for _, name, _ in planned["files"])
    return f"{names}#{'&'.join(changes)}" if changes else names


def _seconds(value: float) -> str:
    """Return microseconds exactly, however long the recording, without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


@functools.lru_cache(maxsize=2)
def _log_mel(folder: str, config: LogMelConfig) -> LogMel:
    # The stored filterbank: workers need not import librosa, and all use the same one.
    return LogMel(config, np.load(Path(folder, FILTERBANK), allow_pickle=False))


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        yield
