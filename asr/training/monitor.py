"""How a run is shown: lines and a progress bar on the terminal, ``log.csv``, and events for TensorBoard."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asr.console import ProgressBar, is_terminal
from asr.files import write_text
from asr.training.config import TrainingConfig
from asr.training.validation import DevResult

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Time between two lines within an epoch where there is no terminal, and between two changes of the bar's text.
LINE_SECONDS = 600.0
STATUS_SECONDS = 1.0

Row = Mapping[str, float]


def log_row(names: Sequence[str], sums: Sequence[float]) -> dict[str, float]:
    """Return the means over an epoch, or over a part of it, from the sums over its steps; see `Stepper.names`.

    Losses are in nats per token; norms and shares are means over steps.
    """
    total = dict(zip(names, sums, strict=True))
    steps, measured = max(1.0, total["steps"]), max(1.0, total["measured"])
    row = {
        "train_loss": total["loss"] / max(1.0, total["tokens"]),
        "gradient_norm": total["gradient_norm"] / steps,
        "clipped": total["clipped"] / steps,
        "skipped": total["skipped"],
        "blank": total["blank"] / max(1.0, total["output_frames"]),
    }
    for name in names:
        if name.startswith("gradient_norm."):
            row[name] = total[name] / steps
        elif name.startswith("update."):
            row[name] = total[name] / measured
    return row


def clock(seconds: float) -> str:
    """Return a time such as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Monitor:
    """Writes the log and shows how far a run is.

    Parameters
    ----------
    directory : Path
        Receives ``log.csv`` and ``tensorboard/``.
    config : TrainingConfig
    quiet : bool
        Whether to write and show nothing, as all ranks but the first do.
    """

    def __init__(self, directory: Path, config: TrainingConfig, *, quiet: bool = False) -> None:
        self.directory = directory
        self.epochs = config.epochs
        self.quiet = quiet
        self.live = not quiet and is_terminal(sys.stderr)
        self._writes_events = config.tensorboard and not quiet and importlib.util.find_spec("tensorboard") is not None
        self._events: SummaryWriter | None = None
        self._bar = ProgressBar(quiet=quiet)
        self._update: Callable[..., None] = lambda *_, **__: None
        self._shown = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            self._bar.message(text)

    def warn(self, text: str) -> None:
        """Print a line that should be read."""
        self.say(f"warning: {text}")

    def end_epoch(self, rows: Sequence[Row], result: DevResult, *, best: bool) -> None:
        """Write the log of all epochs so far, and show the last one's line with what was recognised."""
        epoch, row = len(rows), rows[-1]
        if self.quiet:
            return
        # Settings that were changed on the way may have changed the columns.
        columns = list(dict.fromkeys(name for r in rows for name in r))
        lines = [",".join(("epoch", *columns))]
        for number, r in enumerate(rows, start=1):
            lines.append(",".join((str(number), *(f"{r[name]:.6g}" if name in r else "" for name in columns))))
        write_text(self.directory / "log.csv", "\n".join(lines) + "\n")
        left = (self.epochs - epoch) * sum(r["seconds"] for r in rows) / epoch
        self.say(
            f"epoch {epoch:{len(str(self.epochs))}d}/{self.epochs}  loss {row['train_loss']:.4f}  "
            f"dev loss {row['dev_loss']:.4f}  WER {100 * row['dev_wer']:.2f} %  CER {100 * row['dev_cer']:.2f} %  "
            f"{clock(row['seconds'])}, "
            f"{row['hours_per_second']:.3g} hours/s, {clock(left)} left{'  best' if best else ''}"
        )
        if len(result.sets) > 1:
            rates = (f"{name} {100 * one.wer:.2f} %, {100 * one.cer:.2f} %" for name, one in result.sets.items())
            self.say(f"    {'; '.join(rates)}")
        if self.live:
            for reference, hypothesis in result.samples:
                self.say(f"    said   {reference}")
                self.say(f"    heard  {hypothesis}")
        if self._writes_events:
            self._write_events(epoch, row, result)

    @contextmanager
    def epoch(self, number: int, steps: int) -> Iterator[None]:
        """Show a bar while an epoch of so many `steps` runs, on a terminal."""
        self._shown = time.monotonic()
        with self._bar.task(f"epoch {number + 1}/{self.epochs}", steps) as self._update:
            yield

    def due(self) -> bool:
        """Return whether it is time to `show_progress`: asking a GPU for numbers would make it wait."""
        return not self.quiet and time.monotonic() - self._shown > (STATUS_SECONDS if self.live else LINE_SECONDS)

    def show_progress(self, done: int, steps: int, loss: float, seconds: float) -> None:
        """Show how far the epoch is, after `done` of its `steps` in so many `seconds`."""
        self._shown = time.monotonic()
        text = f"step {done}/{steps}  loss {loss:.3f}"
        if self.live:
            self._update(done, note=text)
        else:
            self.say(f"  {text}  {clock(seconds * (steps - done) / done)} left in the epoch")

    def close(self) -> None:
        """Take the bar away, and write what is still to be written."""
        self._bar.close()
        if self._events is not None:
            self._events.close()

    def _write_events(self, epoch: int, row: Row, result: DevResult) -> None:
        if self._events is None:
            # Takes half a second to import.
            from torch.utils.tensorboard import SummaryWriter

            # Events of a future that a resume has undone are not to be shown.
            self._events = SummaryWriter(str(self.directory / "tensorboard"), purge_step=epoch)
        for name, value in row.items():
            self._events.add_scalar(name.replace(".", "/", 1), value, epoch)
        samples = "\n\n".join(f"said: {reference}  \nheard: {hypothesis}" for reference, hypothesis in result.samples)
        self._events.add_text("samples", samples, epoch)
        self._events.flush()
