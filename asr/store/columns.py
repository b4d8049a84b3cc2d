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
    """A column of strings that stays on the disk until it is asked for.

    Parameters
    ----------
    table : pyarrow.Table
        Mapped.
    name : str
    files : sequence of Path
        What the table was made of, in order: to read the whole column without mapping it.
    """

    def __init__(self, table: Any, name: str, files: Sequence[Path]) -> None:
        self._column = table.column(name)
        self._ends = np.cumsum([len(chunk) for chunk in self._column.chunks]).tolist()
        self._name = name
        self._files = files

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
        import pyarrow as pa

        # Read, not mapped: of ten million utterances the pages of a column are a gigabyte, and would stay.
        for path in self._files:
            with pa.OSFile(str(path)) as file:
                field = pa.ipc.open_file(file).schema.get_field_index(self._name)
                reader = pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=[field]))
                for number in range(reader.num_record_batches):
                    yield from reader.get_batch(number).column(0).to_pylist()


def chunk_of(ends: list[int], index: int, length: int) -> tuple[int, int]:
    """Return the chunk that holds `index`, and the row in it."""
    index = int(index)
    if not -length <= index < length:
        raise IndexError(f"utterance {index} of a store of {length}")
    index %= length
    chunk = bisect.bisect_right(ends, index)
    return chunk, index - (ends[chunk - 1] if chunk else 0)
