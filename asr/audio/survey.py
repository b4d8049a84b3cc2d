"""What a file's own packets say of its length, where libsndfile goes by less: MP3, Ogg, FLAC and WAV.

libsndfile takes the length of an MP3 file from its first frame, stops after the first stream of a chained Ogg file,
and believes a WAV header that a recorder never finished. Nothing is decoded here: headers are read and hopped over.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

# Read at once.
CHUNK_BYTES = 1 << 20
# Sizes from here on are placeholders of programs that wrote to a pipe.
UNKNOWN_SIZE = 0x7FFF_0000
# Less than this is no speech, and would be blown up to gigabytes by resampling.
MIN_RATE_HZ = 1000
# More than this no converter gives: it is a damaged header, by which minutes of speech would last no time at all.
MAX_RATE_HZ = 10_000_000
# The first bytes of wma files, and those of the object that says how long they play.
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Ogg pages hold less, at most 255 packets.
MAX_PAGE_SECONDS = 20.0
# Bytes with their bits the other way round.
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Survey:
    """What the packets of a file say.

    Parameters
    ----------
    seconds : float
        How much audio they hold; 0 if that is not known.
    lost_seconds : float
        How much more their headers promise than is in the file, by count.
    promised_seconds : float
        How much the file's header promises; 0 if it does not.
    damaged_seconds : float
        How much of what the packets hold cannot be read, since their check sums are wrong.
    num_parts : int
        Recordings that follow one another in the file.
    is_open : bool
        Whether the file does not say where it ends: no mark of the end, or no total.
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
    is_open: bool = False
    data_size: tuple[int, int] | None = None
    ends_by_mark: bool = False

    @property
    def has_no_total(self) -> bool:
        """Whether nothing says how long it is: libsndfile cannot seek in such a FLAC file, nor read it."""
        return self.is_open and not self.seconds and self.data_size is None


def survey(file: BinaryIO) -> Survey:
    """Return what the packets of an open file say; the file is left at its start."""
    file.seek(0)
    head = file.read(16)
    try:
        for begins, read in SURVEYS:
            if begins(head):
                file.seek(0)
                return read(file)
    finally:
        file.seek(0)
    return Survey()


# MPEG audio: ISO 11172-3, 2.4.2.3, and 13818-3. Kilobits per second of layers 1, 2, 3 of MPEG 1; of layers 1, 2/3 of 2.
KILOBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
# A frame by its second and third bytes, without the padding bit's and the channels' part: (bytes, samples, rate).
MPEG_FRAMES: dict[int, tuple[int, int, int]] = {}
for _version, _rates in RATES_HZ.items():
    for _layer in (1, 2, 3):
        _samples = 384 if _layer == 1 else 576 if _layer == 3 and _version != 3 else 1152
        for _bits, _kilobits in enumerate(KILOBITS[1 if _version == 3 else 2, _layer][1:], 1):
            for _index, _rate in enumerate(_rates):
                for _padding in (0, 1):
                    _slot = 4 if _layer == 1 else 1
                    _size = (_samples // 8 * 1000 * _kilobits // _rate // _slot + _padding) * _slot
                    for _protection in (0, 1):
                        _second = 0xE0 | _version << 3 | (4 - _layer) << 1 | _protection
                        for _private in (0, 1):
                            _third = _bits << 4 | _index << 2 | _padding << 1 | _private
                            MPEG_FRAMES[_second << 8 | _third] = (_size, _samples, _rate)


def _is_mpeg(head: bytes) -> bool:
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and int.from_bytes(head[1:3], "big") in MPEG_FRAMES)


def _mpeg(file: BinaryIO) -> Survey:
    """Count the frames of an MPEG audio file, and those that its Xing headers promise."""
    held = lost = 0.0
    # Of the part that is being counted: frames that its header promises, frames found, seconds of one.
    promised, found, frame_seconds = 0, 0, 0.0
    num_parts, has_total = 0, True
    for size, samples, rate, frame in _mpeg_frames(file):
        tag = _xing(frame) if size else None
        if tag is None:
            found += 1
            frame_seconds = samples / rate
            held += frame_seconds
            continue
        lost += max(0, promised - found) * frame_seconds
        promised, found = tag[0], 0
        frame_seconds = samples / rate
        held -= tag[1] / rate
        num_parts += 1
        has_total = has_total and bool(promised)
    lost += max(0, promised - found) * frame_seconds
    return Survey(max(0.0, held), lost, num_parts=max(1, num_parts), is_open=not (num_parts and has_total))


