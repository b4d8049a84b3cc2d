"""What ``asr listen`` shows: words as they come, on a terminal, in a pipe, or as JSON."""

import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr.decoder import Word
    from asr.live import Event


class Printer(Protocol):
    """Shows events; a context manager."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, events: "Sequence[Event]") -> None:
        """Show what is new."""
        ...


class PlainPrinter:
    """Stable words as they come, one utterance per line."""

    def __init__(self) -> None:
        self._is_within_line = False

    def __enter__(self) -> "PlainPrinter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_within_line:
            # The stream has failed in the midst of an utterance.
            print()
        sys.stdout.flush()

    def show(self, events: "Sequence[Event]") -> None:
        """Print the words that are new."""
        from asr.decoder.hypothesis import text_of
        from asr.live import EndOfUtterance, Stable

        for event in events:
            if isinstance(event, Stable):
                print(text_of(event.words, continues=self._is_within_line), end="", flush=True)
                self._is_within_line = True
            elif isinstance(event, EndOfUtterance):
                print(flush=True)
                self._is_within_line = False


class TerminalPrinter:
    """Utterances that have ended, and below them the one that is being said: what may still change is dimmed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(highlight=False)
        self._live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="visible")
        self._stable: list[Word] = []
        self._partial: Sequence[Word] = ()

    def __enter__(self) -> "TerminalPrinter":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, events: "Sequence[Event]") -> None:
        """Draw the lines below anew."""
        from rich.text import Text

        from asr.decoder.hypothesis import text_of
        from asr.live import EndOfUtterance, Stable

        if not events:
            return
        for event in events:
            if isinstance(event, EndOfUtterance):
                self._live.console.print(Text(event.transcript.text))
                self._stable, self._partial = [], ()
            elif isinstance(event, Stable):
                self._stable += event.words
            else:
                self._partial = event.words
        likely = text_of(self._partial, continues=bool(self._stable))
        self._live.update(Text.assemble(text_of(self._stable), (likely, "dim")), refresh=True)


class JsonPrinter:
    """One JSON object per line for each event."""

    def __enter__(self) -> "JsonPrinter":
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, events: "Sequence[Event]") -> None:
        """Print the events."""
        from asr.cli.transcribe import print_json
        from asr.live import EndOfUtterance, Stable

        for event in events:
            if isinstance(event, Stable):
                print_json({"type": "stable", "words": [_word(word) for word in event.words]})
            elif isinstance(event, EndOfUtterance):
                start = round(event.start_seconds, 3)
                fields = {"type": "utterance", "offset": start, "reason": event.reason}
                print_json({**fields, **event.transcript.to_dict()})
            else:
                print_json({"type": "partial", "text": event.text})


def _word(word: "Word") -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_seconds, 3),
        "end": round(word.end_seconds, 3),
        "probability": round(word.confidence, 4),
    }
