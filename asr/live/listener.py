"""Streams of samples → events."""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio.resampling import check_rate
from asr.bundle.bundle import Bundle
from asr.errors import AsrError, UsageError
from asr.live.endpoint import EndpointRules
from asr.live.events import Event
from asr.live.frames import check_samples, features_of
from asr.live.model import LiveModel
from asr.live.stream import Opening, Stream
from asr.transcription.decoding import Decoder


class Listeners:
    """Many streams at a time, which run through the network as one batch.

    The events of a stream do not depend on the others. Several threads may call it; calls run one after the other.

    Parameters
    ----------
    model : LiveModel
    """

    def __init__(self, model: LiveModel) -> None:
        self.model = model
        self._streams: dict[int, Stream] = {}
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
            How it is decoded, and when its utterances end; as the `LiveModel` says, if None.
        """
        model = self.model
        rate = model.bundle.features.sample_rate if sample_rate is None else sample_rate
        check_rate(rate)
        opening = Opening(rate, decoder or model.decoder, endpoint or model.endpoint)
        with self._lock:
            self._count += 1
            self._streams[self._count] = Stream(model, opening)
            return self._count

    def push(self, samples: Mapping[int, NDArray[Any]]) -> dict[int, list[Event]]:
        """Add samples to some streams, and return the new events of each.

        Parameters
        ----------
        samples : mapping of int to ndarray
            Stream → mono samples ``(N,)`` of any length and real dtype, in [-1, 1] or integers.

        Raises
        ------
        AudioError
            If an array is not audio samples; no stream is changed.
        UsageError
            If a stream is not open.
        DecodingError, ModelError
            If a stream fails: it is closed. The others are not affected; `push_each` returns their events.
        """
        events: dict[int, list[Event]] = {}
        with self._lock:
            checked = {number: check_samples(chunk) for number, chunk in samples.items()}
            for number in checked:
                self._stream(number)
            results = self._push(checked)
        for number, result in results.items():
            if isinstance(result, Exception):
                raise result
            events[number] = result
        return events

    def push_each(self, samples: Mapping[int, NDArray[Any]]) -> "dict[int, list[Event] | Exception]":
        """Do as `push`, but return the error of a stream in place of its events.

        A stream whose array is not audio samples is not changed; one that fails is closed.
        """
        results: dict[int, list[Event] | Exception] = {}
        with self._lock:
            checked = {}
            for number, chunk in samples.items():
                try:
                    self._stream(number)
                    checked[number] = check_samples(chunk)
                except AsrError as error:
                    results[number] = error
            return {**results, **self._push(checked)}

    def push_features(self, number: int, features: NDArray[np.floating[Any]]) -> list[Event]:
        """Add features ``(T, F)`` to a stream that gets no samples, as `LiveModel.log_mel` makes them of samples."""
        with self._lock:
            stream = self._stream(number)
            stream.push_features(features.astype(np.float32))
            result = self._run({number: stream})[number]
        if isinstance(result, Exception):
            raise result
        return result

    def flush(self, number: int) -> list[Event]:
        """End the utterance of a stream here; times go on."""
        with self._lock:
            stream = self._stream(number)
            # By the number of samples: the last frame may reach beyond them.
            self._streams[number] = Stream(self.model, stream.opening, stream.seconds)
            return self._finish(stream)

    def reset(self, number: int) -> None:
        """Start a stream afresh, at 0 s."""
        with self._lock:
            self._streams[number] = Stream(self.model, self._stream(number).opening)

    def close(self, number: int) -> list[Event]:
        """End a stream, and return its last events."""
        with self._lock:
            stream = self._stream(number)
            del self._streams[number]
            return self._finish(stream)

    def discard(self, number: int) -> None:
        """End a stream without its last events, if it is open."""
        with self._lock:
            self._streams.pop(number, None)

    def utterance_start(self, number: int) -> float:
        """Return the start of a stream's present utterance, in seconds from the start of the stream."""
        with self._lock:
            return self._stream(number).start_seconds

    def behind_seconds(self, number: int) -> float:
        """Return how many seconds of a stream, beyond a chunk, were waiting at the last push.

        If it is more than 0, the machine or the caller has fallen behind, and several chunks ran in one call.
        """
        with self._lock:
            return self._stream(number).behind_seconds

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def _stream(self, number: int) -> Stream:
        if number not in self._streams:
            raise UsageError(f"stream {number} is not open; expected one that open() gave and close() did not end")
        return self._streams[number]

    def _push(self, samples: Mapping[int, NDArray[np.float32]]) -> "dict[int, list[Event] | Exception]":
        streams = {number: self._streams[number] for number in samples}
        failed: dict[int, list[Event] | Exception] = {}
        for number, chunk in samples.items():
            try:
                streams[number].features.add(chunk)
            except Exception as error:
                failed[number] = self._failed(streams, number, error)
        # Features are computed once there are enough for a chunk, for all streams together.
        due = [stream for stream in streams.values() if stream.num_due]
        windows = [stream.features.take() for stream in due]
        for stream, features in zip(due, features_of(self.model.log_mel, windows) if due else (), strict=True):
            stream.wait(features)
        return {**failed, **self._run(streams)}

    def _run(self, streams: dict[int, Stream]) -> "dict[int, list[Event] | Exception]":
        """Run the chunks of streams that are ready, and return their events; a stream that fails is closed."""
        events: dict[int, list[Event] | Exception] = {}
        heard: dict[int, list[Event]] = {number: [] for number in streams}
        for stream in streams.values():
            late = max(0, stream.num_due - 1) * self.model.network.chunk_frames
            stream.behind_seconds = late * self.model.frame_seconds
        while due := [number for number, stream in streams.items() if stream.num_due]:
            for number, chunks in zip(due, self._network([streams[number] for number in due]), strict=True):
                try:
                    if isinstance(chunks, Exception):
                        raise chunks
                    heard[number] += streams[number].hear(chunks)
                except Exception as error:
                    events[number] = self._failed(streams, number, error)
        return {number: events.get(number, heard[number]) for number in heard}

    def _network(self, streams: list[Stream]) -> list[Any]:
        """Return the network's output for the chunks of each stream, or its error."""
        network = self.model.network
        try:
            return network.run([stream.network for stream in streams])
        except Exception as error:
            if len(streams) == 1:
                return [error]
        # A stream fails only if it does so alone.
        return [result for stream in streams for result in self._network([stream])]

    def _failed(self, streams: dict[int, Stream], number: int, error: Exception) -> Exception:
        del streams[number]
        self._streams.pop(number, None)
        return error

    def _finish(self, stream: Stream) -> list[Event]:
        stream.features.end()
        stream.wait(features_of(self.model.log_mel, [stream.features.take()])[0])
        result = self._run({0: stream})[0]
        if isinstance(result, Exception):
            raise result
        return result + stream.finish()


