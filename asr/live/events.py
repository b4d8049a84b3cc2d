"""What a listener says, and the decoders that it hears with."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.decoder import BeamStream, GreedyDecoder, Word
from asr.live.endpoint import Reason
from asr.transcription.transcript import Transcript


@dataclass(frozen=True)
class Partial:
    """What is likely said after the stable words; it may still change.

    Parameters
    ----------
    text : str
    """

    text: str


@dataclass(frozen=True)
class Stable:
    """Words that nothing to come can change.

    Parameters
    ----------
    words : tuple of Word
        Times in seconds from the start of the stream.
    """

    words: tuple[Word, ...]


@dataclass(frozen=True)
class EndOfUtterance:
    """The end of an utterance in which something was said.

    Parameters
    ----------
    transcript : Transcript
        All of it, stable words included; times in seconds from the start of the utterance.
    start_seconds : float
        Where the utterance starts in the stream.
    reason : {"silence", "length", "flush"}
    """

    transcript: Transcript
    start_seconds: float
    reason: Reason


Event = Partial | Stable | EndOfUtterance


class UtteranceDecoder(Protocol):
    """Decodes one utterance chunk by chunk."""

    def push(self, log_probs: NDArray[np.float32]) -> None:
        """Decode some frames more."""
        ...

    def take_stable(self) -> tuple[Word, ...]:
        """Return the words that are new and that nothing to come can change."""
        ...

    @property
    def partial_text(self) -> str:
        """What is likely said after those."""
        ...

    def finish(self) -> tuple[Word, ...]:
        """Return the words after those taken, at the end of the utterance."""
        ...


class GreedyUtterance:
    """The best path so far; a word is stable as soon as another begins.

    Parameters
    ----------
    decoder : GreedyDecoder
    """

    def __init__(self, decoder: GreedyDecoder) -> None:
        self._decoder = decoder
        self._rows: list[NDArray[np.float32]] = []
        # Words that are taken, and the frame that the first of the rows stands for.
        self._first_frame = 0
        self._words: tuple[Word, ...] = ()

    def push(self, log_probs: NDArray[np.float32]) -> None:
        """Decode some frames more."""
        self._rows.append(log_probs)
        rows = np.concatenate(self._rows)
        self._words = self._decoder(rows)[0].words if len(rows) else ()

    def take_stable(self) -> tuple[Word, ...]:
        """Return the words that are followed by another."""
        words, self._words = self._words[:-1], self._words[-1:]
        return self._taken(words)

    @property
    def partial_text(self) -> str:
        """The last word."""
        return " ".join(word.text for word in self._words)

    def finish(self) -> tuple[Word, ...]:
        """Return the words that are left."""
        words, self._words = self._words, ()
        return self._shifted(words)

    def _taken(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """Forget the frames of the words that are taken: what follows the last of them is decoded by itself."""
        shifted = self._shifted(words)
        if words:
            seconds = self._decoder.frame_seconds
            end = round(words[-1].end_seconds / seconds)
            rows = np.concatenate(self._rows)[end:]
            self._rows, self._first_frame = [rows], self._first_frame + end
            self._words = self._decoder(rows)[0].words if len(rows) else ()
        return shifted

    def _shifted(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        offset = self._first_frame * self._decoder.frame_seconds
        return shifted(words, offset)


class BeamUtterance:
    """Beam search; a word is stable as soon as all hypotheses have it.

    Parameters
    ----------
    stream : BeamStream
    """

    def __init__(self, stream: BeamStream) -> None:
        self._stream = stream

    def push(self, log_probs: NDArray[np.float32]) -> None:
        """Decode some frames more."""
        self._stream.push(log_probs)

    def take_stable(self) -> tuple[Word, ...]:
        """Return the words that all hypotheses have."""
        return self._stream.take_stable()

    @property
    def partial_text(self) -> str:
        """What the best hypothesis says after those."""
        return self._stream.partial_text

    def finish(self) -> tuple[Word, ...]:
        """Return the words that are left of the best hypothesis."""
        return self._stream.finish()[0].words if self._stream.num_frames else ()


def shifted(words: tuple[Word, ...], seconds: float) -> tuple[Word, ...]:
    """Return words at times that are later by `seconds`."""
    return tuple(
        Word(word.text, word.start_seconds + seconds, word.end_seconds + seconds, word.confidence) for word in words
    )


def begin_utterance(decoder: Any) -> UtteranceDecoder:
    """Return what decodes one utterance in chunks as `decoder` does on the whole."""
    return GreedyUtterance(decoder) if isinstance(decoder, GreedyDecoder) else BeamUtterance(decoder.stream())
