"""The small form of an n-gram model: logarithms in steps, everything in the narrowest integers, compressed.

A sixth of the size of `asr.decoder.ngram.binary`, which is mapped into memory; this one is read into it. In steps of
0.03 (base 10) large models keep their perplexity, see docs/language-models.md (the quantisation of Whittaker & Raj
2001, "Quantization-based language model compression", in equal steps).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.trie import Level
from asr.errors import DecodingError
from asr.files import atomic_path

FORMAT = "ctc-asr n-gram quantised 1"
# The first bytes of every .npz of NumPy.
ZIP = b"PK\x03\x04"
# Of logarithms to base 10.
STEP = 0.03


def pack_levels(levels: list[Level]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that hold the n-grams of each order, lowest first; `unpack_levels` undoes it."""
    arrays: dict[str, npt.NDArray[Any]] = {"counts": np.array([len(level) for level in levels])}
    for order, level in enumerate(levels, start=1):
        children = np.bincount(level.parents, minlength=len(levels[order - 2]) if order > 1 else 1)
        arrays[f"words{order}"] = _narrowest(level.words)
        arrays[f"children{order}"] = _narrowest(children)
        arrays[f"log_probs{order}"] = _steps(level.log10_probs)
        if order < len(levels):
            arrays[f"backoffs{order}"] = _steps(level.log10_backoffs)
    return arrays


def unpack_levels(arrays: Mapping[str, npt.NDArray[Any]], num_words: int) -> list[Level]:
    """Return the levels that `pack_levels` was given, but for the rounding.

    Raises
    ------
    KeyError, ValueError
        If arrays are missing, or do not fit each other or the number of words.
    """
    counts = arrays["counts"].tolist()
    levels = []
    for order, count in enumerate(counts, start=1):
        words = arrays[f"words{order}"].astype(np.int32)
        children = arrays[f"children{order}"].astype(np.int64)
        log_probs = arrays[f"log_probs{order}"].astype(np.float32) * np.float32(STEP)
        backoffs = 0 * log_probs
        if order < len(counts):
            backoffs = arrays[f"backoffs{order}"].astype(np.float32) * np.float32(STEP)
        parents = np.repeat(np.arange(len(children), dtype=np.int32), children)
        fits = len(words) == len(parents) == len(log_probs) == len(backoffs) == count
        if not fits or words.max(initial=0) >= num_words or len(children) != (counts[order - 2] if order > 1 else 1):
            raise ValueError("its parts do not fit each other")
        levels.append(Level(parents, words, log_probs, backoffs))
    if not levels or not np.array_equal(levels[0].words, np.arange(num_words)):
        raise ValueError("its words are not those of its 1-grams")
    return levels


def write_quantised(path: str | os.PathLike[str], packed_words: bytes, levels: list[Level]) -> None:
    """Write a model's packed words and levels as a compressed ``.npz``; zeros stay zeros."""
    words = np.frombuffer(packed_words, np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, format=np.array(FORMAT), words=words, **pack_levels(levels))  # type: ignore[arg-type]


def read_quantised(path: Path) -> tuple[bytes, list[Level]]:
    """Return the packed words and the levels of a file that `write_quantised` wrote.

    Raises
    ------
    DecodingError
        If the file is another kind of ``.npz``, cut short or damaged.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["format"]) != FORMAT:
                raise ValueError(f"it is {str(file['format'])!r}, expected {FORMAT!r}")
            packed_words = file["words"].tobytes()
            listed = packed_words.decode().split("\n")
            if listed[0] != "<unk>" or not {"<s>", "</s>"} <= set(listed):
                raise ValueError("<unk>, <s> and </s> are not among its words")
            return packed_words, unpack_levels(file, len(listed))
    # What zipfile, zlib and NumPy raise on damaged files has no common base class.
    except Exception as error:
        raise DecodingError(
            f"{path} is no quantised n-gram model, or damaged ({error}); write it again from the ARPA file"
        ) from None


def _narrowest(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _steps(log10: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    steps: npt.NDArray[np.int16] = np.clip(np.rint(log10 / STEP), -32_768, 32_767).astype(np.int16)
    return steps
