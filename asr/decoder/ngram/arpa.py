"""ARPA files: the text format of back-off n-gram models (Paul & Baker 1992; SRILM's ngram-format(5)).

    \\data\\
    ngram 1=19479
    ngram 2=137401

    \\1-grams:
    -1.8331946	the	-0.39949614
    ...
    \\2-grams:
    -3.0621755	the lorry
    ...
    \\end\\

Each line holds log10 P, the words and, below the highest order, the log10 back-off weight, which may be left out
where it is 0. Tabs and spaces are taken alike. Log zero is written -99.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.model import BOS, EOS, UNK, NGramModel
from asr.decoder.ngram.trie import Level
from asr.errors import DecodingError
from asr.files import atomic_path

LINES_AT_ONCE = 50_000
# What KenLM gives <unk> where a file does not list it.
MISSING_UNK_LOG10_PROB = -100.0


class _Lines:
    """The lines of a file as bytes, counted, with errors that name file and line."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.file = file
        self.number = 0

    def take(self, count: int) -> list[bytes]:
        try:
            lines = list(islice(self.file, count))
        except (EOFError, OSError, zlib.error) as error:
            raise DecodingError(
                f"{self.path} cannot be read after line {self.number}: {error}; is it cut short?"
            ) from error
        self.number += len(lines)
        return lines

    def next_filled(self) -> bytes:
        """Return the next line that is not blank, stripped; empty at the end of the file."""
        while lines := self.take(1):
            if line := lines[0].strip():
                return line
        return b""

    def fail(self, message: str, number: int | None = None) -> NoReturn:
        raise DecodingError(f"{self.path}, line {self.number if number is None else number}: {message}")


