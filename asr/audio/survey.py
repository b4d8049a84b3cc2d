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
from asr.audio.joined import places_of_more
from asr.audio.mpeg import is_mpeg, survey_mpeg
from asr.audio.ogg import survey_ogg

# Less than this cannot be speech, and resampling would blow it up to gigabytes.
MIN_RATE_HZ = 1000
# No converter samples faster: the header is damaged, and by it minutes of speech would last no time at all.
MAX_RATE_HZ = 10_000_000
# What the four bytes of a size can state.
MAX_SIZE = 0xFFFF_FFFF
# The first bytes of wma files, and those of the object that says how long they play.
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def survey(file: BinaryIO) -> Survey:
    """Return the length of an open file by its packets, and where more of its kind follow; leave it at its start."""
    file.seek(0)
    head = file.read(16)
    try:
        for begins, read in SURVEYS:
            if begins(head):
                file.seek(0)
                found = read(file)
                break
        else:
            found = Survey()
        return found if found.places else replace(found, places=places_of_more(file))
    finally:
        file.seek(0)


def _flac(file: BinaryIO) -> Survey:
    """Tell whether a FLAC file states its total, and where more FLAC files follow it (RFC 9639, 8.2)."""
    window, place, places, totals = FileBytes(file), 0, [], []
    while (place := window.find(b"fLaC", place)) >= 0:
        info = window.at(place, 26).ljust(26, b"\0")
        place += 4
        # The mark, and the header of the block that must follow it: nothing else looks like that.
        if not info[4] & 0x7F and info[5:8] == b"\0\0\x22":
            rate, total = int.from_bytes(info[18:21], "big") >> 4, int.from_bytes(info[21:26], "big") & (1 << 36) - 1
            totals.append(total / rate if rate else 0.0)
            places.append(place - 4)
    return Survey(places=tuple(places[1:]), is_open=not all(totals or [0.0]))


def _asf(file: BinaryIO) -> Survey:
    """Read how long a wma or wmv file plays (ASF, 3.2), unless it was sent while it was made."""
    window = FileBytes(file)
    place = window.find(ASF_PROPERTIES, 0)
    values = window.at(place + 64, 28) if 0 <= place < CHUNK_BYTES else b""
    if len(values) < 28 or values[24] & 1:
        return Survey()
    played, _, preroll = struct.unpack_from("<QQQ", values)
    return Survey(promised_seconds=max(0.0, played / 1e7 - preroll / 1e3))


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
    """Read how long a CAF file is: by its table of packets or, where each is as long, by the size of its data."""
    window = FileBytes(file)
    description = window.at(20, 32)
    place = window.find(b"data", 52)
    size = int.from_bytes(window.at(place + 4, 8), "big", signed=True) if 0 <= place < CHUNK_BYTES else 0
    if len(description) < 32:
        return Survey()
    rate, _, _, packet_bytes, packet_frames = struct.unpack_from(">d4sIII", description)
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        return Survey()
    if packet_bytes:
        return Survey(promised_seconds=max(0, size - 4) / packet_bytes * packet_frames / rate)
    table = window.find(b"pakt", 52)
    frames = int.from_bytes(window.at(table + 20, 8), "big") if 0 <= table < min(place, CHUNK_BYTES) else 0
    return Survey(promised_seconds=frames / rate if frames < UNKNOWN_SIZE else 0.0)


def _au(file: BinaryIO) -> Survey:
    """Tell whether an AU header gives its data a size; if it gives less than there is, a program did not finish it."""
    window = FileBytes(file)
    begin, size = struct.unpack(">II", window.at(4, 8).ljust(8, b"\0"))
    if window.size > begin + size:
        return Survey(is_open=not size, data_size=(8, 0xFFFF_FFFF))
    return Survey()


