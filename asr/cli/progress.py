"""The progress of many recordings: how much is done, how fast compared to real time, how long it will take."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from asr.console import ProgressBar

# Fewer seconds of work than this need no bar.
DELAY_SECONDS = 1.0


@contextmanager
def counted(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a bar of `length` parts on the error stream, if that is a terminal; yields what to call with parts done."""
    done = 0
    with ProgressBar() as bar, bar.task(label, length) as update:

        def advance(parts: int) -> None:
            nonlocal done
            done += parts
            update(done)

        yield advance


class JobProgress:
    """Shows the progress of a job on the error stream, if that is a terminal; messages go above the bar.

    Parameters
    ----------
    sizes : sequence of int
        Of each recording, in bytes: the time that is left is estimated from them, since durations are not known.
    quiet : bool
        Whether to show messages alone.

    Attributes
    ----------
    audio_seconds : float
        Seconds of audio that were recognised.
    """

    def __init__(self, sizes: Sequence[int], *, quiet: bool) -> None:
        self._sizes = [max(1, size) for size in sizes]
        self._shares = [0.0] * len(sizes)
        self._seconds = [0.0] * len(sizes)
        # Running totals: a sum over all recordings for each of them would be quadratic in their number.
        self._done_bytes = self.audio_seconds = 0.0
        self._done = 0
        self._start = time.monotonic()
        self._stack = ExitStack()
        self._bar = self._stack.enter_context(ProgressBar(quiet=quiet, delay_seconds=DELAY_SECONDS))
        self._update = self._stack.enter_context(self._bar.task("recordings", sum(self._sizes)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def speed(self) -> float:
        """How many times faster than real time."""
        return self.audio_seconds / max(1e-3, time.monotonic() - self._start)

    def update(self, index: int, share: float, seconds: float) -> None:
        """Note that a share (0..1) of a recording is done, which is so many seconds of audio."""
        self._done += share >= 1.0 > self._shares[index]
        self._done_bytes += (share - self._shares[index]) * self._sizes[index]
        self.audio_seconds += seconds - self._seconds[index]
        self._shares[index], self._seconds[index] = share, seconds
        note = f"{self._done} of {len(self._sizes)}, {self.speed:.0f} × real time"
        self._update(self._done_bytes, note=note)

    def message(self, text: str) -> None:
        """Print a line on the error stream."""
        self._bar.message(text)
