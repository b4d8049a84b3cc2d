"""What the surveys of all formats share: their result, and a file whose bytes are read by position."""

from dataclasses import dataclass
from typing import BinaryIO

# Read at once.
CHUNK_BYTES = 1 << 20
# Sizes from here on are placeholders of programs that wrote to a pipe.
UNKNOWN_SIZE = 0x7FFF_0000


@dataclass(frozen=True)
class Survey:
    """The length of a file's audio, as its packets and headers state it.

    Parameters
    ----------
    seconds : float
        How much audio the packets hold; 0 if unknown.
    lost_seconds : float
        How much more audio the packets' headers promise than the file holds, by count.
    promised_seconds : float
        How much audio the file's header promises; 0 if it does not say.
    damaged_seconds : float
        How much of the packets' audio cannot be read, because their checksums are wrong.
    num_parts : int
        Number of recordings that follow one another in the file, where `places` cannot be told.
    places : tuple of int
        Where the second and further recordings begin, if that is known.
    is_open : bool
        Whether the file does not say where it ends: it has neither an end mark nor a total.
    data_size : tuple of int, optional
        (place, value) of the four bytes of a WAV or AU header that should say how long the data are.
    ends_by_mark : bool
        Whether files of this format mark their end.
    """

    seconds: float = 0.0
    lost_seconds: float = 0.0
    promised_seconds: float = 0.0
    damaged_seconds: float = 0.0
    num_parts: int = 1
    places: tuple[int, ...] = ()
    is_open: bool = False
    data_size: tuple[int, int] | None = None
    ends_by_mark: bool = False

    @property
    def has_no_total(self) -> bool:
        """Whether nothing says how long it is: libsndfile cannot seek in such a FLAC file, nor read it."""
        return self.is_open and not self.seconds and self.data_size is None


class FileBytes:
    """Random access to the bytes of a file, read in large chunks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self._start, self._chunk = 0, b""

    def at(self, place: int, count: int) -> bytes:
        """Return `count` bytes, fewer at the end, and none behind it, where damaged sizes point."""
        if place >= self.size:
            return b""
        if not self._start <= place <= place + count <= self._start + len(self._chunk):
            self._load(place, count)
        return self._chunk[place - self._start : place - self._start + count]

    def find(self, pattern: bytes, place: int) -> int:
        """Return the next place of `pattern`, or -1."""
        while place < self.size:
            if not self._start <= place < self._start + len(self._chunk) - len(pattern):
                self._load(place, len(pattern))
            found = self._chunk.find(pattern, place - self._start)
            if found >= 0:
                return self._start + found
            end = self._start + len(self._chunk)
            if end >= self.size:
                return -1
            place = max(place + 1, end - len(pattern) + 1)
        return -1

    def _load(self, place: int, count: int) -> None:
        self._file.seek(place)
        self._start, self._chunk = place, self._file.read(max(CHUNK_BYTES, count))
