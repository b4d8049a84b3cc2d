"""Find what texts share: runs of eight words, kept as hashes, so that excluded texts need not be published."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.errors import DataError
from asr.preparation.parsing import read_lines

WORDS = 8
HEX_DIGITS = 16


def runs(text: str) -> Iterator[str]:
    """Yield for every eight words in a row the first 16 hexadecimal digits of their SHA-1.

    Words are of a–z and the apostrophe, in lower case; all else parts them.
    """
    words = re.findall(r"[a-z']+", text.lower())
    for first in range(len(words) - WORDS + 1):
        yield hashlib.sha1(" ".join(words[first : first + WORDS]).encode()).hexdigest()[:HEX_DIGITS]


def runs_of(texts: Iterable[str]) -> frozenset[str]:
    """Return the runs of all `texts`, none of which crosses from one text to the next."""
    return frozenset(run for text in texts for run in runs(text))


def shares_a_run(text: str, excluded: frozenset[str]) -> bool:
    """Return whether `text` has eight words in a row that are among the `excluded`."""
    return bool(excluded) and any(run in excluded for run in runs(text))


def read_runs(path: Path) -> frozenset[str]:
    """Return the runs of a file with one per line.

    Raises
    ------
    DataError
        If it cannot be read or a line is not 16 hexadecimal digits.
    """
    found = frozenset(read_lines(path))
    for line in found:
        if not re.fullmatch(rf"[0-9a-f]{{{HEX_DIGITS}}}", line):
            raise DataError(f"{path}: got {line!r}; expected {HEX_DIGITS} hexadecimal digits per line, of a SHA-1")
    return found
