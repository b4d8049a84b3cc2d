"""Parts of corpus parsers: lines of text files, audio files by their stems, splits by hashes."""

import codecs
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from asr.audio import AUDIO_SUFFIXES
from asr.errors import DataError


def find_audio(folder: Path, stem: str) -> Path:
    """Return the audio file in `folder` whose name without suffix is `stem`, whatever its format.

    Returns
    -------
    Path
        ``folder/stem`` itself, which does not exist, if there is none: the driver reports it as missing.

    Raises
    ------
    DataError
        If two audio files have that stem.
    """
    found = _stems(str(folder)).get(stem, ())
    if len(found) > 1:
        raise DataError(
            f"{folder}: {' and '.join(found)} have the same stem; expected one audio file for {stem!r}: remove one"
        )
    return folder / (found[0] if found else stem)


# Corpora list their utterances folder by folder; memory stays bounded however many folders there are.
@functools.lru_cache(maxsize=16)
def _stems(folder: str) -> dict[str, tuple[str, ...]]:
    stems: dict[str, tuple[str, ...]] = {}
    try:
        names = sorted(path.name for path in Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    for name in names:
        path = Path(name)
        if path.suffix.lower() in AUDIO_SUFFIXES:
            stems[path.stem] = (*stems.get(path.stem, ()), name)
    return stems


def audio_in(folder: Path) -> list[Path]:
    """Return all audio files below `folder`, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())


def share_of(key: str) -> float:
    """Return a number in 0..100 for `key` that its SHA-256 decides: the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64 * 100


def held_out(key: str, dev_percent: float = 5.0, test_percent: float = 5.0) -> str:
    """Return "train", "dev" or "test" for `key` (a speaker, a sentence): the same on every machine, in every order.

    The key's SHA-256 decides, so that adding data moves nothing that was assigned before.
    """
    percent = share_of(key)
    if percent < test_percent:
        return "test"
    return "dev" if percent < test_percent + dev_percent else "train"


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text file, without line ends, byte-order mark and empty lines.

    Raises
    ------
    DataError
        As `numbered_lines`.
    """
    return (line for _, line in numbered_lines(path))


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what `read_lines` does, each line with its number in the file, from 1; UTF-16 is read, too.

    Raises
    ------
    DataError
        If it is absent or not UTF-8; the message names the line.
    """
    try:
        with path.open("rb") as file:
            lines: Iterable[bytes] = file
            if encoding := _utf16(file.peek(2)[:2]):
                lines = _from_utf16(path, file.read(), encoding)
            for number, line in enumerate(lines, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{path}, line {number}: byte {line[error.start]:#04x} is not UTF-8; expected UTF-8 text: "
                        "convert the file (iconv -f LATIN1 -t UTF-8)"
                    ) from None
                if text.strip():
                    yield number, text
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a text file of the corpus") from None


def _utf16(head: bytes) -> str:
    """Return the encoding of a file that begins so if it is UTF-16, by its mark or a first character of ASCII."""
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return "utf-16-le" if head[1:] == b"\0" else "utf-16-be" if head[:1] == b"\0" else ""


def _from_utf16(path: Path, content: bytes, encoding: str) -> list[bytes]:
    try:
        return content.decode(encoding).encode().splitlines(keepends=True)
    except UnicodeError as error:
        raise DataError(f"{path}: begins like UTF-16 but is not ({error}); expected UTF-8 or UTF-16 text") from None
