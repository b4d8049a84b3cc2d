"""The layout of a store on the disk, and how its files are written: whole, or not at all.

A store is one folder per split::

    train/
      shard-00000.arrow …   Arrow IPC files: features or samples, with id, text, speaker, duration and source
      utterances.index      Arrow IPC file: everything but the features, one record batch per shard
      filterbank.npy        the mel filters, (n_mels, window_samples // 2 + 1) float32
      rejected.jsonl        the utterances left out, and why
      store.json            written last: what is in the store, with the checksum of every shard

Nothing has its final name before it is complete, and ``store.json`` is there only when everything else is.
"""

import hashlib
import io
import json
from collections.abc import Sequence, Sized
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, UsageError
from asr.features import LogMelConfig, mel_filterbank
from asr.files import atomic_path, write_text
from asr.settings import from_dict, to_dict
from asr.text import TextProfile

Kind = Literal["features", "audio"]

FORMAT = 2
HEADER = "store.json"
INDEX = "utterances.index"
FILTERBANK = "filterbank.npy"
REJECTED = "rejected.jsonl"

# Utterances are gathered to this many bytes before they are written as one record batch.
BATCH_BYTES = 1 << 24


@dataclass(frozen=True)
class ShardFacts:
    """The entry of a shard in ``store.json``: its file, its content, and its size and SHA-256."""

    file: str
    utterances: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class StoreHeader:
    """The content of ``store.json``: where a store comes from, how it was made, and what is in it.

    Parameters
    ----------
    kind : {"features", "audio"}
    corpus, title, version, licence, citation, split : str
    features : LogMelConfig
    profile : TextProfile or None
        How transcripts were normalised; None for recordings without transcripts.
    speeds : tuple of float
        Of the copies of training utterances.
    limits : dict of str to float
        Outside which utterances were left out: the fields of `asr.preparation.checks.Limits`.
    shard_utterances : int
    plan : str
        SHA-256 of the utterances that were planned.
    utterances : int
    seconds : float
    rejected : dict of str to int
        Reason → utterances that were left out for it.
    outside_alphabet : dict of str to int
        Character → how often transcripts had it.
    shards : tuple of ShardFacts
    """

    kind: Kind
    corpus: str
    title: str
    version: str
    licence: str
    citation: str
    split: str
    features: LogMelConfig
    profile: TextProfile | None
    speeds: tuple[float, ...]
    limits: dict[str, float]
    shard_utterances: int
    plan: str = ""
    utterances: int = 0
    seconds: float = 0.0
    rejected: dict[str, int] = field(default_factory=dict)
    outside_alphabet: dict[str, int] = field(default_factory=dict)
    shards: tuple[ShardFacts, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            **values,
            "features": to_dict(self.features),
            "profile": self.profile.to_dict() if self.profile else None,
            "speeds": list(self.speeds),
            "shards": [asdict(shard) for shard in self.shards],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StoreHeader":
        """Return the header that `to_dict` gave.

        Raises
        ------
        KeyError, TypeError, UsageError
            If the values are not those of a header.
        """
        return cls(**{
            **values,
            "features": from_dict(LogMelConfig, values["features"], "features"),
            "profile": TextProfile.from_dict(values["profile"]) if values["profile"] else None,
            "speeds": tuple(values["speeds"]),
            "shards": tuple(ShardFacts(**shard) for shard in values["shards"]),
        })  # fmt: skip


def shard_name(number: int) -> str:
    """Return the file name of shard `number`."""
    return f"shard-{number:05d}.arrow"


def schema(kind: Kind, n_mels: int, metadata: dict[str, str]) -> Any:
    """Return the Arrow schema of a shard.

    ``features`` is a list of frames, each a fixed-size list of `n_mels` float16; ``samples`` a list of int16.
    """
    import pyarrow as pa

    payload = (
        pa.field("features", pa.list_(pa.list_(pa.float16(), n_mels)))
        if kind == "features"
        else pa.field("samples", pa.list_(pa.int16()))
    )
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("text", pa.string()),
            pa.field("speaker", pa.string()),
            pa.field("duration_seconds", pa.float64()),
            pa.field("source", pa.string()),
            payload,
        ],
        metadata=metadata,
    )


class ShardRow(NamedTuple):
    """An utterance in a shard, but its features or samples."""

    id: str
    text: str
    speaker: str
    duration_seconds: float
    source: str


