r"""ARPA files: the text format of back-off n-gram models (Paul & Baker 1992; SRILM's ngram-format(5)).

    \data\
    ngram 1=19479
    ngram 2=137401

    \1-grams:
    -1.8331946	the	-0.39949614
    ...
    \2-grams:
    -3.0621755	the lorry
    ...
    \end\

Each line holds log10 P, the words and, below the highest order, the log10 back-off weight, which may be left
out where it is 0. Tabs and spaces are taken alike. Log zero is written -99.
"""

import io
import os
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.arpa_lines import LINES_AT_ONCE, ArpaLines, read_rows, show
from asr.decoder.ngram.text import BOS, EOS, UNK
from asr.decoder.ngram.trie import Level
from asr.errors import DecodingError
from asr.files import atomic_path, packing, unpacked

# What KenLM gives <unk> where a file does not list it.
MISSING_UNK_LOG10_PROB = -100.0


def read_arpa(path: Path, file: io.BufferedReader) -> tuple[list[str], list[Level]]:
    """Read an ARPA file of any order, plain or packed (gzip, bzip2, xz, Zstandard).

    Returns
    -------
    words
        By id; the first is ``<unk>``.
    levels
        The n-grams of each order, lowest first.

    Raises
    ------
    DecodingError
        If the file is not ARPA, is cut short, has other counts than its header says, an unknown
        order, a number that is none (or infinite, or a positive log-probability), an n-gram whose context is
        not listed, a duplicate, text that is not UTF-8, or no ``<s>`` or ``</s>``. The message names the line.
    """
    lines = ArpaLines(path, unpacked(file))
    counts = _read_header(lines)
    words, ids, unigrams = _read_unigrams(lines, counts[0], len(counts))
    levels = [unigrams]
    for order, count in enumerate([*counts[1:], None], start=2):
        _expect_title(lines, f"\\{order}-grams:" if count is not None else "\\end\\", order - 1, counts[order - 2])
        if count is not None:
            levels.append(_read_level(lines, order, count, ids, levels, order == len(counts)))
    return words, levels


def _expect_title(lines: ArpaLines, expected: str, order: int, count: int) -> None:
    title = lines.next_filled()
    if title != expected.encode():
        got = show(title) if title else "the end of the file: is it cut short?"
        lines.fail(f"expected {expected} after the {count} {order}-grams that the header counts, got {got}")


def _read_header(lines: ArpaLines) -> list[int]:
    """Return the counts by order; on return the title of the 1-grams has been read."""
    line = lines.next_filled()
    if line != b"\\data\\":
        lines.fail(
            f"not an ARPA file: expected \\data\\, got {show(line)}; "
            "give an ARPA file, KenLM's probing binary, or a binary of this package"
        )
    counts: list[int] = []
    while (line := lines.next_filled()).startswith(b"ngram"):
        order, _, count = line.removeprefix(b"ngram").partition(b"=")
        if not (order.strip().isdigit() and count.strip().isdigit()):
            lines.fail(f"expected 'ngram ORDER=COUNT', got {show(line)}")
        if int(order) != len(counts) + 1:
            lines.fail(f"expected the count of {len(counts) + 1}-grams, got {show(line)}")
        counts.append(int(count))
    if not counts or counts[0] == 0:
        lines.fail("the header counts no 1-grams")
    if line != b"\\1-grams:":
        lines.fail(f"expected \\1-grams: after the header, got {show(line)}")
    return counts