def read_arpa(path: str | os.PathLike[str]) -> NGramModel:
    """Read an ARPA file of any order, plain or gzip.

    Raises
    ------
    DecodingError
        If the file is missing or is not ARPA, is cut short, has other counts than its header says, an unknown
        order, a number that is none (or infinite, or a positive log-probability), an n-gram whose context is not
        listed, a duplicate, text that is not UTF-8, or no ``<s>`` or ``</s>``. The message names the line.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20) if is_gzip else raw  # type: ignore[arg-type]
            return _read(_Lines(path, file))
    except OSError as error:
        raise DecodingError(f"cannot read the language model {path}: {error}") from error


def _read(lines: _Lines) -> NGramModel:
    counts = _read_header(lines)
    words, ids, unigrams = _read_unigrams(lines, counts[0], len(counts))
    levels = [unigrams]
    for order, count in enumerate([*counts[1:], None], start=2):
        _expect_title(
            lines, f"\\{order}-grams:" if count is not None else "\\end\\", order - 1, counts[order - 2]
        )
        if count is not None:
            levels.append(_read_level(lines, order, count, ids, levels, order == len(counts)))
    return NGramModel.from_levels(words, levels)


def _expect_title(lines: _Lines, expected: str, order: int, count: int) -> None:
    title = lines.next_filled()
    if title != expected.encode():
        got = _show(title) if title else "the end of the file: is it cut short?"
        lines.fail(f"expected {expected} after the {count} {order}-grams that the header counts, got {got}")


def _read_header(lines: _Lines) -> list[int]:
    """Return the counts by order; on return the title of the 1-grams has been read."""
    line = lines.next_filled().removeprefix(b"\xef\xbb\xbf")
    if line != b"\\data\\":
        lines.fail(
            f"not an ARPA file: expected \\data\\, got {_show(line)}; "
            "give an ARPA file (plain or gzip) or a binary of this package"
        )
    counts: list[int] = []
    while (line := lines.next_filled()).startswith(b"ngram"):
        order, _, count = line.removeprefix(b"ngram").partition(b"=")
        try:
            if int(order) != len(counts) + 1:
                lines.fail(f"expected the count of {len(counts) + 1}-grams, got {_show(line)}")
            counts.append(int(count))
        except ValueError:
            lines.fail(f"expected 'ngram ORDER=COUNT', got {_show(line)}")
        if counts[-1] < 0:
            lines.fail(f"a negative count: {_show(line)}")
    if not counts or counts[0] == 0:
        lines.fail("the header counts no 1-grams")
    if line != b"\\1-grams:":
        lines.fail(f"expected \\1-grams: after the header, got {_show(line)}")
    return counts


def _read_unigrams(lines: _Lines, count: int, model_order: int) -> tuple[list[str], dict[bytes, int], Level]:
    first_line = lines.number + 1
    names: list[bytes] = []
    parts = []
    for chunk in _read_rows(lines, 1, count, model_order > 1):
        names += chunk.columns[0]
        parts.append((chunk.log10_probs, chunk.log10_backoffs))
    probs, backoffs = (np.concatenate(part) for part in zip(*parts, strict=True))
    names = [UNK.encode() if name == b"<UNK>" else name for name in names]
    rows: dict[bytes, int] = {}
    for row, name in enumerate(names):
        if rows.setdefault(name, row) != row:
            lines.fail(
                f"the word {_show(name)} is listed twice, first in line {first_line + rows[name]}",
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
    lines: _Lines, order: int, count: int, ids: dict[bytes, int], below: list[Level], is_highest: bool
) -> Level:
    """Read the n-grams of one order above 1 and sort them into the trie."""
    first_line = lines.number + 1
    columns = np.empty((order, count), np.int32)
    probs = np.empty(count, np.float32)
    backoffs = np.empty(count, np.float32)
    done = 0
    for chunk in _read_rows(lines, order, count, not is_highest):
        rows = slice(done, done + len(chunk.log10_probs))
        probs[rows], backoffs[rows] = chunk.log10_probs, chunk.log10_backoffs
        for position, names in enumerate(chunk.columns):
            try:
                columns[position, rows] = np.fromiter(map(ids.__getitem__, names), np.int32, len(names))
            except KeyError:
                row = next(i for i, name in enumerate(names) if name not in ids)
                lines.fail(f"the word {_show(names[row])} is not among the 1-grams", first_line + done + row)
        done = rows.stop
    parents = columns[0]
    for level, column in zip(below[1:], columns[1:], strict=False):
        keys = _keys(level.parents, level.words)
        wanted = _keys(parents, column)
        parents = np.searchsorted(keys, wanted).astype(np.int32)
        if len(keys) == 0 or (missing := keys[np.minimum(parents, len(keys) - 1)] != wanted).any():
            row = 0 if len(keys) == 0 else int(missing.argmax())
            lines.fail(
                f"the {order}-gram's first {order - 1} words are not listed as an n-gram", first_line + row
            )
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


def _show(text: bytes) -> str:
    return repr(text[:60].decode("utf-8", "replace"))


@dataclass(frozen=True)
class _Rows:
    """Some n-grams of one order: their words by position, and their numbers as float32 (num_rows,)."""

    columns: list[list[bytes]]
    log10_probs: npt.NDArray[np.float32]
    log10_backoffs: npt.NDArray[np.float32]


def _read_rows(lines: _Lines, order: int, count: int, has_backoffs: bool) -> Iterator[_Rows]:
    """Yield the `count` n-grams of a section, a few ten thousand at a time."""
    while count:
        first_line = lines.number + 1
        asked = min(LINES_AT_ONCE, count)
        chunk = lines.take(asked)
        count -= asked
        rows = _split_regular(chunk, order, has_backoffs)
        if rows is None:
            rows = _split_lines(lines, chunk, order, has_backoffs, first_line)
        wrong = ~(np.isfinite(rows.log10_probs) & np.isfinite(rows.log10_backoffs) & (rows.log10_probs <= 0))
        if wrong.any():
            row = int(wrong.argmax())
            prob, backoff = rows.log10_probs[row], rows.log10_backoffs[row]
            lines.fail(
                f"log10 probability {prob:g}, back-off {backoff:g}: expected finite numbers and a probability of at "
                "most 0 (log zero is written -99)",
                first_line + row,
            )
        if len(chunk) < asked:
            lines.fail(
                f"the file ends within the {order}-grams, {asked - len(chunk) + count} short of the header's count"
            )
        yield rows


def _split_regular(chunk: list[bytes], order: int, has_backoffs: bool) -> _Rows | None:
    """Split lines that all have the same fields, which is quick; None if they have not."""
    fields = b"".join(chunk).split()
    # Words cannot be taken for numbers here: that would take two faulty lines that make up for each other.
    width, rest = divmod(len(fields), len(chunk)) if chunk else (0, 1)
    if rest or width not in ((order + 1, order + 2) if has_backoffs else (order + 1,)):
        return None
    try:
        probs = np.array(list(map(float, fields[::width])), np.float32)
        backoffs = (
            np.array(list(map(float, fields[order + 1 :: width])), np.float32)
            if width == order + 2
            else np.zeros(len(chunk), np.float32)
        )
    except ValueError:
        return None
    return _Rows([fields[1 + i :: width] for i in range(order)], probs, backoffs)


def _split_lines(lines: _Lines, chunk: list[bytes], order: int, has_backoffs: bool, first_line: int) -> _Rows:
    """Split lines one by one: some without back-off weights, or one that is wrong."""
    columns: list[list[bytes]] = [[] for _ in range(order)]
    numbers = np.zeros((2, len(chunk)), np.float32)
    for row, line in enumerate(chunk):
        fields = line.split()
        if not fields or fields[0].startswith(b"\\"):
            got = _show(line.strip()) if fields else "a blank line"
            lines.fail(
                f"the header counts more {order}-grams than the section holds: got {got}", first_line + row
            )
        if len(fields) not in ((order + 1, order + 2) if has_backoffs else (order + 1,)):
            either = "and at most one back-off weight " if has_backoffs else "and no back-off weight "
            lines.fail(
                f"expected a log10 probability, {order} words {either}in {_show(line.strip())}; "
                "is the file cut short?",
                first_line + row,
            )
        for column, word in zip(columns, fields[1:], strict=False):
            column.append(word)
        try:
            numbers[0, row] = float(fields[0])
            numbers[1, row] = float(fields[-1]) if len(fields) == order + 2 else 0.0
        except ValueError:
            lines.fail(f"not a number: {_show(fields[0])} or {_show(fields[-1])}", first_line + row)
    return _Rows(columns, numbers[0], numbers[1])


def write_arpa(model: NGramModel, path: str | os.PathLike[str]) -> None:
    """Write an ARPA file, gzip if the name ends in ``.gz``; every number reads back as the same float32."""
    compress = Path(path).suffix == ".gz"
    with atomic_path(path) as temporary, temporary.open("wb") as raw:
        if not compress:
            _write(model, raw)
            return
        # No name and time in the gzip header, so that the same model gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
            _write(model, packed)


def _write(model: NGramModel, file: IO[bytes]) -> None:
    counts = "".join(f"ngram {order}={count}\n" for order, count in enumerate(model.counts, start=1))
    file.write(f"\\data\\\n{counts}".encode())
    names = np.array([word.encode() for word in model.words], dtype=object)
    contexts: list[npt.NDArray[np.int32]] = []
    for order, level in enumerate(model.levels(), start=1):
        file.write(f"\n\\{order}-grams:\n".encode())
        contexts = [column[level.parents] for column in contexts]
        contexts.append(level.words)
        for begin in range(0, len(level), LINES_AT_ONCE):
            rows = slice(begin, begin + LINES_AT_ONCE)
            # NumPy writes the shortest decimal that reads back as the same float32.
            probs = level.log10_probs[rows].astype("S16").tolist()
            texts = [b" ".join(words) for words in zip(*(names[c[rows]] for c in contexts), strict=True)]
            if order < model.order:
                backoffs = level.log10_backoffs[rows].astype("S16").tolist()
                lines = [b"%b\t%b\t%b\n" % line for line in zip(probs, texts, backoffs, strict=True)]
            else:
                lines = [b"%b\t%b\n" % line for line in zip(probs, texts, strict=True)]
            file.writelines(lines)
    file.write(b"\n\\end\\\n")