class ShardWriter:
    """Writes utterances to one Arrow file, in record batches of bounded size."""

    def __init__(self, file: Any, layout: Any) -> None:
        import pyarrow as pa

        self._writer = pa.ipc.new_file(file, layout)
        self._layout = layout
        self._rows: list[ShardRow] = []
        self._payload: list[NDArray[Any]] = []
        self._bytes = 0

    def add(self, row: ShardRow, payload: NDArray[Any]) -> None:
        """Add an utterance and its payload, ``(T, n_mels)`` float16 or ``(num_samples,)`` int16."""
        self._rows.append(row)
        self._payload.append(payload)
        self._bytes += payload.nbytes
        if self._bytes >= BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the footer."""
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = [
            arrow_array(values, self._layout.field(index).type)
            for index, values in enumerate(zip(*self._rows, strict=True))
        ]
        flat = np.concatenate(self._payload)
        values = _numbers(flat.reshape(-1), pa.float16() if flat.ndim == 2 else pa.int16())
        if flat.ndim == 2:
            values = pa.FixedSizeListArray.from_arrays(values, flat.shape[1])
        columns.append(pa.ListArray.from_arrays(_numbers(_offsets(self._payload), pa.int32()), values))
        self._writer.write_batch(pa.record_batch(columns, schema=self._layout))
        self._rows, self._payload, self._bytes = [], [], 0


def arrow_array(values: Sequence[Any], kind: Any) -> Any:
    """Return an Arrow array of strings, doubles, floats or 32-bit integers, none of them missing.

    It is put together from buffers: ``pyarrow.array`` would import pandas, where there is one, in every worker.
    """
    import pyarrow as pa

    if kind != pa.string():
        return _numbers(np.array(values, dtype={"double": "f8", "float": "f4", "int32": "i4"}[str(kind)]), kind)
    encoded = [value.encode() for value in values]
    buffers = [None, pa.py_buffer(_offsets(encoded)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind, len(encoded), buffers)


def _numbers(values: NDArray[Any], kind: Any) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _offsets(items: Sequence[Sized]) -> NDArray[np.int32]:
    """Return where each of `items` begins in their concatenation, and where the last ends: ``(N + 1,)``."""
    lengths = np.fromiter((0, *map(len, items)), dtype=np.int64, count=len(items) + 1)
    return np.cumsum(lengths).astype(np.int32)


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_header(folder: Path) -> StoreHeader:
    """Return what ``store.json`` says.

    Raises
    ------
    DataError
        If there is no complete store in `folder`; the message says what there is instead. Or if its features are
        normalised, as stores of format 1 could be.
    """
    path = folder / HEADER
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder}: {_what_instead(folder)}") from None
    except (NotADirectoryError, PermissionError) as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); expected a store's folder") from None
    except ValueError:
        raise DataError(f"{path}: is not JSON; expected the header of a store: prepare it again with --force") from None
    got = values.pop("format", None) if isinstance(values, dict) else values
    if got not in (1, FORMAT):
        raise DataError(f"{path}: has format {got!r}; expected {FORMAT}: prepare the corpus again with this version")
    try:
        if got == 1:
            _from_format_1(values, path)
        return StoreHeader.from_dict(values)
    except (KeyError, TypeError, UsageError) as error:
        raise DataError(f"{path}: is not a store's header ({error}): prepare the corpus again with --force") from None


def write_header(folder: Path, header: StoreHeader) -> None:
    """Write ``store.json``: from then on the store is complete."""
    values = {"format": FORMAT, **header.to_dict()}
    write_text(folder / HEADER, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _from_format_1(values: dict[str, Any], path: Path) -> None:
    """Make the header of a store of format 1 one of today's, unless its features are normalised."""
    normalisation, *_ = (values["features"].pop(name, "none") for name in ("normalisation", "mean", "std"))
    if values["kind"] == "features" and normalisation != "none":
        raise DataError(
            f"{path}: its features are normalised ({normalisation!r}); expected plain ones, because models normalise "
            "them: prepare the corpus again with --force"
        )


def _what_instead(folder: Path) -> str:
    if not folder.exists():
        return "no such store: prepare the corpus first (python data_prep/NAME.py --out ...)"
    if any(folder.glob("shard-*.arrow")):
        return "its preparation is not finished (no store.json yet): run the same preparation again to resume"
    splits = sorted(path.parent.name for path in folder.glob(f"*/{HEADER}"))
    if splits:
        return f"holds the splits {', '.join(splits)}; expected one of them: {folder / splits[0]}"
    return "holds no store (no store.json): prepare the corpus first (python data_prep/NAME.py --out ...)"


def write_filterbank(folder: Path, config: LogMelConfig) -> None:
    """Write the filters as ``filterbank.npy``, unless the same are there."""
    buffer = io.BytesIO()
    np.save(buffer, mel_filterbank(config), allow_pickle=False)
    path = folder / FILTERBANK
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
