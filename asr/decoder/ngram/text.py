"""Reading text for language models: one normalised sentence per line."""

import lzma
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.errors import DecodingError
from asr.files import unpacked

# What models list beside words: what they do not know, and the start and end of a sentence.
UNK, BOS, EOS = "<unk>", "<s>", "</s>"


def read_sentences(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield the lines of UTF-8 files or pipes, plain or packed (gzip, bzip2, xz, Zstandard); ``-`` is standard input.

    The text is taken as it stands: normalise it as the acoustic model's transcripts were.

    Raises
    ------
    DecodingError
        If a file cannot be read or is not UTF-8; the message names the line.
    """
    for path in paths:
        name = "the standard input" if str(path) == "-" else f"the text {path}"
        try:
            if str(path) == "-":
                yield from _decoded(unpacked(sys.stdin.buffer), name)
                continue
            with Path(path).open("rb") as file:
                yield from _decoded(unpacked(file), str(path))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise DecodingError(f"cannot read {name}: {reason}") from error


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            # utf-8-sig drops the byte order mark that some editors put first.
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DecodingError(
                f"{name}, line {number}: not UTF-8 ({error.reason}, byte {error.start}); "
                "convert it, for instance with iconv"
            ) from error


def spell(sentences: Iterable[str]) -> Iterator[str]:
    """Yield sentences with each character as a word of its own and ``|`` between words: text for a character model.

    Examples
    --------
    >>> list(spell(["ab  a"]))
    ['a b | a']
    """
    for sentence in sentences:
        yield " ".join("|".join(sentence.split()))


def check_sentences(sentences: object) -> None:
    """Refuse one string, whose characters would be taken for sentences.

    Raises
    ------
    DecodingError
        If `sentences` is a string.
    """
    if isinstance(sentences, str | bytes):
        raise DecodingError(f"the text is one string, {sentences[:40]!r}; expected a list of sentences")


def differing_in_case(words: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two words that differ in letter case only, or None if there are none."""
    seen: dict[str, str] = {}
    for word in words:
        first = seen.setdefault(word.lower(), word)
        if first != word:
            return first, word
    return None
