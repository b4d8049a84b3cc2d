"""Words with times → subtitles that can be read: two short lines each, shown long enough, broken where speech pauses.

The limits are those of broadcasters' guidelines (BBC, Netflix): 42 characters per line, two lines, at most 7 s, and
no more than 17 characters per second, where the time to the next subtitle allows.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr.decoder import Word
from asr.decoder.hypothesis import text_of
from asr.transcription.transcript import Transcript

MAX_LINE_LENGTH = 42
MAX_LINES = 2
MAX_SECONDS = 7.0
MIN_SECONDS = 1.0
CHARACTERS_PER_SECOND = 17.0
# A silence this long ends a subtitle.
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Cue:
    """A subtitle: its lines, shown from `start` to `end` in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


def make_cues(transcript: Transcript) -> list[Cue]:
    """Return the subtitles of a transcript, in order; none overlaps the next."""
    groups = [group for segment in transcript.segments for group in _groups(segment.words)]
    cues = []
    for index, group in enumerate(groups):
        start = group[0].start_seconds
        wanted = start + max(MIN_SECONDS, len(text_of(group)) / CHARACTERS_PER_SECOND)
        # What comes next bounds how long a subtitle may stay, and so does the end of the audio.
        limit = (
            groups[index + 1][0].start_seconds
            if index + 1 < len(groups)
            else max(transcript.duration, group[-1].end_seconds)
        )
        cues.append(Cue(start, min(max(group[-1].end_seconds, wanted), max(limit, start)), lines_of(group)))
    return cues


def lines_of(words: Sequence[Word]) -> tuple[str, ...]:
    """Return words in lines of at most `MAX_LINE_LENGTH` characters; two of them about equally long."""
    lines = _wrap(words)
    if len(lines) != 2:
        return tuple(lines)
    halves = [(text_of(words[:count]), text_of(words[count:])) for count in range(1, len(words))]
    fitting = [pair for pair in halves if max(map(len, pair)) <= MAX_LINE_LENGTH]
    return min(fitting, key=lambda pair: abs(len(pair[0]) - len(pair[1])), default=tuple(lines))


def _groups(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Yield the words of each subtitle."""
    first = 0
    while first < len(words):
        last = first + 1
        while last < len(words) and _fits(words[first : last + 1]):
            last += 1
        # What does not fit is broken at the longest pause in its later half, not in the middle of a phrase.
        paused = last < len(words) and words[last].start_seconds - words[last - 1].end_seconds >= PAUSE_SECONDS
        if last < len(words) and not paused:
            middle = first + (last - first + 1) // 2
            last = max(range(middle, last + 1), key=lambda i: (words[i].start_seconds - words[i - 1].end_seconds, i))
        yield words[first:last]
        first = last


def _fits(words: Sequence[Word]) -> bool:
    return (
        words[-1].end_seconds - words[0].start_seconds <= MAX_SECONDS
        and words[-1].start_seconds - words[-2].end_seconds < PAUSE_SECONDS
        and len(_wrap(words)) <= MAX_LINES
    )


def _wrap(words: Sequence[Word]) -> list[str]:
    return textwrap.wrap(text_of(words), MAX_LINE_LENGTH, break_on_hyphens=False)
