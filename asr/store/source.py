"""The origin of a stored utterance as one line of text: recordings of the corpus, and how they were changed."""

import re
from dataclasses import dataclass
from typing import Self

JOINED = " + "
# Only what `Source` writes: names of files may have "#" in them too.
CHANGE = r"(?:t=[\d.,e+-]+|channels=[\d,]+|speed=[\d.]+)"
FRAGMENT = re.compile(rf"#(?P<values>{CHANGE}(?:&{CHANGE})*)$")


@dataclass(frozen=True)
class Source:
    """The origin of an utterance.

    As text, the names of the recordings are joined by `` + ``; the changes follow, as in W3C's media fragments:
    ``#t=start,end`` in seconds for a part, ``#channels=1``, ``#speed=0.9``, several with ``&`` between.

    Parameters
    ----------
    files : tuple of str
        The recordings, relative to the corpus's folder.
    start_seconds, end_seconds : float
        The part of the recording that was taken; an end of None is the end of the file.
    speed : float
    channels : tuple of int
        Empty: all.
    """

    files: tuple[str, ...]
    start_seconds: float = 0.0
    end_seconds: float | None = None
    speed: float = 1.0
    channels: tuple[int, ...] = ()

    def __str__(self) -> str:
        changes = []
        if self.end_seconds is not None:
            changes.append(f"t={_seconds(self.start_seconds)},{_seconds(self.end_seconds)}")
        elif self.start_seconds:
            changes.append(f"t={_seconds(self.start_seconds)}")
        if self.channels:
            changes.append(f"channels={','.join(map(str, self.channels))}")
        if self.speed != 1.0:
            changes.append(f"speed={self.speed:g}")
        names = JOINED.join(self.files)
        return f"{names}#{'&'.join(changes)}" if changes else names

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a stored ``source`` says."""
        match = FRAGMENT.search(text)
        pairs = dict(pair.split("=") for pair in match["values"].split("&")) if match else {}
        files = text[: match.start()] if match else text
        start, _, end = pairs.get("t", "0").partition(",")
        return cls(
            files=tuple(files.split(JOINED)),
            start_seconds=float(start),
            end_seconds=float(end) if end else None,
            speed=float(pairs.get("speed", "1")),
            channels=tuple(int(channel) for channel in pairs.get("channels", "").split(",") if channel),
        )


def _seconds(value: float) -> str:
    """Return microseconds exactly, however long the recording, without needless zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")
