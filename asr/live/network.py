"""Features of streams → their log-probs, in fixed chunks, those of several streams together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.bundle.streaming_runtime import OnnxStreamingRuntime

Array = NDArray[np.float32]


@dataclass
class NetworkStream:
    """Where one stream is.

    Its cells, the features that wait, those that the look-ahead still holds back, and how many frames of what comes
    next are to be dropped.
    """

    state: Array
    waiting: Array
    held: Array
    late: int
    is_ended: bool = False


class StreamingNetwork:
    """Runs streams through a network in chunks of a fixed number of frames, whatever the sizes they come in.

    The values do not depend on how features come, nor on what other streams do.

    Parameters
    ----------
    runtime : OnnxStreamingRuntime
    chunk_frames : int
        Output frames of a chunk.
    context_frames : int
        Output frames of right context, of two directions; of one, 0.
    """

    def __init__(self, runtime: OnnxStreamingRuntime, chunk_frames: int, context_frames: int) -> None:
        self._runtime = runtime
        self.chunk_frames = chunk_frames
        self.context_frames = context_frames if runtime.is_bidirectional else 0

    @property
    def delay_frames(self) -> int:
        """Output frames by which log-probs come late, for the sake of look-ahead."""
        return self._runtime.delay_frames

    def open(self) -> NetworkStream:
        """Return a stream at its beginning."""
        runtime = self._runtime
        state, nothing = np.zeros(runtime.state_size, np.float32), np.zeros((0, runtime.n_mels), np.float32)
        return NetworkStream(state, nothing, nothing, runtime.delay_frames)

    def restart(self, stream: NetworkStream) -> None:
        """Forget what was said; features whose log-probs are not there yet go on."""
        stream.state = np.zeros_like(stream.state)
        stream.waiting = np.concatenate((stream.held, stream.waiting))
        stream.held = stream.held[:0]
        stream.late = self._runtime.delay_frames

    def is_due(self, stream: NetworkStream) -> bool:
        """Return whether a chunk of the stream can run."""
        reduction = self._runtime.time_reduction
        return len(stream.waiting) >= (self.chunk_frames + self.context_frames) * reduction

    def run(self, streams: list[NetworkStream]) -> list[Array]:
        """Run one chunk of each stream, all of which are due, and return its log-probs ``(T, V)``."""
        reduction, chunk = self._runtime.time_reduction, self.chunk_frames
        taken = (chunk + self.context_frames) * reduction
        features = np.stack([stream.waiting[:taken] for stream in streams])
        lengths = np.full(len(streams), taken, np.int64)
        results = self._call(streams, features, lengths, self.context_frames)
        held = self._runtime.delay_frames * reduction
        for stream in streams:
            taken_in = np.concatenate((stream.held, stream.waiting[: chunk * reduction]))
            stream.held = taken_in[len(taken_in) - min(held, len(taken_in)) :]
            stream.waiting = stream.waiting[chunk * reduction :]
        return results

    def finish(self, stream: NetworkStream) -> list[Array]:
        """Run what is left of a stream that has ended, and return the log-probs ``(T, V)``, chunk by chunk."""
        reduction, chunk = self._runtime.time_reduction, self.chunk_frames
        stream.is_ended = True
        results = []
        while (left := -(-len(stream.waiting) // reduction)) > chunk and self.context_frames:
            results += self._last(stream, chunk, left - chunk)
            stream.waiting = stream.waiting[chunk * reduction :]
        # What follows the end is no sound at all; of two directions, a frame of it stands for the context.
        delay, context = self._runtime.delay_frames, int(self._runtime.is_bidirectional)
        if left + delay:
            results += self._last(stream, left + delay, context)
        stream.waiting = stream.waiting[:0]
        return results

    def _last(self, stream: NetworkStream, chunk: int, context: int) -> list[Array]:
        features = np.zeros((1, (chunk + context) * self._runtime.time_reduction, self._runtime.n_mels), np.float32)
        there = stream.waiting[: features.shape[1]]
        features[0, : len(there)] = there
        return self._call([stream], features, np.array([len(there)]), context)

    def _call(
        self, streams: list[NetworkStream], features: Array, lengths: NDArray[np.int64], context: int
    ) -> list[Array]:
        states = np.stack([stream.state for stream in streams])
        log_probs, states = self._runtime(features, lengths, states, context)
        results = []
        for stream, rows, state in zip(streams, log_probs, states, strict=True):
            stream.state = state
            dropped = min(stream.late, len(rows))
            stream.late -= dropped
            results.append(rows[dropped:])
        return results
