"""The events of a stream, and the decoders that make them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from asr.decoder import BeamStream, GreedyDecoder, Word
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED, TokenSpan, Writer
from asr.live.endpoint import Reason
from asr.live.network import Chunk
from asr.transcription.transcript import Segment, Transcript


@dataclass(frozen=True)
class Partial:
    """The likely text after the stable words; it may still change.

    Parameters
    ----------
    text : str
    start_seconds : float
        Where speech begins in this utterance, stable words included; in seconds from the start of the stream.
    words : tuple of Word
        Those of the text; times in seconds from the start of the stream.
    """

    text: str
    start_seconds: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Stable:
    """New words that will not change any more.

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

    def push(self, chunk: Chunk) -> None:
        """Decode more frames."""
        ...

    def take_stable(self) -> tuple[Word, ...]:
        """Return the new words that will not change any more."""
        ...

    @property
    def partial_words(self) -> tuple[Word, ...]:
        """The likely words after those."""
        ...

    def finish(self) -> tuple[Word, ...]:
        """Return the words after those taken, at the end of the utterance."""
        ...


@dataclass
class _Run:
    """A label that is the best one of frames ``start <= t < end``, and the sum of its log-probabilities there."""

    label: int
    start: int
    end: int
    total: float


class GreedyUtterance:
    """The best path so far; a word is stable as soon as another begins.

    Parameters
    ----------
    decoder : GreedyDecoder
    """

    def __init__(self, decoder: GreedyDecoder) -> None:
        self._decoder = decoder
        self._writer = Writer(decoder.labels, decoder.frame_seconds)
        # Of the words that were not returned yet.
        self._runs: list[_Run] = []
        self._num_frames = 0
        self._last_label = -1
        # None: not made of the runs yet.
        self._words: tuple[Word, ...] | None = ()

    def push(self, chunk: Chunk) -> None:
        """Decode more frames."""
        decoder = self._decoder
        best, blank = chunk.best, decoder.labels.blank
        if decoder.is_plain and not (best != blank).any():
            # The common case, silence, at little cost.
            self._num_frames, self._last_label = self._num_frames + len(best), blank
            return
        labels, values = decoder.best_path(chunk.log_probs)
        for label, value in zip(labels.tolist(), values.tolist(), strict=True):
            if label != blank and label == self._last_label:
                self._runs[-1].end += 1
                self._runs[-1].total += value
            elif label != blank:
                self._runs.append(_Run(label, self._num_frames, self._num_frames + 1, value))
            self._num_frames += 1
            self._last_label = label
        self._words = None

    def take_stable(self) -> tuple[Word, ...]:
        """Return the words that are followed by another."""
        words = self._untaken()
        if len(words) < 2:
            return ()
        end = round(words[-2].end_seconds / self._decoder.frame_seconds)
        self._runs = [run for run in self._runs if run.start >= end]
        self._words = words[-1:]
        return words[:-1]

    @property
    def partial_words(self) -> tuple[Word, ...]:
        """The last word."""
        return self._untaken()

    def finish(self) -> tuple[Word, ...]:
        """Return the words that are left."""
        return self._untaken()

    def _untaken(self) -> tuple[Word, ...]:
        if self._words is None:
            begins = self._decoder.labels.begins_word
            self._words = self._writer.words(
                TokenSpan(
                    run.label,
                    run.start,
                    run.end,
                    run.total / (run.end - run.start),
                    UNLISTED if begins[run.label] else NOT_ENDED,
                )
                for run in self._runs
            )
        return self._words


class BeamUtterance:
    """Beam search; a word is stable as soon as all hypotheses have it.

    Parameters
    ----------
    stream : BeamStream
    """

    def __init__(self, stream: BeamStream) -> None:
        self._stream = stream

    def push(self, chunk: Chunk) -> None:
        """Decode more frames."""
        # No check: the network's last layer is a log-softmax.
        self._stream.push_checked(chunk.log_probs)

    def take_stable(self) -> tuple[Word, ...]:
        """Return the words that all hypotheses have."""
        return self._stream.take_stable()

    @property
    def partial_words(self) -> tuple[Word, ...]:
        """The words of the best hypothesis after those."""
        return self._stream.partial_words

    def finish(self) -> tuple[Word, ...]:
        """Return the words that are left of the best hypothesis."""
        return self._stream.finish()[0].words if self._stream.num_frames else ()


def shifted(words: tuple[Word, ...], seconds: float) -> tuple[Word, ...]:
    """Return words at times that are later by `seconds`."""
    return tuple(word.shifted(seconds) for word in words)


def begin_utterance(decoder: Any) -> UtteranceDecoder:
    """Return a decoder of one utterance in chunks, with the result of `decoder` on the whole."""
    return GreedyUtterance(decoder) if isinstance(decoder, GreedyDecoder) else BeamUtterance(decoder.stream())


def transcript_of(events: Iterable[Event]) -> Transcript:
    """Return all utterances among `events` as one transcript, with the times of the stream."""
    segments, duration, language = [], 0.0, ""
    for event in events:
        if isinstance(event, EndOfUtterance):
            start = event.start_seconds
            for segment in event.transcript.segments:
                words = shifted(segment.words, start)
                segments.append(Segment(segment.start + start, segment.end + start, segment.text, words))
            duration, language = start + event.transcript.duration, event.transcript.language
    return Transcript(tuple(segments), duration, language)
