"""From a typer application to an exit status: explained errors are one line, never a traceback."""

import io
import sys
from typing import Any, NoReturn

import typer

from asr.errors import AsrError, UsageError

# 128 + SIGINT, as shells have it.
INTERRUPTED = 130

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


def _fail(name: str, message: object, status: int) -> int:
    print(f"{name}: {message}", file=sys.stderr)
    return status