def _read_unigrams(lines: ArpaLines, count: int, model_order: int) -> tuple[list[str], dict[bytes, int], Level]:
    first_line = lines.number + 1
    names: list[bytes] = []
    parts = []
    for chunk in read_rows(lines, 1, count, model_order > 1):
        names += chunk.columns[0]
        parts.append((chunk.log10_probs, chunk.log10_backoffs))
    probs, backoffs = (np.concatenate(part) for part in zip(*parts, strict=True))
    names = [UNK.encode() if name == b"<UNK>" else name for name in names]
    rows: dict[bytes, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            lines.fail(
                f"the word {show(name)} is listed twice, first in line {first_line + rows[name]}",
                first_line + row,
            )
    for marker in (BOS, EOS):
        if marker.encode() not in rows:
            raise DecodingError(f"{lines.path} does not list {marker}: expected a model of whole sentences")
    for row, name in enumerate(names):
        try:
            name.decode()
        except UnicodeDecodeError:
            lines.fail(f"{name!r} is not UTF-8: convert the file (for instance with iconv)", first_line + row)
    # Word ids follow the file, but <unk> comes first.
    unk = rows.get(UNK.encode())
    if unk is None:
        names.insert(0, UNK.encode())
        probs = np.insert(probs, 0, MISSING_UNK_LOG10_PROB)
        backoffs = np.insert(backoffs, 0, 0.0)
    else:
        names.insert(0, names.pop(unk))
        order = np.r_[unk, 0:unk, unk + 1 : count]
        probs, backoffs = probs[order], backoffs[order]
    words = np.arange(len(names), dtype=np.int32)
    level = Level(np.zeros_like(words), words, probs, backoffs)
    return [name.decode() for name in names], {name: i for i, name in enumerate(names)}, level


def _read_level(
    lines: ArpaLines, order: int, count: int, ids: dict[bytes, int], below: list[Level], is_highest: bool
) -> Level:
    """Read the n-grams of one order above 1 and sort them into the trie."""
    first_line = lines.number + 1
    # Grown by parts: a header that promises too much must not ask for memory.
    parts = [(np.empty((order, 0), np.int32), np.empty(0, np.float32), np.empty(0, np.float32))]
    done = 0
    for chunk in read_rows(lines, order, count, not is_highest):
        part = np.empty((order, len(chunk.log10_probs)), np.int32)
        for position, names in enumerate(chunk.columns):
            try:
                part[position] = np.fromiter(map(ids.__getitem__, names), np.int32, len(names))
            except KeyError:
                row = next(i for i, name in enumerate(names) if name not in ids)
                lines.fail(f"the word {show(names[row])} is not among the 1-grams", first_line + done + row)
        parts.append((part, chunk.log10_probs, chunk.log10_backoffs))
        done += part.shape[1]
    columns, probs, backoffs = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    parents = columns[0]
    for level, column in zip(below[1:], columns[1:], strict=False):
        keys = _keys(level.parents, level.words)
        wanted = _keys(parents, column)
        parents = np.searchsorted(keys, wanted).astype(np.int32)
        # No key is negative, so what would stand behind the last one is not found.
        missing = np.append(keys, -1)[parents] != wanted
        if missing.any():
            row = first_line + int(missing.argmax())
            lines.fail(f"the {order}-gram's first {order - 1} words are not listed as an n-gram", row)
    keys = _keys(parents, columns[-1])
    ranks = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(np.diff(keys[ranks]) == 0)
    if len(twice):
        row, again = first_line + ranks[twice[0]], first_line + ranks[twice[0] + 1]
        lines.fail(f"the {order}-gram is listed twice, first in line {row}", int(again))
    return Level(parents[ranks], columns[-1][ranks], probs[ranks], backoffs[ranks])


def _keys(parents: npt.NDArray[np.int32], words: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Return int64 numbers that sort as the pairs do."""
    return (parents.astype(np.int64) << 32) | words


def write_arpa(path: str | os.PathLike[str], words: list[str], levels: list[Level]) -> None:
    """Write an ARPA file, packed as the name's suffix says; every number reads back as the same float32."""
    with atomic_path(path) as temporary, temporary.open("wb") as raw, packing(raw, str(path)) as file:
        _write(file, words, levels)


def _write(file: IO[bytes], words: list[str], levels: list[Level]) -> None:
    counts = "".join(f"ngram {order}={len(level)}\n" for order, level in enumerate(levels, start=1))
    file.write(f"\\data\\\n{counts}".encode())
    names = np.array([word.encode() for word in words], dtype=object)
    contexts: list[npt.NDArray[np.int32]] = []
    for order, level in enumerate(levels, start=1):
        file.write(f"\n\\{order}-grams:\n".encode())
        contexts = [column[level.parents] for column in contexts]
        contexts.append(level.words)
        for begin in range(0, len(level), LINES_AT_ONCE):
            rows = slice(begin, begin + LINES_AT_ONCE)
            # NumPy writes the shortest decimal that reads back as the same float32.
            probs = level.log10_probs[rows].astype("S16").tolist()
            texts = [b" ".join(ngram) for ngram in zip(*(names[c[rows]] for c in contexts), strict=True)]
            if order < len(levels):
                backoffs = level.log10_backoffs[rows].astype("S16").tolist()
                lines = [b"%b\t%b\t%b\n" % line for line in zip(probs, texts, backoffs, strict=True)]
            else:
                lines = [b"%b\t%b\n" % line for line in zip(probs, texts, strict=True)]
            file.writelines(lines)
    file.write(b"\n\\end\\\n")
