"""The length of a file by its own packets and headers, where libsndfile looks at less: MP3, Ogg, FLAC, WAV and others.

libsndfile takes the length of an MP3 file from its first frame, stops after the first stream of a chained Ogg file,
and believes a WAV header that a recorder never finished. Nothing is decoded here: only headers are read.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from asr.audio.headers import CHUNK_BYTES, UNKNOWN_SIZE, FileBytes, Survey
from asr.audio.mpeg import is_mpeg, survey_mpeg
from asr.audio.ogg import survey_ogg

# Less than this cannot be speech, and resampling would blow it up to gigabytes.
MIN_RATE_HZ = 1000
# No converter samples faster: the header is damaged, and by it minutes of speech would last no time at all.
MAX_RATE_HZ = 10_000_000
# The first bytes of wma files, and those of the object that says how long they play.
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def survey(file: BinaryIO) -> Survey:
    """Return the length of an open file by its packets; the file is left at its start."""
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


def _flac(file: BinaryIO) -> Survey:
    """Tell whether a FLAC file states its total, and how many FLAC files it is and how long (RFC 9639, 8.2)."""
    window, place, totals = FileBytes(file), 0, []
    while (place := window.find(b"fLaC", place)) >= 0:
        info = window.at(place, 26).ljust(26, b"\0")
        place += 4
        # The mark, and the header of the block that must follow it: nothing else looks like that.
        if not info[4] & 0x7F and info[5:8] == b"\0\0\x22":
            rate, total = int.from_bytes(info[18:21], "big") >> 4, int.from_bytes(info[21:26], "big") & (1 << 36) - 1
            totals.append(total / rate if rate else 0.0)
    is_known = len(totals) > 1 and all(totals)
    return Survey(sum(totals) if is_known else 0.0, num_parts=max(1, len(totals)), is_open=not all(totals or [0.0]))


def _repeated(pattern: bytes) -> Callable[[BinaryIO], Survey]:
    """Return what counts the recordings of a file by the bytes that each begins with."""

    def count(file: BinaryIO) -> Survey:
        window, place, parts = FileBytes(file), 0, 0
        while (place := window.find(pattern, place)) >= 0:
            parts += 1
            place += len(pattern)
        return Survey(num_parts=max(1, parts))

    return count


def _asf(file: BinaryIO) -> Survey:
    """Read how long a wma or wmv file plays (ASF, 3.2), unless it was sent while it was made."""
    found = _repeated(ASF_HEADER)(file)
    window = FileBytes(file)
    place = window.find(ASF_PROPERTIES, 0)
    values = window.at(place + 64, 28) if 0 <= place < CHUNK_BYTES else b""
    if len(values) < 28 or values[24] & 1:
        return found
    played, _, preroll = struct.unpack_from("<QQQ", values)
    return replace(found, promised_seconds=max(0.0, played / 1e7 - preroll / 1e3))


def _avi(file: BinaryIO) -> Survey:
    """Read how long the first audio stream of an AVI file is."""
    head = FileBytes(file).at(0, 1 << 16)
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
    window = FileBytes(file)
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
    window = FileBytes(file)
    begin, size = struct.unpack(">II", window.at(4, 8).ljust(8, b"\0"))
    if not size and window.size > begin:
        return Survey(is_open=True, data_size=(8, 0xFFFF_FFFF))
    goes_on = 0 < size < UNKNOWN_SIZE and window.at(begin + size, 4) == b".snd"
    return Survey(num_parts=1 + int(goes_on))


def _aiff(file: BinaryIO) -> Survey:
    """Tell whether another AIFF file follows the first."""
    window = FileBytes(file)
    size = int.from_bytes(window.at(4, 4), "big")
    return Survey(num_parts=1 + int(window.at(8 + size + size % 2, 4) == b"FORM"))


def _mp4(file: BinaryIO) -> Survey:
    """Count the files that an mp4 or mov file is made of, by their boxes (ISO 14496-12, 4.2)."""
    window, place, parts = FileBytes(file), 0, 0
    while len(head := window.at(place, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        parts += head[4:8] == b"moov"
        if size < 8:
            break
        place += size
    return Survey(num_parts=max(1, parts))


def _wav(file: BinaryIO) -> Survey:
    """Walk over the chunks of a WAV file: its data's size may be missing or too large, or another file may follow."""
    window = FileBytes(file)
    place, bytes_a_second, long_place = 12, 0, 0
    while len(head := window.at(place, 8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            long_place = place + 16
        if name == b"fmt ":
            bytes_a_second = int.from_bytes(window.at(place + 16, 4), "little")
        if name == b"data":
            break
        place += 8 + size + size % 2
    else:
        return Survey()
    rest, size_place = window.size - place - 8, place + 4
    if long_place and size >= UNKNOWN_SIZE:
        # RF64 (EBU Tech 3306). libsndfile says nothing where it ends early.
        size, size_place = int.from_bytes(window.at(long_place, 8), "little"), long_place
        if size > rest and bytes_a_second:
            return Survey(promised_seconds=size / bytes_a_second)
    if size >= min(rest, UNKNOWN_SIZE) or not bytes_a_second:
        return Survey()
    following = place + 8 + size + size % 2
    if _are_chunks(window, following):
        return Survey()
    if not size:
        return Survey(is_open=True, data_size=(size_place, min(rest, 0xFFFF_FFFF)))
    if not window.at(following, CHUNK_BYTES).strip(b"\0"):
        return Survey()
    return Survey(rest / bytes_a_second, num_parts=2)


def _are_chunks(window: FileBytes, place: int) -> bool:
    """Whether what follows are RIFF chunks up to the end of the file, and not another file."""
    while len(head := window.at(place, 8)) == 8:
        if not re.fullmatch(rb"[ -~]{4}", head[:4]) or head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return False
        size = int.from_bytes(head[4:], "little")
        place += 8 + size + size % 2
        if place > window.size + 1:
            return False
    return True


SURVEYS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], Survey]], ...] = (
    (is_mpeg, survey_mpeg),
    (lambda head: head.startswith(b"OggS"), survey_ogg),
    (lambda head: head.startswith(b"fLaC"), _flac),
    (lambda head: head.startswith((b"RIFF", b"RF64", b"BW64")) and head[8:12] == b"WAVE", _wav),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ", _avi),
    (lambda head: head.startswith(ASF_HEADER), _asf),
    (lambda head: head.startswith(b"caff"), _caf),
    (lambda head: head.startswith(b".snd"), _au),
    (lambda head: head.startswith(b"FORM") and head[8:11] == b"AIF", _aiff),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"), _mp4),
    (lambda head: head.startswith(b"FLV\x01") and len(head) > 13, lambda file: _repeated(file.read(13))(file)),
)
