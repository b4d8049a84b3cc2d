"""Audio block by block, in bounded memory: mono, finite, at the wanted rate."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from asr.audio.container import ContainerReader
from asr.audio.headers import Survey
from asr.audio.joined import Section
from asr.audio.levels import count_cancelled
from asr.audio.readers import ArrayReader, Reader, check_recorded_rate, open_reader, what_is_missing
from asr.audio.resampling import check_rate, resample_blocks
from asr.audio.sound import starts_too_late
from asr.audio.sources import AudioSource, Waveform, open_source
from asr.audio.survey import survey
from asr.errors import AudioError, MissingExtraError

# Samples beyond this, NaN and infinite ones are those of a damaged file; resampling could make them infinite.
MAX_SAMPLE = 1e12
# Channels that cancel each other out are looked for in stretches of this length.
PHASE_SECONDS = 0.25
# Of recordings that follow one another, no part shorter than this is read: it may have no sample.
MIN_PART_SECONDS = 5e-4
# No recording lasts for 30 years.
MAX_SECONDS = 1e9


class AudioWarning(UserWarning):
    """Audio that could be read, but probably not as intended."""


class IncompleteAudioWarning(AudioWarning):
    """Audio of which a part is missing: its header or its packets promise more than could be read."""


@dataclass(frozen=True)
class AudioPart:
    """A part of a source of audio; times stay those of the whole.

    Parameters
    ----------
    source : path, bytes, binary file object, Waveform, or ndarray
    start_seconds, end_seconds, channels, audio_track
        As for `asr.load_audio`.
    """

    source: AudioSource
    start_seconds: float = 0.0
    end_seconds: float | None = None
    channels: Sequence[int] | None = None
    audio_track: int | None = None

    def open(self, sample_rate: int, source_rate: int | None = None) -> "AudioStream":
        """Return its samples as a stream; raises as `AudioStream`."""
        return AudioStream(
            self.source,
            sample_rate,
            source_rate=source_rate,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
            channels=self.channels,
            audio_track=self.audio_track,
        )


class AudioStream:
    """Audio read on demand; iterate over it once, and close it (it is a context manager).

    Iterating yields float32 mono blocks ``(num_samples,)`` at `sample_rate`, of any length above 0.

    Parameters
    ----------
    source : path, bytes, binary file object, Waveform, or ndarray
        An array is ``(num_samples,)`` or ``(num_samples, channels)``; floats are taken in [-1, 1], integers are
        divided by the full scale of their type. A pipe is first copied to a temporary file.
    sample_rate : int
        Wanted rate in Hz.
    source_rate : int, optional
        The rate of an array in Hz; required for arrays, ignored for files, which say their own.
    start_seconds, end_seconds : float
        The part to read; the whole by default.
    channels : sequence of int, optional
        The channels, counted from 0, that are averaged; all by default.
    audio_track : int, optional
        Which audio track of a film to read, counted from 0; by default the first. Needs PyAV.

    Attributes
    ----------
    name : str
        For messages.
    num_channels : int
        How many channels the source has.
    warnings : list of AudioWarning
        Problems of audio that could still be read: complete after the last block.

    Raises
    ------
    AudioError
        Here, if the source is missing, empty, or not audio, or an array has no rate; while reading, if it has no
        samples (in that part) or damaged, NaN or infinite ones, or an array has floats far outside [-1, 1].
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """

    def __init__(
        self,
        source: AudioSource,
        sample_rate: int,
        *,
        source_rate: int | None = None,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        channels: Sequence[int] | None = None,
        audio_track: int | None = None,
    ) -> None:
        check_rate(sample_rate)
        if not 0 <= start_seconds < (MAX_SECONDS if end_seconds is None else end_seconds) <= MAX_SECONDS:
            raise AudioError(
                f"got the part {start_seconds}–{end_seconds} s; expected 0 ≤ start_seconds < end_seconds, and no more "
                f"than {MAX_SECONDS:g} s"
            )
        self.sample_rate = sample_rate
        self.warnings: list[AudioWarning] = []
        self._start, self._end = start_seconds, end_seconds
        self._is_track_chosen = audio_track is not None
        self._channels = list(channels) if channels is not None else None
        self._track = audio_track
        self._file: BinaryIO | None = None
        self._size = 0
        self._survey = Survey()
        # Of a file that is several recordings, where each begins and ends.
        self._sections: list[tuple[int, int]] = []
        # Where reading ended.
        self._position_seconds = 0.0
        self._cancelled_seconds = self._paused_seconds = 0.0
        self._reader: Reader
        if isinstance(source, Waveform):
            source_rate = source.sample_rate
            source = source.samples
        if isinstance(source, np.ndarray):
            if source_rate is None:
                raise AudioError("an array of samples has no sample rate: give source_rate in Hz")
            check_rate(source_rate)
            self.name = f"array of shape {source.shape}"
            check_recorded_rate(source_rate, f"{self.name}: got")
            self._reader = ArrayReader(source, source_rate)
            return
        self.name, file = (source.name, source) if isinstance(source, Section) else open_source(source)
        self._file = file
        try:
            self._size = file.seek(0, os.SEEK_END)
            self._survey = survey(file)
            self._reader = self._open_first(file)
        except OSError as error:
            file.close()
            raise AudioError(f"{self.name}: cannot be read ({error.strerror or error})") from None
        except BaseException:
            file.close()
            raise

    def _open_first(self, file: BinaryIO) -> Reader:
        """Return a reader of the file, or of its first recording if several follow one another."""
        if places := self._survey.places:
            self._sections = list(pairwise((0, *places, self._size)))
            file = Section(file, 0, places[0], self.name)
            self._survey = replace(survey(file), places=())
        return open_reader(file, self._name_of(0), self._survey, self._track)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        if self._file is not None:
            self._file.close()

    @property
    def num_channels(self) -> int:
        """How many channels the source has."""
        return self._reader.num_channels

    @property
    def fraction(self) -> float:
        """How much of the file's bytes was read so far, in 0..1; 0 for an array."""
        # FFmpeg may seek to behind the end.
        return min(1.0, self._file.tell() / self._size) if self._file is not None and not self._file.closed else 0.0

    @property
    def stated_seconds(self) -> float:
        """The duration in seconds that the header states, as far as the file is there; 0 if it states none."""
        first = self._survey.seconds or self._reader.stated_seconds
        if not (first and self._sections):
            return first
        try:
            rest = [self._seconds_of(number, is_stated=True) for number in range(1, len(self._sections))]
        except (AudioError, MissingExtraError):
            return 0.0
        return first + sum(rest) if all(rest) else 0.0

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        is_empty = True
        try:
            for block in self._recordings():
                if len(block):
                    is_empty = False
                    yield block
        except OSError as error:
            raise AudioError(f"{self.name}: cannot be read ({error.strerror or error})") from None
        if is_empty:
            raise AudioError(
                starts_too_late(self.name, self._start)
                if self._start
                else f"{self.name}: holds no samples; expected audio"
            )
        self._look_at_the_whole()

    def _recordings(self) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks of all recordings that follow one another in the file."""
        if self._sections and self._start and (seconds := self._seconds_of(0)) - self._start < MIN_PART_SECONDS:
            self._position_seconds = seconds
        else:
            yield from resample_blocks(self._mono(), self._reader.sample_rate, self.sample_rate)
        for number, (begin, end) in enumerate(self._sections[1:], 1):
            if self._end is not None and self._end - self._position_seconds < MIN_PART_SECONDS:
                return
            position = self._position_seconds
            try:
                yield from self._following(number)
            except (AudioError, MissingExtraError) as error:
                is_begun = self._position_seconds > position
                unread = "the rest of it was" if is_begun else f"these {end - begin} bytes were"
                self.warnings.append(IncompleteAudioWarning(f"{error}; {unread} not read"))

    def _following(self, number: int) -> Iterator[NDArray[np.float32]]:
        before = self._position_seconds
        start = max(0.0, self._start - before)
        if start and (seconds := self._seconds_of(number)) - start < MIN_PART_SECONDS:
            self._position_seconds += seconds
            return
        with self._recording(number, start, None if self._end is None else self._end - before) as part:
            try:
                yield from part
            finally:
                self._position_seconds += part._position_seconds
            self._cancelled_seconds += part._cancelled_seconds
            self._paused_seconds += part._paused_seconds
            # The others are said once, of the whole.
            self.warnings += [warning for warning in part.warnings if isinstance(warning, IncompleteAudioWarning)]

    def _recording(self, number: int, start: float = 0.0, end: float | None = None) -> "AudioStream":
        assert self._file is not None
        return AudioStream(
            Section(self._file, *self._sections[number], self._name_of(number)),
            self.sample_rate,
            start_seconds=start,
            end_seconds=end,
            channels=self._channels,
            audio_track=self._track,
        )

    def _name_of(self, number: int) -> str:
        return f"{self.name} (recording {number + 1} of {len(self._sections)})" if self._sections else self.name

    def _seconds_of(self, number: int, *, is_stated: bool = False) -> float:
        with self._recording(number) as part:
            return part.stated_seconds or (0.0 if is_stated else sum(map(len, part._recordings())) / self.sample_rate)

    def _mono(self) -> Iterator[NDArray[np.float32]]:
        """Average the channels of each block, and see that all of it is finite."""
        rate = self._reader.sample_rate
        first = round(self._start * rate)
        last = None if self._end is None else round(self._end * rate)
        offset = first
        for block in self._reader.blocks(first, last):
            block = self._selected(block)
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
            if block.shape[1] > 1:
                self._cancelled_seconds += count_cancelled(block, mono, max(1, round(PHASE_SECONDS * rate))) / rate
            finite = np.abs(mono) < MAX_SAMPLE
            if not finite.all():
                place = (offset + finite.argmin()) / rate
                raise AudioError(
                    f"{self.name}: has NaN or infinite samples, the first at {place:.3f} s; expected finite audio"
                )
            offset += len(mono)
            self._position_seconds = offset / rate
            yield mono
        if isinstance(self._reader, ContainerReader):
            self._paused_seconds += self._reader.paused_seconds
        if offset > first and (last is None or offset < last):
            self._look_for_the_rest(offset)

    def _selected(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the wanted channels of a block, ``(num_samples, channels)``."""
        block = block[:, np.newaxis] if block.ndim == 1 else block
        if self._channels is None:
            return block
        if not self._channels or min(self._channels) < 0 or max(self._channels) >= block.shape[1]:
            has = "1 channel" if block.shape[1] == 1 else f"{block.shape[1]} channels"
            raise AudioError(f"{self.name}: has {has}; got {self._channels}, counted from 0")
        return block[:, self._channels]

    def _look_for_the_rest(self, num_read: int) -> None:
        for message in what_is_missing(self._reader, self._survey, num_read):
            self._incomplete(message)
        if self._file is None:
            return
        place = self._file.tell()
        has_grown = self._file.seek(0, os.SEEK_END) > self._size
        self._file.seek(place)
        if has_grown:
            seconds = num_read / self._reader.sample_rate
            self._incomplete(f"grew while it was read; the first {seconds:.2f} s were used")

    def _incomplete(self, message: str) -> None:
        self.warnings.append(IncompleteAudioWarning(f"{self._name_of(0)}: {message}"))

    def _look_at_the_whole(self) -> None:
        if self._cancelled_seconds >= PHASE_SECONDS:
            self.warnings.append(
                AudioWarning(
                    f"{self.name}: its channels cancel each other out for {self._cancelled_seconds:.1f} s when they "
                    "are averaged; choose one (--channel 1), or transcribe each separately (--channel each)"
                )
            )
        if self._paused_seconds:
            message = f"has gaps of {self._paused_seconds:.1f} s in its clock; they are filled with silence"
            self.warnings.append(AudioWarning(f"{self.name}: {message}"))
        tracks = self._reader.num_tracks if isinstance(self._reader, ContainerReader) else 1
        if tracks > 1 and not self._is_track_chosen:
            self.warnings.append(
                AudioWarning(
                    f"{self.name}: has {tracks} audio tracks; the first was read (--audio-track 2 for another)"
                )
            )