def _mpeg_frames(file: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (bytes, samples, rate, its first 192 bytes) of each frame, over tags and damaged stretches."""
    window = _Bytes(file)
    place, in_step = 0, False
    while True:
        head = window.at(place, 4)
        if len(head) < 4:
            return
        known = MPEG_FRAMES.get(int.from_bytes(head[1:3], "big")) if head[0] == 0xFF else None
        if known is not None:
            size, samples, rate = known
            follower = window.at(place + size, 3)
            is_sure = in_step or (
                len(follower) == 3
                and follower[0] == 0xFF
                and MPEG_FRAMES.get(int.from_bytes(follower[1:3], "big"), (0, 0, 0))[2] == rate
            )
            if is_sure:
                if place + size > window.size:
                    return
                yield size, samples, rate, window.at(place, 192)
                place, in_step = place + size, True
                continue
        if head[:3] == b"ID3" and len(tag := window.at(place, 10)) == 10:
            length = 0
            for byte in tag[6:]:
                length = length << 7 | byte & 0x7F
            place, in_step = place + 10 + length, False
            continue
        in_step = False
        place = window.find(b"\xff", place + 1)
        if place < 0:
            return


def _xing(frame: bytes) -> tuple[int, int] | None:
    """Return (frames promised, samples of padding) of a frame that holds a Xing, Info or VBRI header; else None."""
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[50:54], "big"), 0
    for place in (36, 21, 13):
        if frame[place : place + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(frame[place + 4 : place + 8], "big")
            count = int.from_bytes(frame[place + 8 : place + 12], "big") if flags & 1 else 0
            lame = place + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
            gaps = frame[lame + 21 : lame + 24]
            if len(gaps) < 3 or not frame[lame : lame + 4].isalpha():
                return count, 0
            return count, (gaps[0] << 4 | gaps[1] >> 4) + ((gaps[1] & 15) << 8 | gaps[2])
    return None


# Ogg (RFC 3533): pages, each with the position of its last sample ("granule") in its logical stream.
def _ogg(file: BinaryIO) -> Survey:
    """Follow the pages of an Ogg file's audio streams."""
    window = _Bytes(file)
    streams: list[_OggStream] = []
    current: dict[int, _OggStream] = {}
    place, num_parts, has_data = 0, 0, True
    while (place := window.find(b"OggS", place)) >= 0:
        head = window.at(place, 27)
        if len(head) < 27:
            break
        flags, granule, serial = struct.unpack_from("<BqI", head, 5)
        table = window.at(place + 27, head[26])
        begin, size = place + 27 + head[26], sum(table)
        if flags & 2:
            # Streams that begin together run side by side; after data, another recording begins.
            num_parts += has_data
            has_data = False
            current.pop(serial, None)
            if rate := _ogg_rate(window.at(begin, 64)):
                current[serial] = _OggStream(*rate)
                streams.append(current[serial])
        else:
            has_data = True
            if serial in current:
                is_whole = begin + size <= window.size
                is_sound = not is_whole or _is_sound(window.at(place, begin + size - place))
                current[serial].page(granule, is_whole=is_whole, is_sound=is_sound, is_last=bool(flags & 4))
        place = begin + size
    return Survey(
        sum(stream.seconds for stream in streams),
        sum(stream.lost / stream.rate for stream in streams),
        damaged_seconds=sum(stream.damaged / stream.rate for stream in streams),
        num_parts=max(1, num_parts),
        is_open=bool(streams) and not streams[-1].is_closed,
        ends_by_mark=True,
    )


class _OggStream:
    """A logical stream: positions in samples at `rate`."""

    def __init__(self, rate: int, skipped: int) -> None:
        self.rate = rate
        self.first, self.last, self.lost, self.damaged, self.is_closed = skipped, 0, 0, 0, False
        self._is_new = True

    def page(self, granule: int, *, is_whole: bool, is_sound: bool, is_last: bool) -> None:
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
        return max(0, self.last - self.first - self.damaged) / self.rate


def _is_sound(page: bytes) -> bool:
    """Check the sum of an Ogg page: zlib's polynomial, but from the first bit of a byte on, and from zero."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(MIRRORED)
    found = zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return found.to_bytes(4, "little").translate(MIRRORED) == page[25:21:-1]


def _ogg_rate(packet: bytes) -> tuple[int, int] | None:
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


def _flac(file: BinaryIO) -> Survey:
    """Tell whether a FLAC file states its total, and how many FLAC files it is."""
    window = _Bytes(file)
    info = window.at(0, 26)
    total = int.from_bytes(info[21:26], "big") & (1 << 36) - 1 if len(info) == 26 else 0
    # The mark, and the header of the block that must follow it: nothing else looks like that.
    return replace(_repeated(b"fLaC\x00\x00\x00\x22")(file), is_open=not total)


def _repeated(pattern: bytes) -> Callable[[BinaryIO], Survey]:
    """Return what counts the recordings of a file by the bytes that each begins with."""

    def count(file: BinaryIO) -> Survey:
        window, place, parts = _Bytes(file), 0, 0
        while (place := window.find(pattern, place)) >= 0:
            parts += 1
            place += len(pattern)
        return Survey(num_parts=max(1, parts))

    return count


def _asf(file: BinaryIO) -> Survey:
    """Read how long a wma or wmv file plays (ASF, 3.2), unless it was sent while it was made."""
    found = _repeated(ASF_HEADER)(file)
    window = _Bytes(file)
    place = window.find(ASF_PROPERTIES, 0)
    values = window.at(place + 64, 28) if 0 <= place < CHUNK_BYTES else b""
    if len(values) < 28 or values[24] & 1:
        return found
    played, _, preroll = struct.unpack_from("<QQQ", values)
    return replace(found, promised_seconds=max(0.0, played / 1e7 - preroll / 1e3))


def _avi(file: BinaryIO) -> Survey:
    """Read how long the first audio stream of an AVI file is."""
    head = _Bytes(file).at(0, 1 << 16)
    place = head.find(b"strh")
    while place >= 0 and head[place + 8 : place + 12] != b"auds":
        place = head.find(b"strh", place + 4)
    if place < 0 or len(head) < place + 44 or int.from_bytes(head[4:8], "little") in (0, 0xFFFF_FFFF):
        return Survey()
    scale, rate, _, length = struct.unpack_from("<4I", head, place + 28)
    return Survey(promised_seconds=scale * length / rate if rate and length < UNKNOWN_SIZE else 0.0)


def _caf(file: BinaryIO) -> Survey:
    """Read how long the data of an uncompressed CAF file are to be."""
    found = _repeated(b"caff\x00\x01\x00\x00desc")(file)
    window = _Bytes(file)
    description = window.at(20, 32)
    place = window.find(b"data", 52)
    size = int.from_bytes(window.at(place + 4, 8), "big", signed=True) if 0 <= place < CHUNK_BYTES else 0
    if len(description) < 32 or size <= 0:
        return found
    rate, _, _, packet_bytes, packet_frames = struct.unpack_from(">d4sIII", description)
    if not (packet_bytes and MIN_RATE_HZ <= rate <= MAX_RATE_HZ):
        return found
    return replace(found, promised_seconds=(size - 4) / packet_bytes * packet_frames / rate)


def _au(file: BinaryIO) -> Survey:
    """Tell whether an AU header gives its data a size, and whether another file follows them."""
    window = _Bytes(file)
    begin, size = struct.unpack(">II", window.at(4, 8).ljust(8, b"\0"))
    if not size and window.size > begin:
        return Survey(is_open=True, data_size=(8, 0xFFFF_FFFF))
    goes_on = 0 < size < UNKNOWN_SIZE and window.at(begin + size, 4) == b".snd"
    return Survey(num_parts=1 + int(goes_on))


def _aiff(file: BinaryIO) -> Survey:
    """Tell whether another AIFF file follows the first."""
    window = _Bytes(file)
    size = int.from_bytes(window.at(4, 4), "big")
    return Survey(num_parts=1 + int(window.at(8 + size + size % 2, 4) == b"FORM"))


def _mp4(file: BinaryIO) -> Survey:
    """Count the files that an mp4 or mov file is made of, by their boxes (ISO 14496-12, 4.2)."""
    window, place, parts = _Bytes(file), 0, 0
    while len(head := window.at(place, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        parts += head[4:8] == b"moov"
        if size < 8:
            break
        place += size
    return Survey(num_parts=max(1, parts))


def _wav(file: BinaryIO) -> Survey:
    """Walk over the chunks of a WAV file: its data's size may be missing, or another file may follow."""
    window = _Bytes(file)
    place, bytes_a_second = 12, 0
    while len(head := window.at(place, 8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"fmt ":
            bytes_a_second = int.from_bytes(window.at(place + 16, 4), "little")
        if name == b"data":
            break
        place += 8 + size + size % 2
    else:
        return Survey()
    rest = window.size - place - 8
    if size >= min(rest, UNKNOWN_SIZE) or not bytes_a_second:
        return Survey()
    following = place + 8 + size + size % 2
    if _are_chunks(window, following):
        return Survey()
    if not size:
        return Survey(is_open=True, data_size=(place + 4, rest))
    if not window.at(following, CHUNK_BYTES).strip(b"\0"):
        return Survey()
    return Survey(rest / bytes_a_second, num_parts=2)


def _are_chunks(window: "_Bytes", place: int) -> bool:
    """Whether what follows are RIFF chunks up to the end of the file, and not another file."""
    while len(head := window.at(place, 8)) == 8:
        if not re.fullmatch(rb"[ -~]{4}", head[:4]) or head[:4] in (b"RIFF", b"RF64"):
            return False
        size = int.from_bytes(head[4:], "little")
        place += 8 + size + size % 2
        if place > window.size + 1:
            return False
    return True


class _Bytes:
    """A file by place, read in large chunks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self._start, self._chunk = 0, b""

    def at(self, place: int, count: int) -> bytes:
        """Return `count` bytes, fewer at the end."""
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


SURVEYS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], Survey]], ...] = (
    (_is_mpeg, _mpeg),
    (lambda head: head.startswith(b"OggS"), _ogg),
    (lambda head: head.startswith(b"fLaC"), _flac),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WAVE", _wav),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ", _avi),
    (lambda head: head.startswith(ASF_HEADER), _asf),
    (lambda head: head.startswith(b"caff"), _caf),
    (lambda head: head.startswith(b".snd"), _au),
    (lambda head: head.startswith(b"FORM") and head[8:11] == b"AIF", _aiff),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"), _mp4),
    (lambda head: head.startswith(b"FLV\x01") and len(head) > 13, lambda file: _repeated(file.read(13))(file)),
)
