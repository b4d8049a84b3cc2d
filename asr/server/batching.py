"""One network for all requests: what they bring at about the same time runs together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asr.bundle.runtime import Features, LogProbs, Runtime
from asr.live import Event, Listeners
from asr.transcription.recognition import BATCH_FRAMES

# Utterances share a batch if the longest is at most this much longer than the shortest.
MAX_STRETCH = 1.5
# How long a batch waits for requests that are known to be on their way.
WINDOW_SECONDS = 0.004


@dataclass
class _Job:
    features: Features
    result: Future[LogProbs] = field(default_factory=Future)


class BatchingRuntime:
    """A `Runtime` that many threads call, and that runs what they bring in common batches.

    An utterance's values do not depend on what shares its batch: that is the model's property. Callers are served in
    turn, a batch at a time, so that a short request does not wait for the end of a long one.

    Parameters
    ----------
    runtime : Runtime
        What runs the batches.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.name = runtime.name
        # Callers need not sort by length: it is done here, over all of them.
        self.batches = False
        # Called with the number of utterances of each batch that has run.
        self.on_batch: Callable[[int], None] = lambda size: None
        self._runtime = runtime
        self._changed = threading.Condition()
        self._callers: deque[deque[_Job]] = deque()
        self._requests = 0
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="network", daemon=True)
        self._thread.start()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Note that a request is under way: batches wait a moment for the features that it will bring."""
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
        """End, once all that was brought has run."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while jobs := self._next_jobs():
            try:
                results = self._runtime([job.features for job in jobs])
            except BaseException as error:  # Whatever it is, those who wait must hear of it.
                for job in jobs:
                    job.result.set_exception(error)
                continue
            for job, log_probs in zip(jobs, results, strict=True):
                job.result.set_result(log_probs)
            self.on_batch(len(jobs))

    def _next_jobs(self) -> list[_Job]:
        """Wait for work, and return a batch of it; none at the end."""
        with self._changed:
            while not self._callers and not self._closed:
                self._changed.wait()
            deadline = time.monotonic() + WINDOW_SECONDS
            while len(self._callers) < self._requests and not self._closed:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    break
            return self._take()

    def _take(self) -> list[_Job]:
        """Take a batch: the first job of whoever waits longest, and jobs of similar length, from each caller in turn.

        Callers who brought several are put at the end of the line.
        """
        if not self._callers:
            return []
        first = self._callers[0][0]
        shortest = longest = len(first.features)
        taken: list[_Job] = []
        progress = True
        while progress:
            progress = False
            for jobs in self._callers:
                if not jobs:
                    continue
                # Of the caller's jobs the next that fits.
                for index, job in enumerate(jobs):
                    low, high = min(shortest, len(job.features)), max(longest, len(job.features))
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


class LiveBatches:
    """Streams of many clients: what they bring while the network is busy runs together as soon as it is free.

    Parameters
    ----------
    listeners : Listeners
    """

    def __init__(self, listeners: Listeners) -> None:
        self.listeners = listeners
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[NDArray[np.float32], Future[list[Event]]]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="live", daemon=True)
        self._thread.start()

    def push(self, number: int, samples: NDArray[np.float32]) -> "Future[list[Event]]":
        """Add samples ``(N,)`` to a stream, whose last ones have been heard, and return its events to come."""
        result: Future[list[Event]] = Future()
        with self._changed:
            if self._closed or number in self._waiting:
                raise RuntimeError("the network is closed" if self._closed else f"stream {number} is still busy")
            self._waiting[number] = samples, result
            self._changed.notify()
        return result

    def close(self) -> None:
        """End, once all that was brought has run."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                taken, self._waiting = self._waiting, {}
            if not taken:
                return
            self._run({number: pair for number, pair in taken.items() if pair[1].set_running_or_notify_cancel()})

    def _run(self, taken: "dict[int, tuple[NDArray[np.float32], Future[list[Event]]]]") -> None:
        try:
            events = self.listeners.push({number: samples for number, (samples, _) in taken.items()})
        except BaseException as error:  # Whatever it is, those who wait must hear of it.
            for _, result in taken.values():
                result.set_exception(error)
            return
        for number, (_, result) in taken.items():
            result.set_result(events[number])
