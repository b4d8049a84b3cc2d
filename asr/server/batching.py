"""One network for all requests, in common batches."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asr.bundle.runtime import Features, LogProbs, Runtime
from asr.live import Event, Listeners
from asr.transcription.recognition import BATCH_FRAMES, num_frames

# Utterances share a batch if the longest is at most this much longer than the shortest.
MAX_STRETCH = 1.5
# How long a batch waits for requests that are about to bring features.
WINDOW_SECONDS = 0.004


@dataclass
class _Job:
    features: Features
    result: Future[LogProbs] = field(default_factory=Future)


class BatchingRuntime:
    """A `Runtime` for many threads, which runs their utterances in common batches.

    An utterance's values do not depend on its batch. Callers are served in turn, a batch at a time, so that a short
    request does not wait for the end of a long one.

    Parameters
    ----------
    runtime : Runtime
        Runs the batches, on one thread each.
    workers : int
        Batches at a time: waiting utterances are divided among those that are free.
    """

    def __init__(self, runtime: Runtime, workers: int = 1) -> None:
        self.name = runtime.name
        # Callers need not sort by length: this class batches all of them by length.
        self.batches = False
        # Called with the number of utterances of each batch that has run.
        self.on_batch: Callable[[int], None] = lambda _size: None
        self._runtime = runtime
        self._changed = threading.Condition()
        self._callers: deque[deque[_Job]] = deque()
        self._requests = 0
        self._free = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._serve, name="network", daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Announce a request: batches wait a moment for its features."""
        with self._changed:
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify()

    def __call__(self, features: Sequence[Features]) -> list[LogProbs]:
        """Return log-probabilities; see `Runtime`."""
        jobs = [_Job(x) for x in features]
        if jobs:
            with self._changed:
                if self._closed:
                    raise RuntimeError("the network is closed")
                self._callers.append(deque(jobs))
                self._changed.notify()
        return [job.result.result() for job in jobs]

    def close(self) -> None:
        """End, once all queued work is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while jobs := self._next_jobs():
            self._run(jobs)
            self.on_batch(len(jobs))

    def _run(self, jobs: "list[_Job]") -> None:
        try:
            results = self._runtime([job.features for job in jobs])
        except BaseException as error:  # Whatever it is, callers must not wait for ever.
            if len(jobs) == 1:
                jobs[0].result.set_exception(error)
                return
            # A request fails only if it does so alone.
            for job in jobs:
                self._run([job])
            return
        for job, log_probs in zip(jobs, results, strict=True):
            job.result.set_result(log_probs)

    def _next_jobs(self) -> list[_Job]:
        """Wait for work, and return a batch of it; none at the end."""
        with self._changed:
            self._free += 1
            while True:
                while not self._callers and not self._closed:
                    self._changed.wait()
                deadline = time.monotonic() + WINDOW_SECONDS
                while 0 < len(self._callers) < self._requests and not self._closed:
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        break
                # Another thread may have taken all in the meantime.
                if self._callers or self._closed:
                    break
            taken = self._take() if self._callers else []
            self._free -= 1
            if self._callers:
                self._changed.notify()
            return taken

    def _take(self) -> list[_Job]:
        """Take a batch: the first job of whoever waits longest, and jobs of similar length, from each caller in turn.

        Callers with more jobs go to the end of the line.
        """
        # Leave as much for each of the other free threads.
        most = -(-sum(map(len, self._callers)) // self._free) if self._runtime.batches else 1
        first = self._callers[0][0]
        shortest = longest = num_frames(first.features)
        taken: list[_Job] = []
        progress = True
        while progress:
            progress = False
            for jobs in self._callers:
                if not jobs or len(taken) == most:
                    continue
                # The caller's next job that fits.
                for index, job in enumerate(jobs):
                    frames = num_frames(job.features)
                    low, high = min(shortest, frames), max(longest, frames)
                    fits = high <= MAX_STRETCH * low and high * (len(taken) + 1) <= BATCH_FRAMES
                    if not taken or fits:
                        shortest, longest = low, high
                        taken.append(job)
                        del jobs[index]
                        progress = True
                        break
        self._callers.rotate(-1)
        self._callers = deque(jobs for jobs in self._callers if jobs)
        return taken


@dataclass
class _Turn:
    """A task of a stream: recognise samples, end the utterance, or close."""

    kind: Literal["push", "flush", "close"]
    samples: NDArray[np.float32]
    result: "Future[list[Event]]" = field(default_factory=Future)


class LiveBatches:
    """Streams of many clients: what arrives while the network is busy runs as one batch next.

    The tasks of a stream run in order. A stream that fails is closed; others are not affected.

    Parameters
    ----------
    listeners : Listeners
    """

    def __init__(self, listeners: Listeners) -> None:
        self.listeners = listeners
        self._changed = threading.Condition()
        self._turns: dict[int, deque[_Turn]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="live", daemon=True)
        self._thread.start()

    def push(self, number: int, samples: NDArray[np.float32]) -> "Future[list[Event]]":
        """Add samples ``(N,)`` to a stream, and return its events."""
        return self._add(number, _Turn("push", samples))

    def flush(self, number: int) -> "Future[list[Event]]":
        """End the utterance of a stream, and return its events."""
        return self._add(number, _Turn("flush", np.zeros(0, np.float32)))

    def close_stream(self, number: int) -> "Future[list[Event]]":
        """Close a stream without further events, once its tasks are done."""
        return self._add(number, _Turn("close", np.zeros(0, np.float32)))

    def close(self) -> None:
        """End, once all queued work is done."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _add(self, number: int, turn: _Turn) -> "Future[list[Event]]":
        with self._changed:
            if self._closed and turn.kind == "close":
                # All streams end with it.
                turn.result.set_result([])
                return turn.result
            if self._closed:
                raise RuntimeError("the network has ended")
            self._turns.setdefault(number, deque()).append(turn)
            self._changed.notify()
        return turn.result

    def _serve(self) -> None:
        while taken := self._next_turns():
            running = {number: turn for number, turn in taken.items() if turn.result.set_running_or_notify_cancel()}
            pushed = {number: turn.samples for number, turn in running.items() if turn.kind == "push"}
            results: dict[int, list[Event] | BaseException] = {}
            try:
                results.update(self.listeners.push_each(pushed))
            except BaseException as error:  # Whatever it is, callers must not wait for ever.
                results.update(dict.fromkeys(pushed, error))
            for number, turn in running.items():
                result = results[number] if number in results else self._end(number, turn.kind)
                if isinstance(result, BaseException):
                    turn.result.set_exception(result)
                else:
                    turn.result.set_result(result)

    def _next_turns(self) -> dict[int, _Turn]:
        """Wait for work, and return the next turn of each stream; none at the end."""
        with self._changed:
            while not self._turns and not self._closed:
                self._changed.wait()
            taken = {number: turns.popleft() for number, turns in self._turns.items()}
            self._turns = {number: turns for number, turns in self._turns.items() if turns}
            return taken

    def _end(self, number: int, kind: str) -> "list[Event] | BaseException":
        try:
            if kind == "flush":
                return self.listeners.flush(number)
            self.listeners.discard(number)
        except BaseException as error:
            return error
        return []
