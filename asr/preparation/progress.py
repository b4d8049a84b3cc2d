"""One progress bar for a preparation, and the table that ends it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from asr.preparation.index import Summary


class Progress:
    """A rich progress bar, on a terminal alone; silent if `quiet`."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._name = name
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            console = Console(stderr=True)
            # A file or a pipe would get an empty line of it.
            if not (console.is_terminal or console.is_jupyter):
                return self
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def download(self, name: str) -> Callable[[int, int], None]:
        """Return a function to call with the bytes so far and the bytes in all."""
        if self._bar is None:
            return lambda done, total: None
        task = self._bar.add_task(f"{self._name}: fetching {name} (MB)", total=None)
        return lambda done, total: self._bar.update(task, completed=done >> 20, total=(total >> 20) or None)

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Show that the transcripts are being read."""
        task = self._bar.add_task(f"{self._name}: reading transcripts", total=None) if self._bar else None
        yield
        if self._bar:
            self._bar.remove_task(task)

    def start(self, total: int, done: int) -> None:
        """Show `done` of `total` utterances."""
        if self._bar is not None:
            self._task = self._bar.add_task(f"{self._name}: utterances", total=total, completed=done)

    def advance(self, count: int) -> None:
        """Add `count` utterances."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def show(self, summary: "Summary") -> None:
        """Print what was done, a line a split."""
        if self._quiet:
            return
        from rich.console import Console

        console = Console(stderr=True, highlight=False, soft_wrap=True)
        for warning in summary.warnings:
            console.print(f"warning: {warning}", markup=False)
        for name, split in summary.splits.items():
            reasons = ", ".join(f"{reason} {count}" for reason, count in split.rejected.most_common())
            left_out = f"; left out {split.rejected.total()}: {reasons}" if reasons else ""
            line = f"{summary.out / name}: {split.utterances:,} utterances, {split.hours:.2f} h{left_out}"
            console.print(line, markup=False)
