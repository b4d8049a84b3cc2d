"""The phones of whole lexicons as numbers, made by NumPy."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SPACE, LINE_FEED = b" \n"
# Phones of up to so many bytes of UTF-8, little-endian, are told apart as numbers.
KEY_BYTES, ALL_BYTES = 8, np.uint64(2**64 - 1)
# An odd number without structure (Knuth, vol. 3, 6.4), and the bits that stay.
HASH_FACTOR, HASH_SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(48)


class CodedPhones(NamedTuple):
    """The phones of many pronunciations, one after the other.

    Parameters
    ----------
    phones
        All phones, sorted.
    codes
        int32 (total length,), places in `phones`.
    begins
        int32 (N + 1,); pronunciation i is ``codes[begins[i]:begins[i + 1]]``.
    """

    phones: tuple[str, ...]
    codes: npt.NDArray[np.int32]
    begins: npt.NDArray[np.int32]


def code_phones(sounds: Sequence[str]) -> CodedPhones:
    """Return the phones of pronunciations, each joined by single spaces, as numbers."""
    text = np.frombuffer("\n".join([*sounds, ""]).encode() + bytes(KEY_BYTES), np.uint8)
    ends = np.flatnonzero((text == SPACE) | (text == LINE_FEED))
    starts = np.concatenate([[0], ends[:-1] + 1])
    begins = np.zeros(len(sounds) + 1, np.int32)
    begins[1:] = np.flatnonzero(text[ends] == LINE_FEED) + 1
    sizes = ends - starts
    if sizes.max() > KEY_BYTES:
        numbers: dict[str, int] = {}
        codes = [numbers.setdefault(phone, len(numbers)) for phone in " ".join(sounds).split(" ")]
        found, keys = list(numbers), np.array(codes)
    else:
        whole = np.lib.stride_tricks.sliding_window_view(text, KEY_BYTES)[starts].view("<u8").ravel().astype(np.uint64)
        distinct, keys = _numbered(whole & (ALL_BYTES >> (8 * (KEY_BYTES - sizes)).astype(np.uint64)))
        found = [key.astype("<u8").tobytes().rstrip(b"\0").decode() for key in distinct]
    phones = sorted(found)
    places = {phone: place for place, phone in enumerate(phones)}
    return CodedPhones(tuple(phones), np.array([places[phone] for phone in found], np.int32)[keys], begins)


def _numbered(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """Return the distinct keys, and the place of each key among them."""
    # Phones are few: a table tells them apart faster than sorting them all does.
    hashes = ((keys * HASH_FACTOR) >> HASH_SHIFT).astype(np.intp)
    table = np.zeros(1 << 16, np.uint64)
    table[hashes] = keys
    if (table[hashes] != keys).any():
        return np.unique(keys, return_inverse=True)
    used = np.flatnonzero(table)
    places = np.zeros(len(table), np.intp)
    places[used] = np.arange(len(used))
    return table[used], places[hashes]
