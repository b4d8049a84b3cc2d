"""A progress bar for recordings: how much is done, how fast compared to real time, how long it will take."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

# Fewer seconds of work than this need no bar.
DELAY_SECONDS = 1.0


@contextmanager
def counted(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a bar of `length` parts on the error stream, if that is a terminal; yields what to call with parts done."""
    if not sys.stderr.isatty():
        yield lambda parts: None
        return
    import typer

    with typer.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


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
    def speed(self) -> float:
        """How many times faster than real time."""
        return self.audio_seconds / max(1e-3, time.monotonic() - self._start)

    def update(self, index: int, share: float, seconds: float) -> None:
        """Note that a share (0..1) of a recording is done, which is so many seconds of audio."""
        self._done += share >= 1.0 > self._shares[index]
        self._done_bytes += (share - self._shares[index]) * self._sizes[index]
        self.audio_seconds += seconds - self._seconds[index]
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
        self._bar.update(
            self._task,
            completed=self._done_bytes,
            description=f"{self._done} of {len(self._sizes)}",
            speed=f"{self.speed:.0f} × real time",
        )
