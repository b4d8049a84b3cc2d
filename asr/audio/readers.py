"""Read samples: by libsndfile, by PyAV where libsndfile refuses or stops early, or directly from arrays."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio.container import ContainerReader
from asr.audio.headers import Survey
from asr.audio.sound import BLOCK_SAMPLES, DamageError, SoundReader, reason_of
from asr.audio.sources import check_shape, float_samples
from asr.audio.survey import MAX_RATE_HZ, MIN_RATE_HZ
from asr.errors import AudioError, MissingExtraError

# libsndfile is not asked for a file of which it would read so much less than there is.
MAX_UNREAD_SECONDS = 0.1

# What packets hold and was not read is worth a word from here on; what headers promise a little later: encoders pad
# and trim by less.
MIN_MISSING_SECONDS = 0.1
MIN_PROMISED_SECONDS = 0.12


class Reader(Protocol):
    """Reads samples in blocks."""

    sample_rate: int
    num_channels: int

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
        self.num_channels = 1 if array.ndim == 1 else array.shape[1]
        self.stated_seconds = len(array) / sample_rate

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `Reader`."""
        end = len(self._array) if last is None else min(last, len(self._array))
        for begin in range(first, end, BLOCK_SAMPLES):
            yield float_samples(self._array[begin : min(end, begin + BLOCK_SAMPLES)])

    def missing_seconds(self, num_read: int) -> float:  # noqa: ARG002 - an array lacks nothing
        """Return 0."""
        return 0.0

    def close(self) -> None:
        """Do nothing."""


class MendingReader:
    """libsndfile, and PyAV for what follows where libsndfile finds the file damaged."""

    def __init__(self, reader: SoundReader, file: BinaryIO, name: str, found: Survey) -> None:
        self._sound = reader
        self._mending: ContainerReader | None = None
        self._file, self._name = file, name
        self.sample_rate, self.num_channels = reader.sample_rate, reader.num_channels
        self.stated_seconds = reader.stated_seconds
        self.damage = ""
        self._found = found

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield samples; see `Reader`."""
        position, has_ended = first, False
        try:
            for block in self._sound.blocks(first, last):
                position += len(block)
                yield block
            # libsndfile may end within an MP3 file and say nothing.
            if last is None and self._found.seconds - position / self.sample_rate > MAX_UNREAD_SECONDS:
                has_ended = True
                raise DamageError(self._name, position, self.sample_rate, "the decoder stops there")
        except DamageError as damage:
            self._file.seek(0)
            try:
                reader = ContainerReader(self._file, self._name)
                if (reader.sample_rate, reader.num_channels) != (self.sample_rate, self.num_channels):
                    raise damage
            except (AudioError, MissingExtraError):
                if has_ended:
                    return
                raise damage from None
            self._mending, self.damage = reader, damage.reason
            yield from reader.blocks(damage.position, last)

    def missing_seconds(self, num_read: int) -> float:
        """Return what is missing according to the reader that knows of more."""
        known = self._mending.missing_seconds(num_read) if self._mending else 0.0
        return max(known, self._sound.missing_seconds(num_read))

    def close(self) -> None:
        """Let go of the file."""
        self._sound.close()
        if self._mending:
            self._mending.close()


def open_reader(file: BinaryIO, name: str, found: Survey, track: int | None = None) -> Reader:
    """Return a reader for an open file.

    Parameters
    ----------
    file : binary file
    name : str
        For messages.
    found : Survey
        The length of the file by its packets.
    track : int, optional
        Which audio track of a container, from 0.

    Raises
    ------
    AudioError
        If no reader can read it, or the header is invalid.
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """
    reader = _choose(file, name, found, track)
    try:
        check_recorded_rate(reader.sample_rate, f"{name}: its header states")
        if not reader.num_channels:
            raise AudioError(f"{name}: its header states 0 channels; expected 1 or more")
    except AudioError:
        reader.close()
        raise
    return reader


def _choose(file: BinaryIO, name: str, found: Survey, track: int | None) -> Reader:
    import soundfile

    if track is not None:
        return ContainerReader(file, name, track)
    sound, reason = None, ""
    try:
        sound = SoundReader(file, name, found)
    except soundfile.LibsndfileError as error:
        reason = reason_of(error)
    reads_all = sound is not None and found.seconds - sound.stated_seconds <= MAX_UNREAD_SECONDS
    # A WAV file without a size was mended; one that has no samples all the same is empty.
    has_samples = sound is not None and (sound.stated_seconds > 0 or sound.is_wav)
    if sound is not None and has_samples and reads_all and not found.has_no_total:
        return MendingReader(sound, file, name, found)
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    try:
        container = ContainerReader(file, name)
    except (AudioError, MissingExtraError) as error:
        if sound is not None:
            sound.close()
        file.seek(0)
        if sound is not None:
            return SoundReader(file, name, found)
        if isinstance(error, MissingExtraError) and not _is_container(head):
            raise AudioError(f"{name}: is not audio in a format that can be read ({reason}); {_more(error)}") from None
        if "SF_INFO struct incomplete" in reason:
            reason = "its header states a sample rate or a number of channels of 0"
            raise AudioError(f"{name}: is not audio in a format that can be read ({reason})") from None
        raise
    if sound is not None:
        sound.close()
    return container


def _more(error: MissingExtraError) -> str:
    return "PyAV reads more of them: " + str(error).rpartition(": ")[2]


def check_recorded_rate(rate: float, got: str) -> None:
    """Refuse a sample rate in Hz that is impossible for a recording of speech; `got` begins the message.

    Raises
    ------
    AudioError
    """
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(f"{got} a sample rate of {rate} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")


def _is_container(head: bytes) -> bool:
    """Whether the first 16 bytes are of a container that only PyAV reads (mp4, Matroska, ASF, ADTS, …)."""
    begins = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"\xff\xf1", b"\xff\xf9", b"#!AMR", b"FLV", b"wvpk", b"\x0b\x77")
    return head[4:8] == b"ftyp" or head.startswith(begins)


def what_is_missing(reader: Reader, found: Survey, num_read: int) -> Iterator[str]:
    """Say what of a file was not among the `num_read` samples that its reader has read, and what was damaged."""
    seconds = num_read / reader.sample_rate
    damage = reader.damage if isinstance(reader, MendingReader) else ""
    stated = found.promised_seconds - seconds if found.promised_seconds else 0.0
    promised = max(reader.missing_seconds(num_read), found.lost_seconds, stated)
    unread = found.seconds - seconds
    if unread >= MIN_MISSING_SECONDS:
        parts = f" (it holds {found.num_parts} recordings, one after the other)" if found.num_parts > 1 else ""
        is_pyav = damage or isinstance(reader, ContainerReader)
        more = "" if is_pyav else "; PyAV can read them: pip install 'ctc-asr[media]'"
        yield f"ends after {seconds:.2f} s, but holds {unread:.2f} s more{parts}{more}"
    elif promised >= MIN_PROMISED_SECONDS:
        # Ogg's pages tell only where they end themselves.
        least = "at least " if found.ends_by_mark else ""
        yield f"ends after {seconds:.2f} s, but its header promises {least}{promised:.2f} s more: the file is truncated"
    elif found.is_open and found.ends_by_mark:
        yield f"breaks off after {seconds:.2f} s, without an end mark"
    if found.damaged_seconds >= MIN_MISSING_SECONDS:
        yield f"is damaged; {found.damaged_seconds:.2f} s of it could not be read"
    if damage:
        yield f"{damage}; {seconds:.2f} s could still be read"
