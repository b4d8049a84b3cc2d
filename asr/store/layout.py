"""The layout of a store on the disk, and how its files are written: whole, or not at all.

A store is one folder a split::

    train/
      shard-00000.arrow …   Arrow IPC files: features or samples, with id, text, speaker, duration and source
      utterances.index      Arrow IPC file: everything but the features, one record batch a shard
      filterbank.npy        the mel filters, (n_mels, window_samples // 2 + 1) float32
      rejected.jsonl        what was left out, and why
      store.json            written last: what is in the store, with the checksum of every shard

Nothing has its final name before it is complete, and ``store.json`` is there only when everything else is.
"""

import hashlib
import json
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError
from asr.files import atomic_path

Kind = Literal["features", "audio"]

FORMAT = 1
HEADER = "store.json"
INDEX = "utterances.index"
FILTERBANK = "filterbank.npy"
REJECTED = "rejected.jsonl"

# Utterances are gathered to this many bytes before they are written as one record batch.
BATCH_BYTES = 1 << 24


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


class ShardWriter:
    """Writes utterances to one Arrow file, in record batches of bounded size."""

    def __init__(self, file: Any, layout: Any) -> None:
        import pyarrow as pa

        self._writer = pa.ipc.new_file(file, layout)
        self._layout = layout
        self._rows: list[tuple[str, str, str, float, str]] = []
        self._payload: list[NDArray[Any]] = []
        self._bytes = 0

    def add(self, row: tuple[str, str, str, float, str], payload: NDArray[Any]) -> None:
        """Add (id, text, speaker, duration_seconds, source) and ``(T, n_mels)`` float16 or ``(num_samples,)`` int16."""
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


def read_header(folder: Path) -> dict[str, Any]:
    """Return what ``store.json`` says.

    Raises
    ------
    DataError
        If there is no complete store in `folder`; the message says what there is instead.
    """
    path = folder / HEADER
    try:
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder}: {_what_instead(folder)}") from None
    except (NotADirectoryError, PermissionError) as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); expected a store's folder") from None
    except ValueError:
        raise DataError(f"{path}: is not JSON; expected the header of a store: prepare it again with --force") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        got = header.get("format") if isinstance(header, dict) else header
        raise DataError(f"{path}: has format {got!r}; expected {FORMAT}: prepare the corpus again with this version")
    return header


def _what_instead(folder: Path) -> str:
    if not folder.exists():
        return "no such store: prepare the corpus first (python data_prep/NAME.py --out ...)"
    if any(folder.glob("shard-*.arrow")):
        return "its preparation is not finished (no store.json yet): run the same preparation again, it goes on"
    splits = sorted(path.parent.name for path in folder.glob(f"*/{HEADER}"))
    if splits:
        return f"holds the splits {', '.join(splits)}; expected one of them: {folder / splits[0]}"
    return "holds no store (no store.json): prepare the corpus first (python data_prep/NAME.py --out ...)"


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
