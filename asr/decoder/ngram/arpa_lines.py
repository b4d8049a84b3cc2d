"""The lines of an ARPA file: counted, split into n-grams quickly, and explained where they are wrong."""

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
import numpy.typing as npt

from asr.errors import DecodingError

LINES_AT_ONCE = 50_000


class ArpaLines:
    """The lines of a file as bytes, counted, with errors that name file and line."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.file = file
        self.number = 0

    def take(self, count: int) -> list[bytes]:
        """Return the next lines, fewer at the end of the file."""
        try:
            lines = list(islice(self.file, count))
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise DecodingError(
                f"{self.path} cannot be read after line {self.number}: {error}; is it cut short?"
            ) from error
        self.number += len(lines)
        return lines

    def next_filled(self) -> bytes:
        """Return the next line that is neither blank nor a ``#`` comment, stripped; empty at the end of the file."""
        while lines := self.take(1):
            line = lines[0].strip()
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line and not line.startswith(b"#"):
                return line
        return b""

    def fail(self, message: str, number: int | None = None) -> NoReturn:
        """Raise a DecodingError for the line with this number, else for the line last read."""
        raise DecodingError(f"{self.path}, line {self.number if number is None else number}: {message}")


def show(text: bytes) -> str:
    """Return the start of a line for a message."""
    return repr(text[:60].decode("utf-8", "replace"))


@dataclass(frozen=True)
class Rows:
    """Some n-grams of one order: their words by position, and their numbers as float32 (num_rows,)."""

    columns: list[list[bytes]]
    log10_probs: npt.NDArray[np.float32]
    log10_backoffs: npt.NDArray[np.float32]


def read_rows(lines: ArpaLines, order: int, count: int, has_backoffs: bool) -> Iterator[Rows]:
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
                f"log10 probability {prob:g}, back-off {backoff:g}: expected finite numbers and a "
                "log-probability of at most 0 (log zero is written -99)",
                first_line + row,
            )
        if len(chunk) < asked:
            lines.fail(f"the file ends within the {order}-grams, {asked - len(chunk) + count} short of its header")
        yield rows


def _split_regular(chunk: list[bytes], order: int, has_backoffs: bool) -> Rows | None:
    """Split lines that all have the same fields, which is quick; None if they have not."""
    fields = b"".join(chunk).split()
    # Words cannot be taken for numbers here: that would take two faulty lines that make up for each other.
    width, rest = divmod(len(fields), len(chunk)) if chunk else (0, 1)
    if rest or width not in (order + 1, order + 2):
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
    # Some programs write the highest order's weights, too, all of them 0.
    if not has_backoffs and backoffs.any():
        return None
    return Rows([fields[1 + i :: width] for i in range(order)], probs, backoffs)


def _split_lines(lines: ArpaLines, chunk: list[bytes], order: int, has_backoffs: bool, first_line: int) -> Rows:
    """Split lines one by one: some without back-off weights, or one that is wrong."""
    columns: list[list[bytes]] = [[] for _ in range(order)]
    numbers = np.zeros((2, len(chunk)), np.float32)
    for row, line in enumerate(chunk):
        fields = line.split()
        if not fields or fields[0].startswith(b"\\"):
            got = show(line.strip()) if fields else "a blank line"
            lines.fail(f"the header counts more {order}-grams than the section holds: got {got}", first_line + row)
        if len(fields) not in (order + 1, order + 2):
            lines.fail(
                f"expected a log10 probability, {order} word(s) and at most one back-off weight, got "
                f"{show(line.strip())}; is the file cut short?",
                first_line + row,
            )
        for column, word in zip(columns, fields[1:], strict=False):
            column.append(word)
        try:
            numbers[0, row] = float(fields[0])
            numbers[1, row] = float(fields[-1]) if len(fields) == order + 2 else 0.0
        except ValueError:
            lines.fail(f"not a number: {show(fields[0])} or {show(fields[-1])}", first_line + row)
        if numbers[1, row] and not has_backoffs:
            lines.fail(
                f"back-off weight {numbers[1, row]:g}: expected none, or 0, for {order}-grams, the highest order",
                first_line + row,
            )
    return Rows(columns, numbers[0], numbers[1])
