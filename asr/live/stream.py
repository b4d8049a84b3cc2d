"""One stream: its features, its state in the network, and its present utterance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.decoder.hypothesis import text_of
from asr.live.endpoint import EndpointRules, Reason
from asr.live.events import EndOfUtterance, Event, Partial, Stable, UtteranceDecoder, begin_utterance, shifted
from asr.live.frames import FeatureStream
from asr.live.model import LiveModel
from asr.live.network import Chunk, NetworkStream
from asr.tokenizer import BLANK
from asr.transcription.decoding import Decoder
from asr.transcription.transcript import Segment, Transcript

if TYPE_CHECKING:
    from asr.decoder import Word


@dataclass(frozen=True)
class Opening:
    """Options of a stream."""

    rate: int
    decoder: Decoder
    endpoint: EndpointRules


class Stream:
    """One stream.

    Parameters
    ----------
    model : LiveModel
    opening : Opening
    origin_seconds : float
        Time at its start.
    """

    def __init__(self, model: LiveModel, opening: Opening, origin_seconds: float = 0.0) -> None:
        self.model, self.opening = model, opening
        self.origin_seconds = origin_seconds
        self.features = FeatureStream(model.log_mel, opening.rate)
        self.network: NetworkStream = model.network.open()
        # See `Listeners.behind_seconds`.
        self.behind_seconds = 0.0
        # Of features pushed instead of samples.
        self._num_pushed = 0
        # Frames of log-probs since the stream began; the start of the utterance, and its first and last frames in which
        # the blank is not the best label.
        self._num_frames = 0
        self._utterance: UtteranceDecoder = begin_utterance(opening.decoder)
        self._start = 0
        self._first_sound = 0
        self._last_sound: int | None = None
        self._words: list[Word] = []
        self._partial = ""

    @property
    def num_due(self) -> int:
        """How many chunks can run, features that were not computed yet included."""
        return self.model.network.num_due(self.network, self.features.num_ready)

    @property
    def seconds(self) -> float:
        """Time at the end of the samples pushed so far."""
        pushed = self._num_pushed * self.model.log_mel.config.hop_seconds
        return self.origin_seconds + self.features.num_samples / self.opening.rate + pushed

    @property
    def start_seconds(self) -> float:
        """Start of the utterance, in seconds from the start of the stream."""
        return self.origin_seconds + self._start * self.model.frame_seconds

    def push_features(self, features: NDArray[np.float32]) -> None:
        """Take features ``(T, F)`` instead of samples."""
        self._num_pushed += len(features)
        self.wait(features)

    def wait(self, features: NDArray[np.float32]) -> None:
        """Queue features ``(T, F)`` for the network."""
        if len(features):
            self.network.waiting = np.concatenate((self.network.waiting, features))

    def hear(self, chunks: Sequence[Chunk]) -> list[Event]:
        """Decode chunks; after a pause the network starts afresh, and the chunks after it are run again."""
        events: list[Event] = []
        for index, chunk in enumerate(chunks):
            news, reason = self._hear(chunk)
            events += news
            if reason == "silence":
                # The network keeps nothing of one utterance for the next.
                self.model.network.restart(self.network, len(chunks) - 1 - index)
                break
        return events

    def finish(self) -> list[Event]:
        """Decode the rest of the stream and end the utterance, after all whole chunks have run."""
        events: list[Event] = []
        for chunk in self.model.network.finish(self.network):
            events += self._hear(chunk)[0]
        return events + self._end("flush")

    def _hear(self, chunk: Chunk) -> tuple[list[Event], Reason | None]:
        """Decode a chunk; return events, and why the utterance has ended, if it has."""
        count = len(chunk.best)
        if not count:
            return [], None
        self._utterance.push(chunk)
        sounds = np.flatnonzero(chunk.best != BLANK)
        if len(sounds):
            if self._last_sound is None:
                self._first_sound = self._num_frames + int(sounds[0])
            self._last_sound = self._num_frames + int(sounds[-1])
        self._num_frames += count
        events = self._news()
        seconds = self.model.frame_seconds
        since = self._start if self._last_sound is None else self._last_sound + 1
        reason = self.opening.endpoint.ended(
            (self._num_frames - since) * seconds,
            (self._num_frames - self._start) * seconds,
            has_speech=self._last_sound is not None,
        )
        return events + (self._end(reason) if reason else []), reason

    def _end(self, reason: Reason) -> list[Event]:
        """End the utterance."""
        seconds, start = self.model.frame_seconds, self.start_seconds
        rest = self._utterance.finish()
        events: list[Event] = [Stable(shifted(rest, start))] if rest else []
        words = tuple(self._words) + rest
        if words:
            duration = (self._num_frames - self._start) * seconds
            segment = Segment(0.0, duration, text_of(words), words)
            transcript = Transcript((segment,), duration, self.model.bundle.language)
            events.append(EndOfUtterance(transcript, start, reason))
        self._utterance = begin_utterance(self.opening.decoder)
        self._start, self._last_sound, self._words, self._partial = self._num_frames, None, [], ""
        return events

    def _news(self) -> list[Event]:
        events: list[Event] = []
        if words := self._utterance.take_stable():
            self._words += words
            events.append(Stable(shifted(words, self.start_seconds)))
        likely = self._utterance.partial_words
        if (text := text_of(likely)) != self._partial:
            self._partial = text
            begin = self.origin_seconds + self._first_sound * self.model.frame_seconds
            events.append(Partial(text, begin, shifted(likely, self.start_seconds)))
        return events
