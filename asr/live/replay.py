"""Recordings run through live recognition: their words, and how late each was shown."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioPart
from asr.decoder import Word
from asr.errors import AsrError, AudioError, MissingExtraError
from asr.live.events import EndOfUtterance, Event, Stable, shifted, transcript_of
from asr.live.listener import Listener
from asr.live.model import LiveModel
from asr.transcription.inputs import Recording
from asr.transcription.job import Result, source_of
from asr.transcription.transcribe import OnProgress
from asr.transcription.transcript import Transcript

# Pushed at a time; about the block size of a sound card.
PUSHED_SECONDS = 0.04


@dataclass(frozen=True)
class Shown:
    """A word, and when it was shown, in seconds of the stream.

    Parameters
    ----------
    word : Word
        With times of the stream.
    partial_seconds : float
        From when on it was shown as it is, though it might have changed.
    stable_seconds : float
        When it became stable; NaN if only the end of the stream made it so.
    """

    word: Word
    partial_seconds: float
    stable_seconds: float


class Timeline:
    """Collects the events of a stream with the times at which they came.

    Attributes
    ----------
    events : list of Event
    duration : float
        Of the recording, in seconds.
    warnings : tuple of str
        About the recording.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.duration = 0.0
        self.warnings: tuple[str, ...] = ()
        self._stable: list[tuple[Word, float]] = []
        # What was shown at a time: number of words stable before, and the texts of all after them.
        self._moments: list[tuple[float, int, list[str]]] = []
        self._partial: list[str] = []

    def add(self, events: Iterable[Event], seconds: float, *, is_end: bool = False) -> None:
        """Add events with their time; words of the end of the stream have no time of becoming stable."""
        before = len(self._stable)
        new: list[str] = []
        for event in events:
            self.events.append(event)
            if isinstance(event, Stable):
                self._stable += [(word, np.nan if is_end else seconds) for word in event.words]
                new += [word.text for word in event.words]
            elif isinstance(event, EndOfUtterance):
                self._partial = []
            else:
                self._partial = [word.text for word in event.words]
        self._moments.append((seconds, before, new + self._partial))

    def shown(self) -> list[Shown]:
        """Return all words, in order, at the end of the stream."""
        result = []
        for index, (word, stable) in enumerate(self._stable):
            since = self._moments[-1][0]
            for seconds, before, texts in reversed(self._moments):
                place = index - before
                if place < 0:
                    continue
                if place >= len(texts) or texts[place] != word.text:
                    break
                since = seconds
            result.append(Shown(word, since, stable))
        return result

    @property
    def first_seconds(self) -> float:
        """When something was shown first; the end, if nothing was."""
        return next((seconds for seconds, _, texts in self._moments if texts), self._moments[-1][0])

    def transcript(self, start_seconds: float = 0.0) -> Transcript:
        """Return all utterances with times of the recording, which the stream enters at `start_seconds`."""
        whole = transcript_of(self.events)
        segments = tuple(
            replace(
                segment,
                start=segment.start + start_seconds,
                end=segment.end + start_seconds,
                words=shifted(segment.words, start_seconds),
            )
            for segment in whole.segments
        )
        return replace(whole, segments=segments, duration=self.duration, warnings=self.warnings)


