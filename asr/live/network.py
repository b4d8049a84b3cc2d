"""Features of several streams → log-probs, in batches of fixed chunks."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.errors import ModelError

Array = NDArray[np.float32]

# At most this many chunks of a stream run in one call, if it has fallen behind; a power of 2.
MAX_CHUNKS = 8


class Chunk(NamedTuple):
    """The network's output for a chunk: log-probs ``(T, V)``, and the best label of each frame ``(T,)``."""

    log_probs: Array
    best: NDArray[np.int64]


@dataclass
class NetworkStream:
    """State of one stream.

    The network's state, features that were not run yet, features to run again after a restart, and how many frames of
    the next output to drop.
    """

    state: Array
    waiting: Array
    recent: Array
    late: int


class StreamingNetwork:
    """Runs streams through a network in chunks of a fixed number of frames.

    The values do not depend on how features are cut, nor on other streams. With one direction, several chunks of a
    stream run in one call, with the values that they have one by one (but for rounding).

    Parameters
    ----------
    runtime : OnnxStreamingRuntime
    chunk_frames : int
        Output frames of a chunk.
    context_frames : int
        Output frames of right context; ignored with one direction.
    """

    def __init__(self, runtime: OnnxStreamingRuntime, chunk_frames: int, context_frames: int) -> None:
        self.runtime = runtime
        self.chunk_frames = chunk_frames
        self.context_frames = context_frames if runtime.is_bidirectional else 0

    @property
    def delay_frames(self) -> int:
        """Output frames by which the look-ahead delays log-probs."""
        return self.runtime.delay_frames

    @property
    def chunk_features(self) -> int:
        """Feature frames of a chunk."""
        return self.chunk_frames * self.runtime.time_reduction

    def open(self) -> NetworkStream:
        """Return the state of a new stream."""
        runtime = self.runtime
        state, nothing = np.zeros(runtime.state_size, np.float32), np.zeros((0, runtime.n_mels), np.float32)
        return NetworkStream(state, nothing, nothing, runtime.delay_frames)

    def restart(self, stream: NetworkStream, unheard_chunks: int = 0) -> None:
        """Reset the network's state; features without log-probs yet are kept.

        Parameters
        ----------
        stream : NetworkStream
        unheard_chunks : int
            How many of the chunks that `run` returned last to run again.
        """
        again = self.runtime.delay_frames * self.runtime.time_reduction + unheard_chunks * self.chunk_features
        stream.state = np.zeros_like(stream.state)
        stream.waiting = np.concatenate((stream.recent[max(0, len(stream.recent) - again) :], stream.waiting))
        stream.recent = stream.recent[:0]
        stream.late = self.runtime.delay_frames

    def num_due(self, stream: NetworkStream, num_more: int = 0) -> int:
        """Return how many chunks of the stream can run once `num_more` feature frames have been added."""
        context = self.context_frames * self.runtime.time_reduction
        return max(0, (len(stream.waiting) + num_more - context) // self.chunk_features)

    def run(self, streams: list[NetworkStream]) -> list[list[Chunk]]:
        """Run the chunks of each stream that are ready, up to the limit of a call, and return their output."""
        results: dict[int, list[Chunk]] = {}
        counts = [1 if self.context_frames else _power(self.num_due(stream)) for stream in streams]
        for count in set(counts):
            # All streams of a call have the same length.
            same = [index for index, own in enumerate(counts) if own == count]
            results.update(zip(same, self._run([streams[index] for index in same], count), strict=True))
        return [results[index] for index in range(len(streams))]

    def _run(self, streams: list[NetworkStream], count: int) -> list[list[Chunk]]:
        """Run `count` chunks of each stream."""
        advance = count * self.chunk_features
        taken = advance + self.context_frames * self.runtime.time_reduction
        features = np.stack([stream.waiting[:taken] for stream in streams])
        lengths = np.full(len(streams), taken, np.int64)
        # A restart may go back to the end of the first chunk, and further by the look-ahead.
        kept = (count - 1) * self.chunk_features + self.runtime.delay_frames * self.runtime.time_reduction
        results = self._call(streams, features, lengths, self.context_frames, count)
        for stream in streams:
            recent = np.concatenate((stream.recent, stream.waiting[:advance])) if kept else stream.recent
            stream.recent = recent[max(0, len(recent) - kept) :]
            stream.waiting = stream.waiting[advance:]
        return results

    def finish(self, stream: NetworkStream) -> list[Chunk]:
        """Run the rest of a stream that has ended, chunk by chunk."""
        reduction, chunk = self.runtime.time_reduction, self.chunk_frames
        results = []
        while (left := -(-len(stream.waiting) // reduction)) > chunk and self.context_frames:
            results += self._last(stream, chunk, left - chunk)
            stream.waiting = stream.waiting[chunk * reduction :]
        # Frames beyond the end are masked; with two directions, one of them is the context.
        delay, context = self.runtime.delay_frames, int(self.runtime.is_bidirectional)
        if left + delay:
            results += self._last(stream, left + delay, context)
        stream.waiting = stream.waiting[:0]
        return results

    def _last(self, stream: NetworkStream, chunk: int, context: int) -> list[Chunk]:
        features = np.zeros((1, (chunk + context) * self.runtime.time_reduction, self.runtime.n_mels), np.float32)
        there = stream.waiting[: features.shape[1]]
        features[0, : len(there)] = there
        return self._call([stream], features, np.array([len(there)]), context, 1)[0]

    def _call(
        self, streams: list[NetworkStream], features: Array, lengths: NDArray[np.int64], context: int, count: int
    ) -> list[list[Chunk]]:
        states = np.stack([stream.state for stream in streams])
        log_probs, states = self.runtime(features, lengths, states, context)
        best = log_probs.argmax(axis=2)
        # argmax takes NaN for the greatest value.
        if np.isnan(np.take_along_axis(log_probs, best[:, :, None], axis=2)).any():
            raise ModelError("the network's log-probs hold NaN; export or install the bundle again")
        size = log_probs.shape[1] // count
        results = []
        for index, stream in enumerate(streams):
            stream.state = states[index].copy()
            chunks = []
            for first in range(0, size * count, size):
                dropped = min(stream.late, size)
                stream.late -= dropped
                rows = slice(first + dropped, first + size)
                chunks.append(Chunk(log_probs[index, rows], best[index, rows]))
            results.append(chunks)
        return results


def _power(count: int) -> int:
    """Return the largest power of 2 up to `count` and `MAX_CHUNKS`: with few sizes, more streams share a call."""
    return min(MAX_CHUNKS, 1 << (count.bit_length() - 1))
