"""A pipe of WAV or of raw samples → chunks of samples, as they arrive."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from asr.audio.readers import check_recorded_rate
from asr.audio.sources import float_samples
from asr.errors import AudioError

SampleFormat = Literal["s16le", "s32le", "f32le"]

MAX_READ_BYTES = 1 << 16
# Programs that write to a pipe do not know the size, and state 0 or the largest number that fits; sox states one just
# below 2³¹.
UNKNOWN_BYTES = 0x7FFF_0000
# A larger chunk before the samples means that the header is damaged.
MAX_CHUNK_BYTES = 1 << 24
_DTYPES: dict[SampleFormat, np.dtype[Any]] = {
    "s16le": np.dtype("<i2"),
    "s32le": np.dtype("<i4"),
    "f32le": np.dtype("<f4"),
}
# (code, bits) of a WAV header → its samples. Code 0xFFFE says that the code proper comes later.
_WAV_FORMATS: dict[tuple[int, int], SampleFormat] = {(1, 16): "s16le", (1, 32): "s32le", (3, 32): "f32le"}
_EXTENSIBLE = 0xFFFE


@dataclass(frozen=True)
class Layout:
    """Layout of raw samples.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    format : {"s16le", "s32le", "f32le"}
        ffmpeg's names: little-endian integers, or floats in [-1, 1].
    num_channels : int
    """

    sample_rate: int
    format: SampleFormat = "s16le"
    num_channels: int = 1

    def __post_init__(self) -> None:
        check_recorded_rate(self.sample_rate, "got")
        if self.format not in get_args(SampleFormat):
            raise AudioError(f"got samples of format {self.format!r}; expected {', '.join(get_args(SampleFormat))}")
        if self.num_channels < 1:
            raise AudioError(f"got {self.num_channels} channels; expected 1 or more")


class Pipe:
    """Samples from a pipe; iterate over it once.

    Parameters
    ----------
    file : binary file object
        Need not be seekable; is not closed.
    layout : Layout, optional
        Of raw samples; None if there is a WAV header.

    Attributes
    ----------
    sample_rate : int
        In Hz.

    Raises
    ------
    AudioError
        If there is no WAV header and no layout, or the header's samples are of another format.
    """

    def __init__(self, file: BinaryIO, layout: Layout | None = None) -> None:
        self._file = file
        self._layout, self._left = (layout, None) if layout else _read_header(file)
        self.sample_rate = self._layout.sample_rate

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Yield mono samples ``(N,)``: channels are averaged; part of a sample at the end is dropped."""
        dtype, channels = _DTYPES[self._layout.format], self._layout.num_channels
        size = dtype.itemsize * channels
        rest = b""
        while block := self._read_some():
            block = rest + block
            whole = len(block) // size * size
            rest = block[whole:]
            if whole:
                samples = float_samples(np.frombuffer(block[:whole], dtype).reshape(-1, channels))
                yield samples[:, 0] if channels == 1 else samples.mean(axis=1, dtype=np.float32)

    def _read_some(self) -> bytes:
        """Return the bytes that have arrived, or wait for some; empty at the end."""
        read = getattr(self._file, "read1", self._file.read)
        block = bytes(read(MAX_READ_BYTES if self._left is None else min(self._left, MAX_READ_BYTES)))
        if self._left is not None:
            self._left -= len(block)
        return block


def _read_header(file: BinaryIO) -> tuple[Layout, int | None]:
    """Read a WAV header up to its first sample; return also the size of the samples, in bytes, where it is known."""
    head = _read(file, 12, may_be_empty=True)
    if not head:
        raise AudioError("the pipe is empty; expected audio")
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise AudioError(
            "the pipe does not begin with a WAV header: for raw samples give their rate, and their format if they are "
            "not s16le (--rate 16000 --format f32le)"
        )
    layout: Layout | None = None
    while True:
        name, size = struct.unpack("<4sI", _read(file, 8))
        if name == b"data":
            if layout is None:
                raise AudioError("the pipe's WAV header does not say what its samples are (it has no fmt chunk)")
            return layout, size if 0 < size < UNKNOWN_BYTES else None
        if size > MAX_CHUNK_BYTES:
            raise AudioError(f"the pipe's WAV header is damaged (a chunk {name!r} of {size} bytes)")
        # Chunks begin at even offsets.
        content = _read(file, size + size % 2)
        if name == b"fmt ":
            if size < 16:
                raise AudioError(f"the pipe's WAV header is damaged (a fmt chunk of {size} bytes; expected 16 or more)")
            layout = _parse_format(content)


def _parse_format(content: bytes) -> Layout:
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
    if code == _EXTENSIBLE and len(content) >= 26:
        (code,) = struct.unpack("<H", content[24:26])
    if (code, bits) not in _WAV_FORMATS:
        raise AudioError(
            f"the pipe's WAV header states format {code} of {bits} bits; expected PCM of 16 or 32 bits, or floats of 32"
        )
    return Layout(rate, _WAV_FORMATS[code, bits], channels)


def _read(file: BinaryIO, count: int, *, may_be_empty: bool = False) -> bytes:
    parts, left = [], count
    while left and (part := file.read(min(left, MAX_READ_BYTES))):
        parts.append(part)
        left -= len(part)
    if left and not (may_be_empty and left == count):
        raise AudioError("the pipe ends within its WAV header")
    return b"".join(parts)