@dataclass
class Latency:
    """How late words were shown, in seconds after their ends.

    Attributes
    ----------
    first_partial : list of float
        Of each stream, from the start of its first word to when anything was shown.
    partial, stable : list of float
        Of each word; words that only the end of the stream made stable are left out of `stable`.
    audio_seconds, wall_seconds : float
        Duration of the streams, and of the computation.
    """

    first_partial: list[float] = field(default_factory=list)
    partial: list[float] = field(default_factory=list)
    stable: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0

    def add(self, pairs: Sequence[tuple[Shown, Word]], first_seconds: float) -> None:
        """Add the words of a stream, each paired with the word as it was said, and when text was shown first."""
        if not pairs:
            return
        self.first_partial.append(first_seconds - pairs[0][1].start_seconds)
        for shown, said in pairs:
            self.partial.append(shown.partial_seconds - said.end_seconds)
            if not np.isnan(shown.stable_seconds):
                self.stable.append(shown.stable_seconds - said.end_seconds)

    def lines(self) -> list[str]:
        """Return the figures as lines of text: median and 95th percentile in milliseconds."""
        names = {"first letters shown": self.first_partial, "words shown": self.partial, "words stable": self.stable}
        after = {"first letters shown": "the start of their word"}
        rows = [
            f"{name}: {1000 * np.median(values):.0f} ms after {after.get(name, 'their ends')}, 95 % within "
            f"{1000 * np.percentile(values, 95):.0f} ms ({len(values)})"
            for name, values in names.items()
            if values
        ]
        if self.wall_seconds:
            rows.append(f"{self.audio_seconds:.1f} s heard, {self.audio_seconds / self.wall_seconds:.1f} × real time")
        return rows


def hear_audio(model: LiveModel, source: AudioPart, latency: Latency) -> Timeline:
    """Recognise a recording as a stream, at full speed; times are as in real time, computation included.

    Raises
    ------
    AudioError
        If the source is no usable audio.
    """
    rate = model.log_mel.config.sample_rate
    with source.open(rate) as stream:
        step = round(PUSHED_SECONDS * rate)
        pieces = (block[first : first + step] for block in stream for first in range(0, len(block), step))
        timeline = _hear(Listener(model), pieces, 1 / rate, latency)
        timeline.warnings = tuple(map(str, stream.warnings))
    return timeline


def hear_features(model: LiveModel, features: NDArray[np.floating[Any]], latency: Latency) -> Timeline:
    """Do the same with the features ``(T, F)`` of a recording."""
    config = model.log_mel.config
    step = max(1, round(PUSHED_SECONDS / config.hop_seconds))
    listener = Listener(model)
    pieces = (features[first : first + step] for first in range(0, len(features), step))
    return _hear(listener, pieces, config.hop_seconds, latency, is_features=True)


def _hear(
    listener: Listener,
    pieces: Iterable[NDArray[np.floating[Any]]],
    step_seconds: float,
    latency: Latency,
    *,
    is_features: bool = False,
) -> Timeline:
    timeline, count, ready = Timeline(), 0, 0.0
    push = listener.push_features if is_features else listener.push
    for piece in pieces:
        count += len(piece)
        started = time.perf_counter()
        events = push(piece)
        took = time.perf_counter() - started
        latency.wall_seconds += took
        # A piece is recognised once it has been said and the one before it is done.
        ready = max(ready, count * step_seconds) + took
        if events:
            timeline.add(events, ready)
    started = time.perf_counter()
    events = listener.close()
    latency.wall_seconds += time.perf_counter() - started
    latency.audio_seconds += count * step_seconds
    timeline.duration = count * step_seconds
    timeline.add(events, max(ready, timeline.duration), is_end=True)
    return timeline


def stream_recordings(
    model: LiveModel, recordings: Sequence[Recording], part: AudioPart, latency: Latency, progress: OnProgress
) -> Iterator[Result]:
    """Yield the result of each recording, in order; delays by the words' own times are added to `latency`."""
    for index, recording in enumerate(recordings):
        try:
            timeline = hear_audio(model, source_of(recording, part), latency)
        except AsrError as error:
            is_named = isinstance(error, AudioError | MissingExtraError)
            yield Result(index, None, str(error) if is_named else f"{recording.path}: {error}")
            continue
        latency.add([(shown, shown.word) for shown in timeline.shown()], timeline.first_seconds)
        transcript = replace(timeline.transcript(part.start_seconds), channel=recording.channel)
        progress(index, 1.0, transcript.duration)
        yield Result(index, transcript)
