"""Recognition for one client: live with a model that streams, else utterance by utterance."""

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.audio import Waveform
from asr.errors import UsageError
from asr.live import EndOfUtterance, EndpointRules, Event, Partial, Stable
from asr.live.endpoint import Reason
from asr.live.events import shifted
from asr.server.engine import Engine, Request, ServedModel
from asr.server.errors import ApiError, failure
from asr.server.forms import fit_case
from asr.server.streams import CONTEXT_SECONDS, MAX_RATE, MIN_RATE, Ear, EarOptions, Failed, Heard, SpeechStarted
from asr.transcription.decoding import DecodingOptions

if TYPE_CHECKING:
    from concurrent.futures import Future

# Longer sound runs in pieces, so that other streams have their turn.
PIECE_SECONDS = 1.0
# For models that do not stream, level tells speech from silence: blocks, and a background level that falls at once and
# rises slowly, so that speech does not raise it.
BLOCK_SECONDS = 0.02
FIRST_BACKGROUND_DB, BACKGROUND_RISE_DB = -55.0, 0.06


async def open_ear(engine: Engine, model: ServedModel, options: EarOptions) -> Ear:
    """Return an ear that listens with `model`.

    Raises
    ------
    ApiError
        400, if the rate or a keyword cannot be used; 500, if the model cannot.
    """
    if not MIN_RATE <= options.rate <= MAX_RATE:
        raise ApiError(400, f"The rate is {options.rate} Hz; expected {MIN_RATE} to {MAX_RATE}.", param="rate")
    alphabet = frozenset(model.bundle.tokenizer.alphabet)
    decoding = DecodingOptions(hotwords=tuple(fit_case(phrase, alphabet) for phrase in options.keywords))

    def make() -> Ear:
        if model.can_stream:
            return StreamingEar(engine, model, options, decoding)
        model.decoder(decoding)
        return WholeEar(engine, model, options, decoding)

    # In a thread, since reading a graph or a language model takes time.
    opening = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: close what it opens.
        opening.add_done_callback(_abandon)
        raise
    except UsageError as error:
        raise ApiError(400, str(error)) from None
    except Exception as error:
        raise failure(error, f"model {model.name!r}") from None


