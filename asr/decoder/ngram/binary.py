"""The package's own binary form of an n-gram model: the arrays as they lie in memory, mapped and not read.

Layout, little-endian: `MAGIC`; the length of the header, uint32; the header, JSON; then the packed words and
the five arrays of `asr.decoder.ngram.query`, each at the offset in the header, a multiple of 64 bytes.

    {"counts": [19479, 137401, 242137], "sections": [["uint8", 512, 170381], ["int32", 170944, 399018], ...]}

where a section is dtype, offset in bytes, number of items.
"""

import json
import mmap
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.query import QueryArrays
from asr.errors import DecodingError
from asr.files import atomic_path

FAMILY = b"ctc-asr n-gram "
MAGIC = FAMILY + b"1\n"
ALIGNMENT = 64
AGAIN = "write the binary again from the ARPA file"
DTYPES = ("uint8", "int32", "float32", "int32", "float32", "int32")


Parts = tuple[bytes, QueryArrays, tuple[int, ...]]


def write_binary(path: str | os.PathLike[str], parts: Parts) -> None:
    """Write a model's packed words, arrays and counts so that `read_binary` maps them into memory."""
    packed_words, query_arrays, counts = parts
    sections: list[npt.NDArray[Any]] = [np.frombuffer(packed_words, np.uint8), *query_arrays]
    header: dict[str, Any] = {"counts": list(counts), "sections": []}
    # Offsets follow from the header's own length, so it is given room to spare.
    room = 64 * len(sections) + 32 * len(counts)
    offset = _aligned(len(MAGIC) + 4 + room)
    for section in sections:
        header["sections"].append([str(section.dtype), offset, len(section)])
        offset = _aligned(offset + section.nbytes)
    head = json.dumps(header).encode()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + struct.pack("<I", len(head)) + head)
        for section, (_, begin, _) in zip(sections, header["sections"], strict=True):
            file.write(b"\0" * (begin - file.tell()))
            file.write(np.ascontiguousarray(section).data)


def read_binary(path: Path) -> Parts:
    """Map a file that `write_binary` wrote into memory; pages are read as queries touch them.

    Returns
    -------
    packed_words, query_arrays, counts
        As of `asr.decoder.ngram.model.NGramModel`.

    Raises
    ------
    DecodingError
        If the file is not such a binary, is cut short, or the machine is big-endian.
    """
    if sys.byteorder != "little":
        raise DecodingError(f"{path} holds little-endian numbers: on this machine give the ARPA file")
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DecodingError(f"{path} is a binary n-gram model of another version of this package: {AGAIN}")
        size = os.fstat(file.fileno()).st_size
        try:
            (length,) = struct.unpack("<I", file.read(4))
            header = json.loads(file.read(length))
            counts = tuple(int(count) for count in header["counts"])
            sections = [(str(dtype), int(offset), int(items)) for dtype, offset, items in header["sections"]]
        except (struct.error, ValueError, KeyError, TypeError) as error:
            raise DecodingError(f"{path} has a broken header: write the binary again from the ARPA file") from error
        _check(path, size, counts, sections)
        # Private pages, because Numba compiles a second time for read-only arrays; nothing writes to them.
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    words, *arrays = (np.frombuffer(pages, dtype, items, offset) for dtype, offset, items in sections)
    # Compiled queries follow these offsets without looking: a wrong one would lead out of the arrays.
    links, begins = arrays[2], arrays[4]
    if begins[0] != 1 or begins[-1] != len(arrays[0]) or (begins[1:] < begins[:-1]).any():
        raise DecodingError(f"{path} is damaged: {AGAIN}")
    # A link leads to a shorter context, which stands before: queries that follow links come to an end.
    if links.min() < 0 or links.max() >= len(arrays[3]) or (links[1:] > np.arange(len(links) - 1)).any():
        raise DecodingError(f"{path} is damaged: {AGAIN}")
    packed_words = words.tobytes()
    listed = b"\n" + packed_words + b"\n"
    if packed_words.count(b"\n") + 1 != counts[0] or b"\n<s>\n" not in listed or b"\n</s>\n" not in listed:
        raise DecodingError(f"{path} is damaged: {AGAIN}")
    query_arrays: tuple[npt.NDArray[Any], ...] = tuple(arrays)
    return packed_words, query_arrays, counts  # type: ignore[return-value]


def _check(path: Path, size: int, counts: tuple[int, ...], sections: list[tuple[str, int, int]]) -> None:
    ends = [offset + items * np.dtype(dtype).itemsize for dtype, offset, items in sections if dtype in DTYPES]
    whole = tuple(dtype for dtype, _, _ in sections) == DTYPES and min(min(section[1:]) for section in sections) >= 0
    if not whole or not counts:
        raise DecodingError(f"{path} has a broken header: {AGAIN}")
    if size < max(ends):
        raise DecodingError(f"{path} is cut short: {size} bytes, expected {max(ends)}; write or copy it again")
    nodes, contexts = 1 + sum(counts), 1 + sum(counts[:-1])
    if [items for _, _, items in sections[1:]] != [nodes, nodes, nodes, contexts, contexts + 1]:
        raise DecodingError(f"{path} has arrays that do not fit its counts {counts}: {AGAIN}")


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