class Listener:
    """One stream of samples → events.

    Parameters
    ----------
    model : LiveModel, Bundle, path or str
        As for `LiveModel`, whose options may follow.
    sample_rate : int, optional
        Of the samples, in Hz; the model's, if None.

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
            raise UsageError(f"{', '.join(options)}: a LiveModel has its own options; leave these out")
        self.model = model if isinstance(model, LiveModel) else LiveModel(model, **options)
        self._listeners = Listeners(self.model)
        self._number: int | None = self._listeners.open(sample_rate)

    @property
    def utterance_start(self) -> float:
        """Start of the present utterance in seconds; later events do not concern earlier sound."""
        return self._listeners.utterance_start(self._open())

    @property
    def behind_seconds(self) -> float:
        """How many seconds, beyond a chunk, were waiting at the last push; see `Listeners.behind_seconds`."""
        return self._listeners.behind_seconds(self._open())

    def push(self, samples: NDArray[Any]) -> list[Event]:
        """Add samples ``(N,)``, and return new events.

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
        """End the utterance here; the stream goes on."""
        return self._listeners.flush(self._open())

    def reset(self) -> None:
        """Start afresh, at 0 s."""
        self._listeners.reset(self._open())

    def close(self) -> list[Event]:
        """End the stream, and return its last events."""
        number, self._number = self._open(), None
        return self._listeners.close(number)

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
