"""How long an MPEG audio file plays, by its frames: ISO 11172-3, 2.4.2.3, and 13818-3."""

from collections.abc import Iterator
from typing import BinaryIO

from asr.audio.headers import FileBytes, Survey

# Kilobits per second of layers 1, 2, 3 of MPEG 1; of layers 1, 2/3 of 2.
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


def is_mpeg(head: bytes) -> bool:
    """Tell whether a file that starts with `head`, at least three bytes, is MPEG audio."""
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and int.from_bytes(head[1:3], "big") in MPEG_FRAMES)


def survey_mpeg(file: BinaryIO) -> Survey:
    """Count the frames of an MPEG audio file, and those that its Xing headers promise."""
    held = lost = 0.0
    # Of the part that is being counted: frames that its header promises, frames found, seconds of one.
    promised, found, frame_seconds = 0, 0, 0.0
    num_parts, has_total = 0, True
    for size, samples, rate, frame in _frames(file):
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


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (bytes, samples, rate, its first 192 bytes) of each frame, over tags and damaged stretches."""
    window = FileBytes(file)
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
