"""libsndfile: wav, flac, ogg, mp3, NIST sphere, and all else that it reads."""

import math
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.audio.headers import UNKNOWN_SIZE, Survey
from asr.errors import AudioError
from asr.interrupts import interrupts_wait

# Samples of each channel that are read at once (1 MB in mono).
BLOCK_SAMPLES = 1 << 18
# No format but these puts more than eight samples of a channel into a byte: what libsndfile reads beyond, as a damaged
# header says, it makes up.
DENSE = ("FLAC", "OGG", "MP3", "MPEG", "ALAC")
MOST_SAMPLES_PER_BYTE = 8
# The line of libsndfile's log that says how many samples of each channel the header states, where it does not compare.
STATED_FRAMES = {"AVR": "Frames", "MPC2K": "Frames", "MAT4": "Cols", "MAT5": "Cols", "WVE": "Data length"}
# The lines of libsndfile's log in which it tells that a header promises more bytes than there are.
CUT_SIZE = re.compile(r"^\s*(?:RIFF|RIFX|RF64|FORM|SSND|data|Data Size|riff|fmt)\s*:\s*(\d+) \(should be (\d+)\)", re.M)


class SoundReader:
    """libsndfile.

    Parameters
    ----------
    file : binary file
    name : str
        For messages.
    survey : Survey
        What the file's packets say.

    Raises
    ------
    soundfile.LibsndfileError
        If it cannot open the file.
    """

    def __init__(self, file: BinaryIO, name: str, survey: Survey | None = None) -> None:
        import soundfile

        self._name, self._file, self._survey = name, file, survey or Survey()
        with interrupts_wait():
            self._sound = soundfile.SoundFile(Seekable(file, self._survey.data_size))
        self._error = soundfile.LibsndfileError
        self.sample_rate = int(self._sound.samplerate)
        self.num_channels = int(self._sound.channels)
        self.stated_seconds = self._sound.frames / self.sample_rate

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `asr.audio.readers.Reader`.

        Raises
        ------
        AudioError
            If `first` lies behind the end.
        DamageError
            If the file is damaged.
        """
        if first >= self._sound.frames > 0:
            raise AudioError(starts_too_late(self._name, first / self.sample_rate, self.stated_seconds))
        position = first
        try:
            if first:
                with interrupts_wait():
                    self._sound.seek(first)
            end = min(math.inf if last is None else last, self._most_samples())
            while position < end:
                size = int(min(BLOCK_SAMPLES, end - position))
                with interrupts_wait():
                    block = self._sound.read(size, "float32", always_2d=True)
                if not len(block):
                    return
                position += len(block)
                yield block
        except self._error as error:
            raise DamageError(self._name, position, self.sample_rate, reason_of(error)) from None

    def _most_samples(self) -> float:
        """Return how many samples of each channel the file can hold."""
        if self._sound.format in DENSE or self._sound.subtype[:4] in DENSE:
            return math.inf
        place = self._file.tell()
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(place)
        return MOST_SAMPLES_PER_BYTE * size

    def missing_seconds(self, num_read: int) -> float:
        """Return how much the header promises beyond what is there.

        libsndfile cuts what headers of wav, aiff and au promise down to the file's size, and notes both in its log.
        """
        if self._sound.format in ("MP3", "MPEG", "OGG"):
            # What their packets say is known, and libsndfile guesses.
            return 0.0
        sizes = [tuple(map(int, pair)) for pair in CUT_SIZE.findall(self._sound.extra_info)]
        shares = [(promised - held) / held for promised, held in sizes if held < promised < UNKNOWN_SIZE and held]
        frames = max([self._promised_frames() - num_read, *(num_read * share for share in shares)])
        return float(frames / self.sample_rate)

    @property
    def is_wav(self) -> bool:
        """Whether the format is plain WAV."""
        return str(self._sound.format) in ("WAV", "WAVEX")

    def _promised_frames(self) -> int:
        if name := STATED_FRAMES.get(self._sound.format):
            stated = re.findall(rf"\b{name}\s*:?\s*(\d{{1,15}})\b", self._sound.extra_info)
            return max(map(int, stated), default=0)
        if self._sound.format != "NIST":
            return int(self._sound.frames)
        position = self._file.tell()
        self._file.seek(0)
        found = re.search(rb"\bsample_count -i (\d{1,15})\b", self._file.read(1024))
        self._file.seek(position)
        return int(found[1]) if found else 0

    def close(self) -> None:
        """Let go of the file."""
        self._sound.close()


class DamageError(AudioError):
    """A library cannot read any more of a file; `position` says how many samples it has read."""

    def __init__(self, name: str, position: int, rate: int, reason: object) -> None:
        self.position = position
        self.reason = f"is damaged after {position / rate:.1f} s ({reason})"
        super().__init__(f"{name}: {self.reason}; expected a whole file")


class Seekable:
    """A file as libraries see it: no name or mode to guess from, no exception where damaged files point before it.

    soundfile calls these methods from C, where an exception cannot pass and is printed.

    Parameters
    ----------
    file : binary file
    patch : tuple of int, optional
        (place, value) of four bytes that are read as `value`, little-endian, instead of as they are.
    """

    def __init__(self, file: BinaryIO, patch: tuple[int, int] | None = None) -> None:
        self._read, self.tell, self._seek = file.read, file.tell, file.seek
        self._patch = patch

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        place = self.tell() if self._patch else 0
        content = self._read(size)
        if self._patch and place < self._patch[0] + 4 and place + len(content) > self._patch[0]:
            changed = bytearray(content)
            for index, byte in enumerate(self._patch[1].to_bytes(4, "little"), self._patch[0] - place):
                if 0 <= index < len(changed):
                    changed[index] = byte
            return bytes(changed)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, or stay where the target is impossible."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self.tell()


def starts_too_late(name: str, start_seconds: float, end_seconds: float = 0.0) -> str:
    """Return the message for a part that begins after the end; `end_seconds` is 0 if unknown."""
    end = f"at {end_seconds:g} s" if end_seconds else "before that"
    return f"{name}: the part starts at {start_seconds:g} s, but the audio ends {end}"


def reason_of(error: Any) -> str:
    """Return what libsndfile says of an error."""
    return str(error.error_string).strip().rstrip(".")
