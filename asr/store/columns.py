"""Arrow files, mapped: their tables, and columns of strings that stay on the disk."""

import bisect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from asr.errors import MissingExtraError


def read_arrow(path: Path) -> Any:
    """Return the table of an Arrow IPC file, its columns views of the memory-mapped file."""
    try:
        import pyarrow as pa
    except ImportError:
        raise MissingExtraError("pyarrow", "data", "reading a feature store") from None
    # Closing gives the descriptor back; the mapping lives as long as the columns, however many shards there are.
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


class Strings(Sequence[str]):
    """A column of strings that stays on the disk until it is asked for."""

    def __init__(self, column: Any) -> None:
        self._column = column
        self._ends = np.cumsum([len(chunk) for chunk in column.chunks]).tolist()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        chunk, row = chunk_of(self._ends, index, len(self))
        return str(self._column.chunk(chunk)[row].as_py())

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.chunks:
            yield from chunk.to_pylist()


def chunk_of(ends: list[int], index: int, length: int) -> tuple[int, int]:
    """Return the chunk that holds `index`, and the row in it."""
    index = int(index)
    if not -length <= index < length:
        raise IndexError(f"utterance {index} of a store of {length}")
    index %= length
    chunk = bisect.bisect_right(ends, index)
    return chunk, index - (ends[chunk - 1] if chunk else 0)
