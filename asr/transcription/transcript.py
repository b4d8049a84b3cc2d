"""What was said, and when."""

from dataclasses import dataclass
from typing import Any

from asr.decoder import Word
from asr.decoder.hypothesis import text_of


@dataclass(frozen=True)
class Alternative:
    """One possible text of a segment; `score` is the natural logarithm by which the decoder ranked it."""

    text: str
    score: float


@dataclass(frozen=True)
class Segment:
    """A stretch of audio that was decoded on its own.

    Parameters
    ----------
    start, end : float
        In seconds from the start of the audio.
    text : str
    words : tuple of Word
        With times from the start of the audio.
    alternatives : tuple of Alternative
        The n best texts, best first, `text` among them; empty if only one was asked for.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...] = ()

    @property
    def separator(self) -> str:
        """What stands between it and a segment before it: what does so between words."""
        return self.words[0].separator if self.words else " "


@dataclass(frozen=True)
class Transcript:
    """All that was said in one recording.

    Parameters
    ----------
    segments : tuple of Segment
        In order; stretches without words have no segment.
    duration : float
        Of the audio, in seconds.
    language : str
        The code of the model's language; empty if not known.
    warnings : tuple of str
        Problems of audio that could still be read.
    channel : int
        The channel transcribed, from 1; 0 for all of them, mixed.
    """

    segments: tuple[Segment, ...]
    duration: float
    language: str = ""
    warnings: tuple[str, ...] = ()
    channel: int = 0

    @property
    def text(self) -> str:
        """The whole text, in one line."""
        return text_of([segment for segment in self.segments if segment.text])

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, in order."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict[str, Any]:
        """Return whisper's JSON layout; times in seconds.

        ``text``, ``segments[{id, start, end, text, words[{word, start, end, probability}]}]``, ``language``. Our
        own additions: ``duration`` and, if there are any, a segment's ``alternatives[{text, score}]``, ``channel`` and
        ``warnings``.
        """
        return {
            "text": self.text,
            "segments": [{"id": index, **_segment(segment)} for index, segment in enumerate(self.segments)],
            **({"language": self.language} if self.language else {}),
            "duration": round(self.duration, 3),
            **({"channel": self.channel} if self.channel else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }


def _segment(segment: Segment) -> dict[str, Any]:
    alternatives = [{"text": other.text, "score": round(other.score, 3)} for other in segment.alternatives]
    return {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "words": [
            {
                "word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "probability": round(word.confidence, 4),
            }
            for word in segment.words
        ],
        **({"alternatives": alternatives} if alternatives else {}),
    }
