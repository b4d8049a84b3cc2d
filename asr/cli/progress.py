"""A progress bar for recordings: how much is done, how fast compared to real time, how long it will take."""

import sys
import time
from collections.abc import Sequence
from typing import Any, Self

# Fewer seconds of work than this need no bar.
DELAY_SECONDS = 1.0


class JobProgress:
    """Shows the progress of a job on the error stream, if that is a terminal; messages go above the bar.

    Parameters
    ----------
    sizes : sequence of int
        Of each recording, in bytes: the time that is left is estimated from them, since durations are not known.
    quiet : bool
        Whether to show messages alone.
    """

    def __init__(self, sizes: Sequence[int], *, quiet: bool) -> None:
        self._sizes = [max(1, size) for size in sizes]
        self._shares = [0.0] * len(sizes)
        self._seconds = [0.0] * len(sizes)
        self._done = 0
        self._is_shown = not quiet and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio that were recognised."""
        return sum(self._seconds)

    @property
    def speed(self) -> float:
        """How many times faster than real time."""
        return self.audio_seconds / max(1e-3, time.monotonic() - self._start)

    def update(self, index: int, share: float, seconds: float) -> None:
        """Note that a share (0..1) of a recording is done, which is so many seconds of audio."""
        self._done += share >= 1.0 > self._shares[index]
        self._shares[index], self._seconds[index] = share, seconds
        if self._is_shown and time.monotonic() - self._start > DELAY_SECONDS:
            self._show()

    def message(self, text: str) -> None:
        """Print a line on the error stream."""
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        if self._bar is None:
            columns = (
                TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("", total=sum(self._sizes), speed="")
            self._bar.start()
        done = sum(share * size for share, size in zip(self._shares, self._sizes, strict=True))
        self._bar.update(
            self._task,
            completed=done,
            description=f"{self._done} of {len(self._sizes)}",
            speed=f"{self.speed:.0f} × real time",
        )
