"""Streams of samples → events: what is said, as soon as nothing to come can change it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from asr.audio.stream import check_rate
from asr.bundle.bundle import Bundle
from asr.bundle.front_end import LogMelFrontEnd
from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.decoder import Labels
from asr.errors import UsageError
from asr.live.endpoint import EndpointRules, Reason
from asr.live.events import EndOfUtterance, Event, Partial, Stable, UtteranceDecoder, begin_utterance, shifted
from asr.live.frames import FeatureStream, check_samples
from asr.live.network import NetworkStream, StreamingNetwork
from asr.tokenizer import BLANK
from asr.transcription.decoding import Decoder, DecodingKeywords, DecodingOptions, make_decoder
from asr.transcription.transcript import Segment, Transcript

# Of models in one direction, and of two: a chunk of two directions is run again with its context, and so is longer.
CHUNK_SECONDS = 0.16
CHUNK_SECONDS_BIDIRECTIONAL = 0.32
CONTEXT_SECONDS = 0.6


class LiveModel:
    """A model that is loaded once, for any number of streams.

    Parameters
    ----------
    model : Bundle, path or str
        A bundle that can stream, its directory, or the name of one that ships.
    chunk_seconds, context_seconds : float, optional
        How much goes through the network at once, and, of bidirectional models, how much of what follows it sees. The
        words come so much later, and are the better for it.
    threads : int
        Threads of the CPU; 0: as many as there are cores.
    endpoint : EndpointRules
    decoder : DecodingOptions, optional
        How log-probabilities become words.
    **decoding
        Or its fields, one by one.

    Raises
    ------
    UsageError
        If the model cannot stream (the message says why), or an option is out of its range.
    """

    def __init__(
        self,
        model: Bundle | str | os.PathLike[str],
        *,
        chunk_seconds: float | None = None,
        context_seconds: float = CONTEXT_SECONDS,
        threads: int = 1,
        endpoint: EndpointRules | None = None,
        decoder: DecodingOptions | None = None,
        **decoding: Unpack[DecodingKeywords],
    ) -> None:
        self.bundle = model if isinstance(model, Bundle) else Bundle.load(model)
        runtime = OnnxStreamingRuntime(self.bundle, threads)
        front_end = self.bundle.front_end
        if not isinstance(front_end, LogMelFrontEnd):
            raise UsageError(f"model {self.bundle.name!r} takes the waveform; expected one that takes log-mel features")
        self.log_mel = front_end.log_mel
        self.frame_seconds = self.bundle.frame_seconds
        default = CHUNK_SECONDS_BIDIRECTIONAL if runtime.is_bidirectional else CHUNK_SECONDS
        chunk = self._frames("chunk_seconds", default if chunk_seconds is None else chunk_seconds)
        context = self._frames("context_seconds", context_seconds)
        self.network = StreamingNetwork(runtime, chunk, context)
        self.endpoint = endpoint or EndpointRules()
        if decoder is not None and decoding:
            raise UsageError(f"{', '.join(decoding)}: decoder has them already; give one or the other")
        self.decoder = make_decoder(self.bundle, decoder or DecodingOptions(**decoding))
        self.labels = Labels(self.bundle.tokenizer.tokens, BLANK)

    @property
    def latency_seconds(self) -> float:
        """How long after a sound its log-probs are there, at most: a chunk, its context and the look-ahead."""
        frames = self.network.chunk_frames + self.network.context_frames + self.network.delay_frames
        return frames * self.frame_seconds + self.log_mel.config.window_seconds / 2

    def _frames(self, name: str, seconds: float) -> int:
        frames = round(seconds / self.frame_seconds)
        if frames < 1:
            raise UsageError(f"{name} is {seconds} s; expected at least one frame of the model, {self.frame_seconds} s")
        return frames


@dataclass(frozen=True)
class _Opening:
    """What a stream was opened with."""

    rate: int
    decoder: Decoder
    endpoint: EndpointRules


class _Stream:
    """One stream: features that wait for the network, and the utterance that is being said."""

    def __init__(self, model: LiveModel, opening: _Opening, origin_seconds: float = 0.0) -> None:
        self.model, self.opening = model, opening
        self.origin_seconds = origin_seconds
        self.features = FeatureStream(model.log_mel, opening.rate)
        self.network: NetworkStream = model.network.open()
        # Frames of log-probs since the stream began; where the utterance begins, and where something was said last.
        self.num_frames = 0
        self._utterance: UtteranceDecoder = begin_utterance(opening.decoder)
        self._start = 0
        self._last_sound: int | None = None
        self._words: list[Any] = []
        self._partial = ""

    def hear(self, log_probs: NDArray[np.float32]) -> list[Event]:
        """Decode a chunk's log-probs ``(T, V)``, and see whether the utterance has ended."""
        if not len(log_probs):
            return []
        self._utterance.push(log_probs)
        sounds = np.flatnonzero(log_probs.argmax(axis=1) != self.model.labels.blank)
        if len(sounds):
            self._last_sound = self.num_frames + int(sounds[-1])
        self.num_frames += len(log_probs)
        events = self._news()
        seconds = self.model.frame_seconds
        since = self._start if self._last_sound is None else self._last_sound + 1
        reason = self.opening.endpoint.ended(
            (self.num_frames - since) * seconds,
            (self.num_frames - self._start) * seconds,
            has_speech=self._last_sound is not None,
        )
        if reason is None:
            return events
        if reason == "silence":
            # What the network remembers of one utterance has nothing to do with the next.
            self.model.network.restart(self.network)
        return events + self.end(reason)

    def end(self, reason: Reason) -> list[Event]:
        """End the utterance here."""
        seconds, start = self.model.frame_seconds, self.start_seconds
        rest = self._utterance.finish()
        events: list[Event] = [Stable(shifted(rest, start))] if rest else []
        words = tuple(self._words) + rest
        if words:
            duration = (self.num_frames - self._start) * seconds
            text = " ".join(word.text for word in words)
            segment = Segment(0.0, duration, text, words)
            transcript = Transcript((segment,), duration, self.model.bundle.language)
            events.append(EndOfUtterance(transcript, start, reason))
        self._utterance = begin_utterance(self.opening.decoder)
        self._start, self._last_sound, self._words, self._partial = self.num_frames, None, [], ""
        return events

    @property
    def start_seconds(self) -> float:
        """Where the utterance begins, in seconds from the start of the stream."""
        return self.origin_seconds + self._start * self.model.frame_seconds

    def _news(self) -> list[Event]:
        events: list[Event] = []
        if words := self._utterance.take_stable():
            self._words += words
            events.append(Stable(shifted(words, self.start_seconds)))
        partial = self._utterance.partial_text
        if partial != self._partial:
            self._partial = partial
            events.append(Partial(partial))
        return events


