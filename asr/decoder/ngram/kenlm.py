"""KenLM's probing binaries, mapped into memory and queried where they lie (Heafield 2011, "KenLM: faster and smaller").

Layout (format version 5, little-endian, 4-byte aligned): a check of the machine's number formats, 88 bytes; the
parameters, 20 bytes; the count of each order, uint64; then

    vocabulary      a hash table of words, which is not needed here: the words themselves stand at the end
    1-grams         (log10 P, back-off), float32, by word id
    2-grams … (N-1) hash tables of (key, log10 P, back-off), 16 bytes; linear probing; key 0 is empty
    N-grams         a hash table of (key, log10 P), 12 bytes
    words           in the order of their ids, each ended by a zero byte

A key is made of word ids alone, so n-grams can be looked up but not listed.
"""

import mmap
import os
import struct
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np

from asr.decoder.ngram.query import HASHED, LINKS_OF_NODE, TABLE, QueryArrays
from asr.decoder.ngram.text import UNK
from asr.errors import DecodingError

FAMILY = b"mmap lm http://kheafield.com/code "
MAGIC = FAMILY + b"format version 5\n\0"
INCOMPLETE = FAMILY + b"incomplete\n"
# Numbers that other machines write otherwise: 0, 1 and -0.5 as float32; 1, 2**32 - 1 and 0 as uint32; 1 as uint64.
SANITY = "3f3IQ"
NUMBERS = (0.0, 1.0, -0.5, 1, 2**32 - 1, 0, 1)
PARAMETERS = "<B3xfiB3xI"
# Ends of the magic's and of the check's fields, and of the parameters.
SANITY_AT, PARAMETERS_AT, COUNTS_AT = 56, 88, 108
KINDS = ("probing", "probing with rest costs", "trie", "quantised trie", "compressed trie", "quantised compressed trie")
REMEDY = "build it from its ARPA file with KenLM's `build_binary probing`, or give the ARPA file itself"


def read_kenlm(path: Path) -> tuple[bytes, QueryArrays, tuple[int, ...]]:
    """Map a probing binary into memory; pages are read as queries touch them.

    Returns
    -------
    packed_words, query_arrays, counts
        As of `asr.decoder.ngram.model.NGramModel`; the arrays are those of a hashed model.

    Raises
    ------
    DecodingError
        If the file is of another version, kind or byte order, is cut short, or lacks its words.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(COUNTS_AT)
        _check_machine(path, head)
        order, multiplier, kind, has_words, version = struct.unpack_from(PARAMETERS, head, PARAMETERS_AT)
        _check_kind(path, (order, multiplier, kind, has_words, version))
        counts = struct.unpack(f"<{order}Q", _exactly(path, file.read(8 * order), 8 * order, size))
        tables, end = _tables(order, multiplier, counts)
        if size < end:
            _fail_short(path, size, end)
        # Private pages, because Numba compiles a second time for read-only arrays; nothing writes to them.
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    packed_words = pages[end:].rstrip(b"\0").replace(b"\0", b"\n")
    num_words = packed_words.count(b"\n") + 1
    if not packed_words.startswith(UNK.encode() + b"\n") or not counts[0] <= num_words <= counts[0] + 1:
        raise DecodingError(
            f"{path} lists {num_words} words, expected {counts[0]}, the first of them {UNK}: is it cut short? {REMEDY}"
        )
    first_node = num_words + 1
    shape: list[int] = [HASHED, order, first_node, 0]
    for offset, buckets in tables:
        # Halves of 31 bits, as all query arrays of this place are of int32.
        shape += [offset // 4 & 0x7FFFFFFF, offset // 4 >> 31, buckets & 0x7FFFFFFF, buckets >> 31, first_node]
        if len(shape) > 4 + TABLE:
            first_node += buckets
    if first_node >= 2**31:
        raise DecodingError(f"{path} has {first_node:,} places for n-grams, expected fewer than {2**31:,}: prune it")
    shape[3] = first_node
    content = np.frombuffer(pages, np.int32, end // 4)
    nodes = sum(buckets for _, buckets in tables[1:-1])
    arrays = (
        content,
        content.view(np.float32),
        # Pages that are never touched cost nothing.
        np.zeros(nodes * (LINKS_OF_NODE + order) + 1, np.int32),
        np.zeros(1, np.float32),
        np.array(shape, np.int32),
    )
    return packed_words, arrays, (num_words, *counts[1:])


def _tables(order: int, multiplier: float, counts: tuple[int, ...]) -> tuple[list[tuple[int, int]], int]:
    """Return (offset in bytes, entries) of each order's table, and where the last one ends."""
    offset = -(-(COUNTS_AT + 8 * order) // 8) * 8 + 8 + 12 * _buckets(counts[0], multiplier)
    tables = [(offset, counts[0] + 1)]
    offset += 8 * (counts[0] + 1)
    for n, count in enumerate(counts[1:], start=2):
        buckets = _buckets(count, multiplier)
        tables.append((offset, buckets))
        offset += buckets * (16 if n < order else 12)
    return tables, offset


def _buckets(count: int, multiplier: float) -> int:
    # In single precision, as KenLM computes it.
    return max(count + 1, int(np.float32(multiplier) * np.float32(count)))


def _check_machine(path: Path, head: bytes) -> None:
    if head.startswith(INCOMPLETE):
        raise DecodingError(f"{path} is a KenLM binary that was never finished: {REMEDY}")
    if not head.startswith(MAGIC[: len(head)]):
        version = head[len(FAMILY) :].split(b"\n")[0].decode("ascii", "replace")
        raise DecodingError(f"{path} is a KenLM binary of {version!r}, expected 'format version 5': {REMEDY}")
    _exactly(path, head, COUNTS_AT, len(head))
    found = struct.unpack_from("<" + SANITY, head, SANITY_AT)
    if struct.unpack_from(">" + SANITY, head, SANITY_AT) == NUMBERS or sys.byteorder != "little":
        raise DecodingError(f"{path} was built on a machine of the other byte order: {REMEDY}, on this machine")
    if found != NUMBERS:
        raise DecodingError(f"{path} is damaged, or was built on a machine with other number formats: {REMEDY}")


def _check_kind(path: Path, parameters: tuple[int, float, int, int, int]) -> None:
    order, multiplier, kind, has_words, version = parameters
    if kind != 0:
        name = KINDS[kind] if 0 <= kind < len(KINDS) else f"kind {kind}"
        raise DecodingError(f"{path} is KenLM's {name}; of its binaries only probing ones are read: {REMEDY}")
    if version != 0 or order < 2 or not 1.0 < multiplier < 100.0:
        raise DecodingError(
            f"{path} states order {order}, search version {version}, probing multiplier {multiplier:g}; expected an "
            f"order of at least 2, version 0 and a multiplier above 1: is it damaged? {REMEDY}"
        )
    if not has_words:
        raise DecodingError(f"{path} was built without its words, which the search needs: {REMEDY}")


def _exactly(path: Path, data: bytes, length: int, size: int) -> bytes:
    if len(data) < length:
        _fail_short(path, size, COUNTS_AT + length)
    return data


def _fail_short(path: Path, size: int, expected: int) -> NoReturn:
    raise DecodingError(f"{path} is cut short: {size} bytes, expected at least {expected}; copy it again, or {REMEDY}")