def _abandon(opening: "asyncio.Future[Ear]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().abandon()


class StreamingEar:
    """Listens with a model that streams, in one batch with other clients."""

    is_streaming = True

    def __init__(self, engine: Engine, model: ServedModel, options: EarOptions, decoding: DecodingOptions) -> None:
        self._engine, self._model = engine, model
        self._batches = model.live(CONTEXT_SECONDS[options.delay])
        self._number = self._batches.listeners.open(
            options.rate, decoder=model.decoder(decoding), endpoint=options.endpoint
        )
        self.rate = options.rate
        self._is_speech = False

    async def push(self, samples: NDArray[np.float32]) -> list[Heard]:
        """Hear samples; see `Ear`."""
        heard: list[Heard] = []
        piece = round(PIECE_SECONDS * self.rate)
        for begin in range(0, len(samples), piece):
            part = samples[begin : begin + piece]
            heard += self._marked(await self._result(self._batches.push(self._number, part)))
        return heard

    async def flush(self) -> list[Heard]:
        """End the utterance; see `Ear`."""
        heard = self._marked(await self._result(self._batches.flush(self._number)))
        self._is_speech = False
        return heard

    async def close(self) -> None:
        """End; see `Ear`."""
        await self._result(self._batches.close_stream(self._number))

    def abandon(self) -> None:
        """End, without waiting for it; see `Ear`."""
        self._batches.close_stream(self._number)

    async def _result(self, events: "Future[list[Event]]") -> list[Event]:
        """Wait for a task of the stream, which runs even if nobody waits any more."""
        try:
            return await asyncio.shield(asyncio.wrap_future(events))
        except Exception as error:
            raise failure(error, f"a stream of model {self._model.name!r}") from None

    def _marked(self, events: list[Event]) -> list[Heard]:
        """Add the start of speech before the first words of an utterance."""
        heard: list[Heard] = []
        for event in events:
            if not self._is_speech and (isinstance(event, Stable) or (isinstance(event, Partial) and event.text)):
                self._is_speech = True
                start = event.words[0].start_seconds if isinstance(event, Stable) else event.start_seconds
                heard.append(SpeechStarted(start))
            if isinstance(event, EndOfUtterance):
                self._is_speech = False
            heard.append(event)
        return heard


class WholeEar:
    """Listens with a model that cannot stream: an utterance is recognised when its level says that it has ended."""

    is_streaming = False

    def __init__(self, engine: Engine, model: ServedModel, options: EarOptions, decoding: DecodingOptions) -> None:
        self._engine, self._model, self._options, self._decoding = engine, model, options, decoding
        self.rate = options.rate
        self._gone = threading.Event()
        self._block = max(1, round(BLOCK_SECONDS * options.rate))
        self._rest = np.zeros(0, np.float32)
        # The utterance, or, before it begins, its padding; and where that starts in the stream, in samples.
        self._kept: list[NDArray[np.int16]] = []
        self._kept_samples = 0
        self._begin = 0
        self._silence = 0.0
        self._is_speech = False
        self._background = FIRST_BACKGROUND_DB

    async def push(self, samples: NDArray[np.float32]) -> list[Heard]:
        """Hear samples; see `Ear`."""
        heard: list[Heard] = []
        if self._options.endpoint is None:
            limit = self._engine.options.max_upload_bytes // 2
            if self._kept_samples + len(samples) > limit:
                raise ApiError(400, f"The utterance is longer than {limit / self._options.rate:.0f} s; end it before.")
            self._keep(samples)
            if not self._is_speech and len(samples):
                self._is_speech = True
                heard.append(SpeechStarted(self._begin / self._options.rate))
            return heard
        samples = np.concatenate((self._rest, samples))
        count = len(samples) // self._block
        self._rest = samples[count * self._block :]
        for block in samples[: count * self._block].reshape(count, self._block):
            heard += await self._hear(block, self._options.endpoint)
        return heard

    async def flush(self) -> list[Heard]:
        """End the utterance; see `Ear`."""
        self._keep(self._rest)
        self._rest = self._rest[:0]
        return await self._end("flush")

    async def close(self) -> None:
        """End; see `Ear`."""
        self._gone.set()

    def abandon(self) -> None:
        """End; see `Ear`."""
        self._gone.set()

    def _keep(self, samples: NDArray[np.float32]) -> None:
        # In 16 bits, as they arrived: an utterance may be long.
        self._kept.append(np.round(samples * 32768).astype(np.int16))
        self._kept_samples += len(samples)

    async def _hear(self, block: NDArray[np.float32], rules: EndpointRules) -> list[Heard]:
        options = self._options
        heard: list[Heard] = []
        level = 10 * float(np.log10(np.mean(block**2) + 1e-10))
        is_sound = level > self._background + 6 + 12 * options.threshold
        self._background = min(level, self._background + BACKGROUND_RISE_DB)
        self._keep(block)
        self._silence = 0.0 if is_sound else self._silence + BLOCK_SECONDS
        if is_sound and not self._is_speech:
            self._is_speech = True
            heard.append(SpeechStarted(self._begin / options.rate))
        if self._is_speech:
            reason = rules.ended(self._silence, self._kept_samples / options.rate, has_speech=True)
            return heard + (await self._end(reason) if reason else [])
        while self._kept_samples > options.padding_seconds * options.rate:
            self._forget(len(self._kept.pop(0)))
        return heard

    def _forget(self, samples: int) -> None:
        self._begin += samples
        self._kept_samples -= samples

    async def _end(self, reason: Reason) -> list[Heard]:
        had_speech, begin, rate = self._is_speech, self._begin, self._options.rate
        samples = np.divide(np.concatenate((np.zeros(0, np.int16), *self._kept)), 32768, dtype=np.float32)
        self._forget(self._kept_samples)
        self._kept, self._silence, self._is_speech = [], 0.0, False
        if not had_speech:
            return []
        work = Request(Waveform(samples, rate), self._decoding)
        try:
            transcript = await self._engine.run(self._model, work, self._gone)
        except ApiError as error:
            return [Failed(error, begin / rate, (begin + len(samples)) / rate)]
        words = shifted(tuple(transcript.words), begin / rate)
        return [*([Stable(words)] if words else []), EndOfUtterance(transcript, begin / rate, reason)]
