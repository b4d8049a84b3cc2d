"""How long an Ogg file plays, by its pages (RFC 3533): each has the position of its last sample, the "granule"."""

import struct
import zlib
from typing import BinaryIO

from asr.audio.headers import FileBytes, Survey

# Ogg pages hold less, at most 255 packets.
MAX_PAGE_SECONDS = 20.0
# Bytes with their bits the other way round.
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def survey_ogg(file: BinaryIO) -> Survey:
    """Follow the pages of an Ogg file's audio streams."""
    window = FileBytes(file)
    streams: list[_Stream] = []
    current: dict[int, _Stream] = {}
    place, places, has_data = 0, [], False
    while (place := window.find(b"OggS", place)) >= 0:
        head = window.at(place, 27)
        if len(head) < 27:
            break
        flags, granule, serial = struct.unpack_from("<BqI", head, 5)
        table = window.at(place + 27, head[26])
        begin, size = place + 27 + head[26], sum(table)
        if flags & 2:
            # Streams that begin together run side by side; after data, another recording begins.
            if has_data:
                places.append(place)
            has_data = False
            current.pop(serial, None)
            if rate := _rate_and_skip(window.at(begin, 64)):
                current[serial] = _Stream(*rate)
                streams.append(current[serial])
        else:
            has_data = True
            if serial in current:
                is_whole = begin + size <= window.size
                is_sound = not is_whole or _is_sound(window.at(place, begin + size - place))
                current[serial].page(granule, is_whole=is_whole, is_sound=is_sound, is_last=bool(flags & 4))
                # Of a page that is cut, the size reaches into what comes next.
                size *= is_sound
        place = begin + size
    return Survey(
        sum(stream.seconds for stream in streams),
        sum(stream.lost / stream.rate for stream in streams),
        damaged_seconds=sum(stream.damaged / stream.rate for stream in streams),
        places=tuple(places),
        is_open=bool(streams) and not streams[-1].is_closed,
        ends_by_mark=True,
    )


class _Stream:
    """A logical stream: positions in samples at `rate`."""

    def __init__(self, rate: int, skipped: int) -> None:
        self.rate = rate
        self.first, self.last, self.lost, self.damaged, self.is_closed = skipped, 0, 0, 0, False
        self._is_new = True

    def page(self, granule: int, *, is_whole: bool, is_sound: bool, is_last: bool) -> None:
        """Take a page that ends at sample `granule`: whole or cut off, sound or damaged, its stream's last or not."""
        if is_whole:
            self.is_closed |= is_last
        if granule <= 0:
            return
        if not is_sound:
            # Its position may be damaged, too.
            span = granule - max(self.last, self.first)
            self.damaged += span if 0 < span < MAX_PAGE_SECONDS * self.rate else 0
            return
        # A live stream begins in the middle: its first page says where.
        if self._is_new and granule > 3 * self.rate:
            self.first += granule
        self._is_new = False
        if is_whole:
            self.last = max(self.last, granule)
        else:
            self.lost = max(0, granule - max(self.last, self.first))

    @property
    def seconds(self) -> float:
        """Duration of the pages that are whole and sound."""
        return max(0, self.last - self.first - self.damaged) / self.rate


def _is_sound(page: bytes) -> bool:
    """Check the sum of an Ogg page: zlib's polynomial, but from the first bit of a byte on, and from zero."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    found = zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found.to_bytes(4, "little").translate(MIRRORED) == page[25:21:-1]


def _rate_and_skip(packet: bytes) -> tuple[int, int] | None:
    """Return (rate in Hz, samples that are skipped at the start) of an audio stream by its first packet, or None."""
    if packet.startswith(b"\x01vorbis") and len(packet) >= 16:
        found = int.from_bytes(packet[12:16], "little"), 0
    elif packet.startswith(b"OpusHead") and len(packet) >= 12:
        found = 48_000, int.from_bytes(packet[10:12], "little")
    elif packet.startswith(b"\x7fFLAC") and len(packet) >= 31:
        found = int.from_bytes(packet[27:30], "big") >> 4, 0
    elif packet.startswith(b"Speex   ") and len(packet) >= 40:
        found = int.from_bytes(packet[36:40], "little"), 0
    else:
        return None
    return found if found[0] else None
