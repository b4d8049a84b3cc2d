"""The terminal: progress bars, and from a typer application to an exit status, with explained errors as one line."""

import io
import sys
import time
import unicodedata
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

import typer

from asr.errors import AsrError, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# 128 + SIGINT, as shells have it.
INTERRUPTED = 130

# Categories of characters that move the cursor, colour the screen or turn the direction of writing.
_CONTROLS = frozenset(["Cc", "Cf", "Cs", "Zl", "Zp"])

# click's base class of all command-line mistakes, whichever copy of click this version of typer carries.
_CommandLineError: Any = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")


def run(app: typer.Typer, name: str, interrupted: str = "interrupted") -> NoReturn:
    """Run `app` and exit: 0, 1 for an error that is explained, 2 for wrong usage, 130 after Ctrl-C.

    Parameters
    ----------
    app : typer.Typer
    name : str
        Of the program, before each error.
    interrupted : str
        What to say after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding gets an escape for what it cannot show, rather than a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        # Not standalone: typer would answer Ctrl-C by "Aborted!" and status 1.
        status = app(prog_name=name, standalone_mode=False) or 0
    except _CommandLineError as error:
        error.show()
        status = error.exit_code
    except UsageError as error:
        status = _fail(name, error, 2)
    except AsrError as error:
        status = _fail(name, error, 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        status = _fail(name, f"{place}{error.strerror or error}", 1)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    if status == INTERRUPTED:
        _fail(name, interrupted, status)
    sys.exit(status)


def printable(text: object) -> str:
    r"""Return text with control characters written as escapes, such as ``\x1b``: names of files may have any."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _CONTROLS else character
        for character in str(text)
    )


def is_terminal(stream: Any) -> bool:
    """Tell whether a standard stream is a terminal; it is None where it was closed."""
    return stream is not None and not stream.closed and bool(stream.isatty())


def _fail(name: str, message: object, status: int) -> int:
    # The lines of a list, of choices or of words, are meant.
    lines = str(message).split("\n") if isinstance(message, UsageError | DataError) else [str(message)]
    print(f"{name}: " + "\n".join(map(printable, lines)), file=sys.stderr)
    return status


class ProgressBar:
    """Progress on the error stream, if that is a terminal; messages go above the bars.

    Parameters
    ----------
    quiet : bool
        Whether to show messages alone.
    delay_seconds : float
        Work that takes less time than this needs no bar.
    """

    def __init__(self, *, quiet: bool = False, delay_seconds: float = 0.0) -> None:
        self._is_shown = not quiet and is_terminal(sys.stderr)
        self._starts = time.monotonic() + delay_seconds
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away; messages may follow."""
        if self._bar is not None:
            self._bar.stop()

    @contextmanager
    def task(
        self, label: str, total: float | None = None, *, unit: str = "", scale: int = 1
    ) -> "Iterator[Callable[..., None]]":
        """Show a bar; yields ``update(done, total=None, note="")``, where the note stands for "done of total".

        Parameters
        ----------
        label : str
        total : float, optional
            Until a call of ``update`` gives another; None: not known.
        unit : str
        scale : int
            By which done and total are divided to be shown.
        """
        number: Any = None
        latest = total

        def update(done: float, total: float | None = None, note: str = "") -> None:
            nonlocal number, latest
            latest = total or latest
            bar = self._started()
            if bar is None:
                return
            if number is None:
                number = bar.add_task(label, total=None, note="")
            counts = f"{done / scale:,.0f}{f' of {latest / scale:,.0f}' if latest else ''}{f' {unit}' if unit else ''}"
            bar.update(number, completed=done, total=latest, note=note or (counts if done or latest else ""))

        update(0)
        try:
            yield update
        finally:
            if number is not None:
                self._bar.refresh()
                self._bar.remove_task(number)

    def message(self, text: str) -> None:
        """Print a line on the error stream."""
        text = printable(text)
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _started(self) -> Any:
        """Return rich's progress bar, or None where nothing is to be shown (yet)."""
        if self._bar is None and self._is_shown and time.monotonic() >= self._starts:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(elapsed_when_finished=True),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._bar.start()
        return self._bar
