"""Files that are several, put one behind the other: where each begins, and each as a file of its own."""

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from asr.audio.headers import FileBytes

# What mp4 and mov files begin with; older ones have no ftyp.
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
# In these, the first bytes, so many of them, are those of every file of the kind that one program wrote.
ALIKE = {
    b"caff": 12,
    b"0&\xb2u": 16,
    b"FLV\x01": 13,
    b"TTA1": 14,
    b"\xf0\x7e": 10,
    b"\0\nSMJPEG": 8,
    b"\xb7\xd8\x00\x20": 16,
}


class Section(io.BufferedReader):
    """The bytes of an open file from `begin` to `end`, as a file; to close it leaves the whole one open."""

    def __init__(self, file: BinaryIO, begin: int, end: int, name: str) -> None:
        super().__init__(_Range(file, begin, end, name))


class _Range(io.RawIOBase):
    def __init__(self, file: BinaryIO, begin: int, end: int, name: str) -> None:
        self._file, self._begin, self._size, self.name = file, begin, end - begin, name
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._begin + self._place)
        content = self._file.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place = offset + (0, self._place, self._size)[whence]
        if place < 0:
            raise ValueError(f"got the place {place}; expected 0 or more")
        self._place = place
        return place


def places_of_more(file: BinaryIO) -> tuple[int, ...]:
    """Return where further recordings begin in a file, by the sizes that headers state."""
    window, place, places = FileBytes(file), 0, []
    head = window.at(0, 16)
    for magic, count in ALIKE.items():
        if head.startswith(magic):
            while (place := window.find(head[:count], place + count)) >= 0:
                places.append(place)
            return tuple(places)
    while end_of := _end_of(window.at(place, 16)):
        end = end_of(window, place)
        # Padding may stand between them.
        behind = [at for at in range(end, end + 8) if at > place and _begins(window.at(at, 16))]
        if not behind:
            break
        place = behind[0]
        places.append(place)
    return tuple(places)


def _end_of(head: bytes) -> Callable[[FileBytes, int], int] | None:
    return next((end_of for begins, end_of in SIZED if begins(head)), None)


def _begins(head: bytes) -> bool:
    """Whether a recording begins so; what follows FLAC and Ogg is looked for when they are read."""
    return head.startswith((b"fLaC", b"OggS")) or _end_of(head) is not None


def _riff(window: FileBytes, place: int) -> int:
    return place + 8 + int.from_bytes(window.at(place + 4, 4), "little")


def _rf64(window: FileBytes, place: int) -> int:
    return place + 8 + int.from_bytes(window.at(place + 20, 8), "little")


def _form(window: FileBytes, place: int) -> int:
    return place + 8 + int.from_bytes(window.at(place + 4, 4), "big")


def _w64(window: FileBytes, place: int) -> int:
    return place + int.from_bytes(window.at(place + 16, 8), "little")


def _au(window: FileBytes, place: int) -> int:
    return place + int.from_bytes(window.at(place + 4, 4), "big") + int.from_bytes(window.at(place + 8, 4), "big")


def _voc(window: FileBytes, place: int) -> int:
    """Walk over the blocks; one of type 0 is the last."""
    place += int.from_bytes(window.at(place + 20, 2), "little")
    while len(head := window.at(place, 4)) == 4 and head[0] and not head.startswith(b"Crea"):
        place += 4 + int.from_bytes(head[1:], "little")
    return place


def _mp4(window: FileBytes, place: int) -> int:
    """Walk over the boxes (ISO 14496-12, 4.2) until those of another file, which has a ftyp or a moov of its own."""
    seen: set[bytes] = set()
    end = 0
    while len(head := window.at(place, 16)) >= 8:
        size = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        kind = head[4:8]
        if kind == b"ftyp" and seen & {b"moov", b"mdat"}:
            return place
        if kind == b"moov" and kind in seen:
            return end or place
        if seen >= {b"moov", b"mdat"} and kind in FIRST_BOXES:
            end = end or place
        if size < 8:
            return 0
        seen.add(kind)
        place += size
    return place


def _wavpack(window: FileBytes, place: int) -> int:
    """Walk over the blocks until one that begins at sample 0 again; tags may stand before it."""
    is_first = True
    while len(head := window.at(place, 28)) == 28 and head.startswith(b"wvpk"):
        # Of the channels' blocks of one time, the first is marked.
        if not int.from_bytes(head[16:20], "little") and head[25] & 8 and not is_first:
            break
        place, is_first = place + 8 + int.from_bytes(head[4:8], "little"), False
    return window.find(b"wvpk", place)


def _matroska(window: FileBytes, place: int) -> int:
    """Add up the header and the segment; a segment without a size reaches to the end, as FFmpeg reads it."""
    for _ in range(2):
        identity = window.at(place, 13)
        if len(identity) < 13 or not identity[4]:
            return 0
        length = 9 - identity[4].bit_length()
        size = int.from_bytes(identity[4 : 4 + length], "big") & (1 << 7 * length) - 1
        if size == (1 << 7 * length) - 1:
            return 0
        place += 4 + length + size
    return place


SIZED: tuple[tuple[Callable[[bytes], bool], Callable[[FileBytes, int], int]], ...] = (
    (lambda head: head.startswith(b"RIFF") and head[8:12] in (b"WAVE", b"AVI "), _riff),
    (lambda head: head.startswith((b"RF64", b"BW64")), _rf64),
    (lambda head: head.startswith(b"FORM"), _form),
    (lambda head: head.startswith(b"riff\x2e\x91\xcf\x11"), _w64),
    (lambda head: head.startswith(b".snd"), _au),
    (lambda head: head.startswith(b"Creative Voice "), _voc),
    (lambda head: head[4:8] in FIRST_BOXES, _mp4),
    (lambda head: head.startswith(b"wvpk"), _wavpack),
    (lambda head: head.startswith(b"\x1aE\xdf\xa3"), _matroska),
)
