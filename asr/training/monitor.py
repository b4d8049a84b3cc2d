"""What is seen of a run: a line an epoch and a progress bar on the terminal, and ``log.csv``."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from asr.files import write_text
from asr.training.validation import Validation

# Columns of the log that a resumed run need not repeat.
TIME_COLUMNS = ("seconds", "hours_per_second")


class Monitor:
    """Writes the log and shows how far a run is.

    Parameters
    ----------
    directory : Path
        Receives ``log.csv``.
    epochs : int
        Of the whole run.
    quiet : bool
        Whether to write and show nothing, as all ranks but the first do.
    """

    def __init__(self, directory: Path, epochs: int, *, quiet: bool = False) -> None:
        self.path = directory / "log.csv"
        self.epochs = epochs
        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet)
        columns = (
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
        )
        live = self.console.is_terminal and not quiet
        self._progress = Progress(*columns, console=self.console, transient=True, disable=not live)
        self._task = self._progress.add_task("", epoch=0, epochs=epochs, status="")
        self._shown = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)

    def warn(self, text: str) -> None:
        """Print a line that should be read."""
        self.console.print(f"warning: {text}", style="yellow", highlight=False, soft_wrap=True, markup=False)

    def write(self, epoch: int, row: Mapping[str, float]) -> None:
        """Set the epoch's line in the log; lines of a future that a resume has undone are dropped.

        Parameters
        ----------
        epoch : int
            From 0; 1 in the log.
        row : mapping
            The same columns for all epochs of a run.
        """
        if self.quiet:
            return
        header = ["epoch", *row]
        rows: list[list[str]] = []
        if self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                old_header, *rows = list(csv.reader(file)) or [[]]
            rows = rows[:epoch] if old_header == header else []
        rows.append([str(epoch + 1), *(f"{value:.6g}" for value in row.values())])
        write_text(self.path, "".join(",".join(cells) + "\n" for cells in [header, *rows]))

    def show(self, epoch: int, row: Mapping[str, float], result: Validation, *, best: bool) -> None:
        """Print an epoch's results in a line, and on a terminal what was heard in a few dev utterances."""
        self.say(
            f"epoch {epoch + 1:3d}  loss {row['train_loss']:.4f}  dev loss {row['dev_loss']:.4f}  "
            f"dev WER {100 * row['dev_wer']:.2f} %  {row['seconds']:.0f} s{' *' if best else ''}"
        )
        if self.console.is_terminal:
            for reference, hypothesis in result.samples:
                self.say(f"    said   {reference}\n    heard  {hypothesis}")

    def start(self, epoch: int, steps: int, done: int) -> None:
        """Show the bar of an epoch, of which `done` of `steps` are done."""
        self._progress.update(self._task, epoch=epoch + 1, total=steps, completed=done, status="")
        self._progress.start()

    def advance(self, done: int) -> bool:
        """Move the bar, and return whether it is time for a new status."""
        if self._progress.disable:
            return False
        self._progress.update(self._task, completed=done)
        due = time.monotonic() - self._shown > 1
        if due:
            self._shown = time.monotonic()
        return due

    def status(self, text: str) -> None:
        """Show `text` beside the bar."""
        self._progress.update(self._task, status=text)

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()
