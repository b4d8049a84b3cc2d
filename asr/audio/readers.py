"""How samples are read: by libsndfile, or by PyAV for containers that it does not know; from arrays as they are."""

import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.interrupts import interrupts_wait
from asr.audio.sources import check_shape, float_samples
from asr.errors import AudioError, MissingExtraError

# Samples of each channel that are read at once (1 MB in mono).
BLOCK_SAMPLES = 1 << 18
# Less than this is no speech, and would be blown up to gigabytes by resampling.
MIN_RATE_HZ = 1000
# More than this no converter gives: it is a damaged header, by which minutes of speech would last no time at all.
MAX_RATE_HZ = 10_000_000
# What is missing at the end of a file is worth a word from here on: encoders pad and trim by less.
MIN_MISSING_SECONDS = 0.25
# Sizes from here on are placeholders of programs that wrote to a pipe.
UNKNOWN_SIZE = 0x7FFF_0000


class Reader(Protocol):
    """Something that gives samples in blocks."""

    sample_rate: int

    @property
    def stated_seconds(self) -> float:
        """The duration that the header states, as far as the file is there; 0 if it states none."""
        ...

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield the samples from `first` to `last` (the end, if None): ``(num_samples, channels)`` or mono."""
        ...

    def missing_seconds(self, num_read: int) -> float:
        """Return how much the file's header promises beyond the `num_read` samples that it holds."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class ArrayReader:
    """Samples of any real dtype; see `asr.audio.sources.float_samples`."""

    def __init__(self, array: NDArray[Any], sample_rate: int) -> None:
        check_shape(array)
        self._array = array
        self.sample_rate = sample_rate
        self.stated_seconds = len(array) / sample_rate

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `Reader`."""
        end = len(self._array) if last is None else min(last, len(self._array))
        for begin in range(first, end, BLOCK_SAMPLES):
            yield float_samples(self._array[begin : min(end, begin + BLOCK_SAMPLES)])

    def missing_seconds(self, num_read: int) -> float:
        """Return 0."""
        return 0.0

    def close(self) -> None:
        """Do nothing."""


class SoundReader:
    """libsndfile.

    Raises
    ------
    soundfile.LibsndfileError
        If it cannot open the file.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        import soundfile

        self._name, self._file = name, file
        with interrupts_wait():
            self._sound = soundfile.SoundFile(_Seekable(file))
        self._error = soundfile.LibsndfileError
        self.sample_rate = int(self._sound.samplerate)
        self.stated_seconds = self._sound.frames / self.sample_rate

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `Reader`.

        Raises
        ------
        AudioError
            If `first` lies behind the end, or the file is damaged.
        """
        if first >= self._sound.frames > 0:
            raise AudioError(starts_too_late(self._name, first / self.sample_rate, self.stated_seconds))
        position = first
        try:
            if first:
                with interrupts_wait():
                    self._sound.seek(first)
            while last is None or position < last:
                size = BLOCK_SAMPLES if last is None else min(BLOCK_SAMPLES, last - position)
                with interrupts_wait():
                    block = self._sound.read(size, "float32", always_2d=True)
                if not len(block):
                    return
                position += len(block)
                yield block
        except self._error as error:
            raise AudioError(
                f"{self._name}: is damaged after {position / self.sample_rate:.1f} s ({_reason(error)}); "
                "expected a whole file"
            ) from None

    def missing_seconds(self, num_read: int) -> float:
        """Return how much the header promises beyond what is there.

        libsndfile cuts what headers of wav, aiff and au promise down to the file's size, and notes both in its log.
        """
        log = self._sound.extra_info
        sizes = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) \(should be (\d+)\)", log)]
        shares = [(promised - held) / held for promised, held in sizes if held < promised < UNKNOWN_SIZE and held]
        frames = max([self._promised_frames() - num_read, *(num_read * share for share in shares)])
        return float(frames / self.sample_rate)

    @property
    def ends_early(self) -> bool:
        """Whether an Ogg stream lacks the mark of its end; it says nothing of its length."""
        return "lacks an end-of-stream bit" in self._sound.extra_info

    @property
    def is_mp3(self) -> bool:
        """Whether the format is MP3."""
        return str(self._sound.format) in ("MP3", "MPEG")

    def _promised_frames(self) -> int:
        if self._sound.format != "NIST":
            return int(self._sound.frames)
        position = self._file.tell()
        self._file.seek(0)
        found = re.search(rb"\bsample_count -i (\d+)", self._file.read(1024))
        self._file.seek(position)
        return int(found[1]) if found else 0

    def close(self) -> None:
        """Let go of the file."""
        self._sound.close()


class ContainerReader:
    """The first audio stream of mp4, m4a, webm, mkv and whatever else PyAV reads.

    Raises
    ------
    AudioError
        If there is no audio in the file, or it is damaged.
    MissingExtraError
        If PyAV is not installed.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        try:
            import av
        except ImportError:
            raise MissingExtraError("PyAV", "media", f"{name}: reading mp4, m4a, webm and similar containers") from None
        self._name, self._av = name, av
        try:
            with interrupts_wait():
                self._container = av.open(file)
            self._stream = self._container.streams.audio[0]
        except (av.FFmpegError, IndexError) as error:
            reason = "it has no audio stream" if isinstance(error, IndexError) else error.strerror or error
            raise AudioError(f"{name}: is not audio that can be read ({reason})") from None
        self.sample_rate = int(self._stream.rate)
        # Containers state what encoders padded, and live recordings nothing.
        self.stated_seconds = 0.0

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `Reader`."""
        resampler = self._av.AudioResampler(format="flt")
        position, parts = 0, []
        try:
            for frame in self._frames():
                for part in resampler.resample(frame):
                    block = part.to_ndarray().reshape(-1, len(part.layout.channels))
                    parts.append(block[max(0, first - position) : None if last is None else max(0, last - position)])
                    position += len(block)
                # Frames are of a few milliseconds.
                if sum(map(len, parts)) >= BLOCK_SAMPLES:
                    yield np.concatenate(parts)
                    parts = []
                if last is not None and position >= last:
                    break
            if parts:
                yield np.concatenate(parts)
        except self._av.FFmpegError as error:
            raise AudioError(
                f"{self._name}: is damaged after {position / self.sample_rate:.1f} s ({error.strerror or error}); "
                "expected a whole file"
            ) from None

    def _frames(self) -> Iterator[Any]:
        frames = self._container.decode(self._stream)
        while True:
            with interrupts_wait():
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def missing_seconds(self, num_read: int) -> float:
        """Return how much the header promises beyond what is there."""
        duration = self._stream.duration
        return 0.0 if duration is None else float(duration * self._stream.time_base) - num_read / self.sample_rate

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()


def open_reader(file: BinaryIO, name: str) -> SoundReader | ContainerReader:
    """Return the reader that knows the format of an open file.

    Raises
    ------
    AudioError
        If none does, or the header makes no sense.
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """
    import soundfile

    reader: SoundReader | ContainerReader
    try:
        reader = SoundReader(file, name)
    except soundfile.LibsndfileError as error:
        reason = _reason(error)
        file.seek(0)
        head = file.read(16)
        file.seek(0)
        if "SF_INFO struct incomplete" in reason:
            reason = "its header states a sample rate or a number of channels of 0"
        if not _is_container(head):
            raise AudioError(f"{name}: is not audio in a format that can be read ({reason})") from None
        reader = ContainerReader(file, name)
    try:
        check_recorded_rate(reader.sample_rate, f"{name}: its header states")
    except AudioError:
        reader.close()
        raise
    return reader


def check_recorded_rate(rate: float, got: str) -> None:
    """Refuse a rate in Hz that no recording of speech has; `got` begins the message.

    Raises
    ------
    AudioError
    """
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(f"{got} a sample rate of {rate} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")


def starts_too_late(name: str, start_seconds: float, end_seconds: float = 0.0) -> str:
    """Return the message for a part that begins behind the end, which is not known where it is 0."""
    end = f"at {end_seconds:g} s" if end_seconds else "before that"
    return f"{name}: the part starts at {start_seconds:g} s, but the audio ends {end}"


class _Seekable:
    """A file as libsndfile sees it: no name to guess from, and no exception where damaged files point before it.

    soundfile calls these methods from C, where an exception cannot pass and is printed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, or stay where the target is impossible."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return self.tell()


def _reason(error: Any) -> str:
    return str(error.error_string).strip().rstrip(".")


def _is_container(head: bytes) -> bool:
    """Whether the first 16 bytes are of a container that only PyAV reads (mp4, Matroska, ASF, ADTS, AMR)."""
    return head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"\xff\xf1", b"\xff\xf9", b"#!AMR"))