class Listeners:
    """Many streams at a time, which share a network: what is due of each runs as one batch.

    The events of a stream do not depend on the others. Calls are safe from several threads; they wait for one another.

    Parameters
    ----------
    model : LiveModel
    """

    def __init__(self, model: LiveModel) -> None:
        self.model = model
        self._streams: dict[int, _Stream] = {}
        self._count = 0
        self._lock = threading.Lock()

    def open(
        self,
        sample_rate: int | None = None,
        *,
        decoder: Decoder | None = None,
        endpoint: EndpointRules | None = None,
    ) -> int:
        """Begin a stream, and return its number.

        Parameters
        ----------
        sample_rate : int, optional
            Of its samples, in Hz; the model's, if None.
        decoder, endpoint : optional
            What it is decoded with, and when its utterances end; those of the `LiveModel`, if None.
        """
        model = self.model
        rate = model.bundle.features.sample_rate if sample_rate is None else sample_rate
        check_rate(rate)
        opening = _Opening(rate, decoder or model.decoder, endpoint or model.endpoint)
        with self._lock:
            self._count += 1
            self._streams[self._count] = _Stream(model, opening)
            return self._count

    def push(self, samples: Mapping[int, NDArray[Any]]) -> dict[int, list[Event]]:
        """Add samples to some streams, and return what is new of each of them.

        Parameters
        ----------
        samples : mapping of int to ndarray
            Stream → mono samples ``(N,)`` of any length and real dtype, in [-1, 1] or integers.

        Raises
        ------
        AudioError
            If samples are none; no stream is changed then.
        UsageError
            If a stream is not open.
        """
        checked = {number: check_samples(chunk) for number, chunk in samples.items()}
        with self._lock:
            streams = {number: self._stream(number) for number in checked}
            for number, chunk in checked.items():
                self._wait(streams[number], streams[number].features.push(chunk))
            return self._run(streams)

    def push_features(self, number: int, features: NDArray[np.floating[Any]]) -> list[Event]:
        """Add features ``(T, F)`` to a stream that gets no samples, as `LiveModel.log_mel` makes them of samples."""
        with self._lock:
            stream = self._stream(number)
            self._wait(stream, features.astype(np.float32))
            return self._run({number: stream})[number]

    def flush(self, number: int) -> list[Event]:
        """End the utterance of a stream with what was pushed so far, and begin anew; times go on."""
        with self._lock:
            stream = self._stream(number)
            events = self._finish(stream)
            # By the clock of the samples: the last frame may reach beyond them.
            origin = stream.origin_seconds + stream.features.num_samples / stream.opening.rate
            self._streams[number] = _Stream(self.model, stream.opening, origin)
            return events

    def reset(self, number: int) -> None:
        """Forget all of a stream, its clock included."""
        with self._lock:
            self._streams[number] = _Stream(self.model, self._stream(number).opening)

    def close(self, number: int) -> list[Event]:
        """End a stream, and return its last events."""
        with self._lock:
            events = self._finish(self._stream(number))
            del self._streams[number]
            return events

    def utterance_start(self, number: int) -> float:
        """Return where the utterance that a stream is in begins, in seconds from the start of the stream."""
        with self._lock:
            return self._stream(number).start_seconds

    def _stream(self, number: int) -> _Stream:
        if number not in self._streams:
            raise UsageError(f"stream {number} is not open; expected one that open() gave and close() did not end")
        return self._streams[number]

    @staticmethod
    def _wait(stream: _Stream, features: NDArray[np.float32]) -> None:
        if len(features):
            stream.network.waiting = np.concatenate((stream.network.waiting, features))

    def _run(self, streams: Mapping[int, _Stream]) -> dict[int, list[Event]]:
        events: dict[int, list[Event]] = {number: [] for number in streams}
        network = self.model.network
        while due := [number for number, stream in streams.items() if network.is_due(stream.network)]:
            results = network.run([streams[number].network for number in due])
            for number, log_probs in zip(due, results, strict=True):
                events[number] += streams[number].hear(log_probs)
        return events

    def _finish(self, stream: _Stream) -> list[Event]:
        self._wait(stream, stream.features.finish())
        events = self._run({0: stream})[0]
        for log_probs in self.model.network.finish(stream.network):
            events += stream.hear(log_probs)
        return events + stream.end("flush")