def _sox(file: BinaryIO) -> Survey:
    """Read how long a file in SoX's own format is; in one that was written to a pipe, that is 0."""
    head = FileBytes(file).at(0, 28)
    if len(head) < 28:
        return Survey()
    count, rate, num_channels = struct.unpack_from("<QdI" if head.startswith(b".SoX") else ">QdI", head, 8)
    is_known = num_channels and MIN_RATE_HZ <= rate <= MAX_RATE_HZ and count < 1 << 62
    return Survey(promised_seconds=count / num_channels / rate if is_known else 0.0)


def _voc(file: BinaryIO) -> Survey:
    """Read how long the sound in the blocks of a VOC file is to be."""
    window = FileBytes(file)
    place, seconds, stereo_rate = int.from_bytes(window.at(20, 2), "little"), 0.0, 0.0
    while len(head := window.at(place, 16)) == 16 and head[0]:
        size = int.from_bytes(head[1:4], "little")
        if size == 0xFF_FFFF:
            return Survey()
        if head[0] == 1:
            # By codec: 0 is of 8 bits, 4 of 16, 6 and 7 of 8; the packed ones are rare.
            rate = stereo_rate or 1e6 / (256 - head[4])
            seconds += max(0, size - 2) / (rate * (2 if head[5] == 4 else 1))
            stereo_rate = 0.0
        elif head[0] == 8:
            stereo_rate = 256e6 / (65_536 - int.from_bytes(head[4:6], "little"))
        elif head[0] == 9:
            rate = int.from_bytes(head[4:8], "little") * ((head[8] + 7) // 8) * head[9]
            seconds += max(0, size - 12) / rate if rate else 0.0
        place += 4 + size
    return Survey(promised_seconds=seconds)


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
        place = _chunk_after(window, place, size)
    else:
        return Survey()
    rest, size_place = window.size - place - 8, place + 4
    if long_place and size >= UNKNOWN_SIZE:
        # RF64 (EBU Tech 3306). libsndfile says nothing where it ends early.
        size, size_place = int.from_bytes(window.at(long_place, 8), "little"), long_place
        if size > rest and bytes_a_second:
            return Survey(promised_seconds=size / bytes_a_second)
    if size >= rest or not bytes_a_second:
        return Survey()
    following = _chunk_after(window, place, size)
    if _are_chunks(window, following):
        return Survey()
    if not size or (size >= UNKNOWN_SIZE and not long_place):
        # libsndfile reads no more than the header can state; PyAV does.
        return Survey(is_open=True, data_size=(size_place, rest)) if rest <= MAX_SIZE else Survey(rest / bytes_a_second)
    if not window.at(following, CHUNK_BYTES).strip(b"\0"):
        return Survey()
    return Survey(rest / bytes_a_second, num_parts=2)


def _are_chunks(window: FileBytes, place: int) -> bool:
    """Whether what follows are RIFF chunks up to the end of the file, and not another file."""
    while len(head := window.at(place, 8)) == 8:
        if not re.fullmatch(rb"[ -~]{4}", head[:4]) or head[:4] in (b"RIFF", b"RF64", b"BW64"):
            return False
        place = _chunk_after(window, place, int.from_bytes(head[4:], "little"))
        if place > window.size + 1:
            return False
    return True


def _chunk_after(window: FileBytes, place: int, size: int) -> int:
    """Return where the chunk after one of `size` bytes begins: at an even place, if its writer cared."""
    end = place + 8 + size
    return end + (size % 2 and window.at(end, 1) in (b"", b"\0"))


SURVEYS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], Survey]], ...] = (
    (is_mpeg, survey_mpeg),
    (lambda head: head.startswith(b"OggS"), survey_ogg),
    (lambda head: head.startswith(b"fLaC"), _flac),
    (lambda head: head.startswith((b"RIFF", b"RF64", b"BW64")) and head[8:12] == b"WAVE", _wav),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ", _avi),
    (lambda head: head.startswith(ASF_HEADER), _asf),
    (lambda head: head.startswith(b"caff"), _caf),
    (lambda head: head.startswith(b".snd"), _au),
    (lambda head: head.startswith((b".SoX", b"XoS.")), _sox),
    (lambda head: head.startswith(b"Creative Voice "), _voc),
)
