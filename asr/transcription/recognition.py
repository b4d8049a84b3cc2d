"""Recordings → log-probabilities of utterances: read, cut, features, network, stitch, in bounded memory.

Many recordings go through together: pieces of similar length share a batch, whichever recording they come from.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioPart, AudioSource, AudioStream
from asr.audio.levels import fill_dead_air
from asr.bundle.front_end import FrontEnd
from asr.bundle.runtime import Runtime
from asr.errors import AsrError
from asr.tokenizer import BLANK
from asr.transcription.segments import Piece, cut_audio, is_tone
from asr.transcription.stitching import Stitcher, Utterance

# Feature frames that go through the network together, padding included. More need more memory and are no faster.
BATCH_FRAMES = 4000
# A network that takes waveforms has samples for frames; so many of them count as one.
SAMPLES_PER_FRAME = 160
# Batches are made of pieces that are sorted by length within so many frames; fewer at first, so that something is soon
# to be seen.
WINDOW_FRAMES = 60_000
# Log-probability of what is not said.
NEVER = -30.0


@dataclass(frozen=True)
class RecognisedPiece:
    """A piece of a recording, by its features instead of its samples.

    Parameters
    ----------
    piece : Piece
    features : ndarray, shape (T, F), float16; or (num_samples, 1), float32
    total_seconds : float
        An estimate of the whole recording's duration; 0 where there is none.
    is_tone : bool
        Whether it is a tone and not speech, whatever the network makes of it.
    """

    piece: Piece
    features: NDArray[np.floating[Any]]
    total_seconds: float
    is_tone: bool


@dataclass(frozen=True)
class EndOfRecording:
    """The end of a recording: `error` is None if all of it was read."""

    duration_seconds: float
    warnings: tuple[str, ...]
    error: AsrError | None


# A window: pieces and ends of recordings in their order, each with the utterances that end in it.
Event = RecognisedPiece | EndOfRecording
Window = list[tuple[Event, list[Utterance]]]


@dataclass(frozen=True)
class Recogniser:
    """Recognises recordings, one after another or several together.

    Parameters
    ----------
    front_end : FrontEnd
    runtime : Runtime
    make_stitcher : callable
    frame_samples : int
        Samples from one frame of log-probabilities to the next.
    fills_dead_air : bool
        Whether to replace digital silence by noise, as models that normalise by utterance need.
    max_seconds : float
        The longest piece that the network takes; 0: any.
    """

    front_end: FrontEnd
    runtime: Runtime
    make_stitcher: Callable[[], Stitcher]
    frame_samples: int
    fills_dead_air: bool
    max_seconds: float = 0.0

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """Return the features ``(T, F)`` of samples ``(num_samples,)`` that are recognised as they are."""
        # Evaluation gives the same words, where transcription neither cuts the recording nor leaves silence out.
        return self.front_end(fill_dead_air(samples, self.front_end.sample_rate) if self.fills_dead_air else samples)

    def recognise(self, sources: Iterable[AudioSource | AudioPart], source_rate: int | None) -> Iterator[Window]:
        """Yield the pieces and the ends of recordings, each with the utterances that end in it; some minutes at a time.

        Parameters
        ----------
        sources : iterable
        source_rate : int or None
            The rate of arrays in Hz.
        """
        return self._windows(event for source in sources for event in self._read(source, source_rate))

    def _read(self, source: AudioSource | AudioPart, source_rate: int | None) -> Iterator[Event]:
        """Yield the pieces of a recording and its ending; what is wrong with it is in the ending."""
        rate = self.front_end.sample_rate
        part = source if isinstance(source, AudioPart) else AudioPart(source)
        num_samples, error, warnings = 0, None, []

        def counted(audio: AudioStream) -> Iterator[NDArray[np.float32]]:
            nonlocal num_samples
            for block in audio:
                num_samples += len(block)
                yield block

        try:
            with part.open(rate, source_rate) as audio:
                # Times are those of the whole recording.
                skipped = round(part.start_seconds * rate)
                for piece, samples in cut_audio(counted(audio), rate, self.frame_samples, self.max_seconds):
                    if len(samples) < self.frame_samples:
                        # A recording of less than an output frame: no sound of speech is as short.
                        continue
                    total = (skipped + num_samples) / rate / audio.fraction if audio.fraction else 0.0
                    placed = replace(piece, span_start=piece.span_start + skipped)
                    yield RecognisedPiece(placed, self.features(samples), total, is_tone(samples, rate))
                warnings = list(map(str, audio.warnings))
        except AsrError as caught:
            error = caught
        yield EndOfRecording(num_samples / rate, tuple(warnings), error)

    def _windows(self, events: Iterable[Event]) -> Iterator[Window]:
        """Yield pieces, each with the utterances that end in it, and ends; some minutes of audio at a time."""
        stitcher = self.make_stitcher()
        for window in _windows(events):
            heard = [event for event in window if isinstance(event, RecognisedPiece)]
            log_probs = iter(run_in_batches(self.runtime, [event.features for event in heard]))
            done: Window = []
            for event in window:
                if isinstance(event, RecognisedPiece):
                    rows = next(log_probs)
                    if event.is_tone:
                        rows = np.full_like(rows, NEVER)
                        rows[:, BLANK] = 0.0
                    done.append((event, list(stitcher.push(event.piece, rows))))
                else:
                    # A recording that broke off leaves the stitcher in the middle.
                    done.append((event, []))
                    stitcher = self.make_stitcher()
            yield done


def run_in_batches(runtime: Runtime, features: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float32]]:
    """Return the log-probabilities ``(T', V)`` of each of `features`, those of similar length run together.

    Parameters
    ----------
    runtime : Runtime
    features : sequence of ndarray, each ``(T, F)``
    """
    if not runtime.batches:
        return runtime(features)
    results: dict[int, NDArray[np.float32]] = {}
    for batch in batches_by_length([num_frames(rows) for rows in features]):
        results.update(zip(batch, runtime([features[index] for index in batch]), strict=True))
    return [results[index] for index in range(len(features))]


def num_frames(features: NDArray[np.floating[Any]]) -> int:
    """Return how many frames the features ``(T, F)`` of an utterance count for, where frames are counted."""
    return len(features) if features.shape[1] > 1 else -(-len(features) // SAMPLES_PER_FRAME)


def batches_by_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the indices of utterances of similar length, the longest first, as many as fit into `BATCH_FRAMES`."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    first = 0
    while first < len(order):
        last = first + max(1, BATCH_FRAMES // max(1, lengths[order[first]]))
        yield order[first:last]
        first = last


def _windows(events: Iterable[Event]) -> Iterator[list[Event]]:
    window: list[Event] = []
    frames, limit = 0, BATCH_FRAMES
    for event in events:
        window.append(event)
        frames += num_frames(event.features) if isinstance(event, RecognisedPiece) else 0
        if frames >= limit:
            yield window
            window, frames, limit = [], 0, min(2 * limit, WINDOW_FRAMES)
    if window:
        yield window
