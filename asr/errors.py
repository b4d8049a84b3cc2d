"""What can go wrong, as exceptions. Every message says what, what was got, what was expected, what to do.

AsrError
├── UsageError         an invalid option, name or combination of them (the command line exits with 2)
├── AudioError         a file or array that is not usable audio
├── DataError          a corpus, transcript or feature store that is missing, damaged or does not fit
├── ModelError         a bundle or checkpoint that is incomplete or does not fit
├── DecodingError      log-probabilities, labels, language models or decoder options that do not fit
└── MissingExtraError  an optional dependency that is not installed
"""

import difflib
from collections.abc import Iterable


class AsrError(Exception):
    """Any error that this package explains; the command line prints its message and exits with 1."""


class UsageError(AsrError, ValueError):
    """An invalid option, name or combination of them."""


class AudioError(AsrError, ValueError):
    """A file or array that is not usable audio."""


class DataError(AsrError, ValueError):
    """A corpus, transcript or feature store that is missing, damaged or does not fit."""


class ModelError(AsrError, ValueError):
    """A bundle or checkpoint that is incomplete or does not fit."""


class DecodingError(AsrError, ValueError):
    """Log-probabilities, labels, language models or decoder options that do not fit."""


class MissingExtraError(AsrError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'ctc-asr[{extra}]'")


def first_line(error: object) -> str:
    """Return the first line of what a library's error says, or its kind where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name closest to `name`, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
