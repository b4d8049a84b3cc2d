"""What was said, and when."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word; `start` and `end` in seconds from the start of the audio, `confidence` in 0..1."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """A stretch of audio that was recognised on its own; `start` and `end` in seconds."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcript:
    """The segments of one audio file, in order; `duration` in seconds."""

    segments: tuple[Segment, ...]
    duration: float

    @property
    def text(self) -> str:
        """The whole text; segments without words leave no trace."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, in order."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_dict(self) -> dict[str, Any]:
        """Return whisper's JSON layout: ``text``, ``segments[{id, start, end, text, words[…]}]``; times in seconds."""
        return {
            "text": self.text,
            "duration": round(self.duration, 3),
            "segments": [
                {
                    "id": index,
                    "start": round(segment.start, 3),
                    "end": round(segment.end, 3),
                    "text": segment.text,
                    "words": [
                        {
                            "word": word.text,
                            "start": round(word.start, 3),
                            "end": round(word.end, 3),
                            "probability": round(word.confidence, 4),
                        }
                        for word in segment.words
                    ],
                }
                for index, segment in enumerate(self.segments)
            ],
        }