class Listener:
    """One stream of samples → events.

    Parameters
    ----------
    model : LiveModel, Bundle, path or str
        As for `LiveModel`, whose options may follow.
    sample_rate : int, optional
        Of what is pushed, in Hz; the model's, if None.

    Raises
    ------
    UsageError
        If the model cannot stream, or options are given with a `LiveModel`, which has its own.

    Examples
    --------
    >>> listener = Listener("an4_streaming", sample_rate=48_000)  # doctest: +SKIP
    >>> for event in listener.push(samples):  # doctest: +SKIP
    ...     if isinstance(event, Stable):
    ...         print(*(word.text for word in event.words))
    """

    def __init__(
        self, model: LiveModel | Bundle | str | os.PathLike[str], *, sample_rate: int | None = None, **options: Any
    ) -> None:
        if isinstance(model, LiveModel) and options:
            raise UsageError(f"{', '.join(options)}: the model is loaded, with options of its own; leave these out")
        self.model = model if isinstance(model, LiveModel) else LiveModel(model, **options)
        self._listeners = Listeners(self.model)
        self._number: int | None = self._listeners.open(sample_rate)

    @property
    def utterance_start(self) -> float:
        """Where the utterance that is being said begins, in seconds; nothing to come has to do with what is before."""
        return self._listeners.utterance_start(self._open())

    def push(self, samples: NDArray[Any]) -> list[Event]:
        """Add samples ``(N,)``, and return what is new.

        Raises
        ------
        AudioError
            If the samples are not usable audio.
        UsageError
            After `close`.
        """
        return self._listeners.push({self._open(): samples})[self._open()]

    def push_features(self, features: NDArray[np.floating[Any]]) -> list[Event]:
        """Add features ``(T, F)`` in place of samples, as `LiveModel.log_mel` makes them of samples."""
        return self._listeners.push_features(self._open(), features)

    def flush(self) -> list[Event]:
        """End the utterance with what was pushed so far, at once; the stream goes on."""
        return self._listeners.flush(self._open())

    def reset(self) -> None:
        """Forget all that was said, and begin at 0 s."""
        self._listeners.reset(self._open())

    def close(self) -> list[Event]:
        """End the stream, and return its last events."""
        events = self._listeners.close(self._open())
        self._number = None
        return events

    def _open(self) -> int:
        if self._number is None:
            raise UsageError("the listener is closed; expected a new one for another stream")
        return self._number


async def listen(listener: Listener, chunks: AsyncIterable[NDArray[Any]]) -> AsyncIterator[Event]:
    """Yield the events of a stream whose samples come asynchronously; the listener is closed at its end."""
    async for samples in chunks:
        for event in await asyncio.to_thread(listener.push, samples):
            yield event
    for event in await asyncio.to_thread(listener.close):
        yield event


def transcript_of(events: Iterable[Event]) -> Transcript:
    """Return all utterances among `events` as one transcript, with the times of the stream."""
    segments, duration, language = [], 0.0, ""
    for event in events:
        if isinstance(event, EndOfUtterance):
            start = event.start_seconds
            for segment in event.transcript.segments:
                words = shifted(segment.words, start)
                segments.append(Segment(segment.start + start, segment.end + start, segment.text, words))
            duration, language = start + event.transcript.duration, event.transcript.language
    return Transcript(tuple(segments), duration, language)
