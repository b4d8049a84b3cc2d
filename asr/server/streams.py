"""Sound that comes while it is said: what the Realtime, vosk and Wyoming protocols have in common."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.audio import Waveform
from asr.decoder import Word
from asr.errors import UsageError
from asr.live import EndOfUtterance, EndpointRules, Event, Partial, Stable
from asr.live.endpoint import Reason
from asr.live.events import shifted
from asr.server.engine import Engine, Request, ServedModel
from asr.server.errors import ApiError
from asr.server.forms import fit_case
from asr.transcription.decoding import DecodingOptions

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
# Seconds of right context that a model of two directions sees: words come so much later, and are the better for it.
CONTEXT_SECONDS: dict[Delay, float] = {"minimal": 0.16, "low": 0.32, "medium": 0.6, "high": 1.2, "xhigh": 2.0}

# Of a telephone's to a studio's.
MIN_RATE, MAX_RATE = 4_000, 192_000
# More is given to the network piece by piece, so that other streams have their turn.
PIECE_SECONDS = 1.0
# A client that says nothing for so long is taken for gone.
IDLE_SECONDS = 300.0

# How sound is told from silence where the network does not do it: blocks, and a level of the background that falls at
# once and rises slowly, so that speech does not raise it.
BLOCK_SECONDS = 0.02
FIRST_BACKGROUND_DB, BACKGROUND_RISE_DB = -55.0, 0.06


@dataclass(frozen=True)
class SpeechStarted:
    """Somebody begins to speak.

    Parameters
    ----------
    seconds : float
        From the start of the stream.
    """

    seconds: float


Heard = SpeechStarted | Event


@dataclass(frozen=True)
class EarOptions:
    """How a client is listened to.

    Parameters
    ----------
    rate : int
        Of its samples, in Hz.
    keywords : tuple of str
        Hotwords.
    delay : {"minimal", "low", "medium", "high", "xhigh"}
    endpoint : EndpointRules, optional
        When utterances end. None: the client says so; models that stream also end them by the rules of `asr.live`.
    threshold : float
        From 0 to 1: how far above the background sound is speech, for models that cannot stream.
    padding_seconds : float
        What is heard before such speech.
    """

    rate: int
    keywords: tuple[str, ...] = ()
    delay: Delay = "medium"
    endpoint: EndpointRules | None = field(default_factory=EndpointRules)
    threshold: float = 0.5
    padding_seconds: float = 0.3


class Ear(Protocol):
    """Listens to one client."""

    async def push(self, samples: NDArray[np.float32]) -> list[Heard]:
        """Hear samples ``(N,)``, and return what is new."""
        ...

    async def flush(self) -> list[Heard]:
        """End the utterance with what was heard so far."""
        ...

    async def close(self) -> None:
        """End without further events."""
        ...


@contextmanager
def place_for_stream(engine: Engine) -> Iterator[None]:
    """Take one of the places for streams.

    Raises
    ------
    ApiError
        429, if all are taken.
    """
    with ExitStack() as stack:
        engine.streams.take(stack)
        yield


async def open_ear(engine: Engine, model: ServedModel, options: EarOptions) -> Ear:
    """Return what listens with `model`.

    Raises
    ------
    ApiError
        400, if the rate or a keyword cannot be used.
    """
    if not MIN_RATE <= options.rate <= MAX_RATE:
        raise ApiError(400, f"The rate is {options.rate} Hz; expected {MIN_RATE} to {MAX_RATE}.", param="rate")
    alphabet = frozenset(model.bundle.tokenizer.alphabet)
    decoding = DecodingOptions(hotwords=tuple(fit_case(phrase, alphabet) for phrase in options.keywords))
    try:
        # Reading a model's graph or a language model takes its time: others are served meanwhile.
        if model.can_stream:
            return await asyncio.to_thread(StreamingEar, model, options, decoding)
        await asyncio.to_thread(model.decoder, decoding)
        return WholeEar(engine, model, options, decoding)
    except UsageError as error:
        raise ApiError(400, str(error)) from None


class StreamingEar:
    """Hears with a model that streams, in one batch with all other clients."""

    def __init__(self, model: ServedModel, options: EarOptions, decoding: DecodingOptions) -> None:
        self._batches = model.live(CONTEXT_SECONDS[options.delay])
        self._number = self._batches.listeners.open(
            options.rate, decoder=model.decoder(decoding), endpoint=options.endpoint
        )
        self._rate = options.rate
        self._samples = 0
        self._is_speech = False
        self._busy: asyncio.Future[list[Event]] | None = None

    async def push(self, samples: NDArray[np.float32]) -> list[Heard]:
        """Hear samples; see `Ear`."""
        heard: list[Heard] = []
        piece = round(PIECE_SECONDS * self._rate)
        for begin in range(0, len(samples), piece):
            part = samples[begin : begin + piece]
            self._samples += len(part)
            self._busy = asyncio.wrap_future(self._batches.push(self._number, part))
            heard += self._marked(await asyncio.shield(self._busy))
        return heard

    async def flush(self) -> list[Heard]:
        """End the utterance; see `Ear`."""
        heard = self._marked(await asyncio.to_thread(self._batches.listeners.flush, self._number))
        self._is_speech = False
        return heard

    async def close(self) -> None:
        """End; see `Ear`."""
        if self._busy is not None:
            # Its samples may still be on their way through the network.
            await asyncio.wait([self._busy])
        await asyncio.to_thread(self._batches.listeners.close, self._number)

    def _marked(self, events: list[Event]) -> list[Heard]:
        """Put the start of speech before the first words of an utterance."""
        heard: list[Heard] = []
        for event in events:
            says = event.words if isinstance(event, Stable) else isinstance(event, Partial) and event.text
            if says and not self._is_speech:
                self._is_speech = True
                now = self._samples / self._rate
                heard.append(SpeechStarted(event.words[0].start_seconds if isinstance(event, Stable) else now))
            if isinstance(event, EndOfUtterance):
                self._is_speech = False
            heard.append(event)
        return heard


class WholeEar:
    """Hears with a model that cannot stream: an utterance is recognised when it has ended, which its level tells."""

    def __init__(self, engine: Engine, model: ServedModel, options: EarOptions, decoding: DecodingOptions) -> None:
        self._engine, self._model, self._options, self._decoding = engine, model, options, decoding
        self._gone = threading.Event()
        self._block = max(1, round(BLOCK_SECONDS * options.rate))
        self._rest = np.zeros(0, np.float32)
        # The utterance, and, before it begins, what may be its padding; where that is in the stream, in samples.
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
        for block in samples[: count * self._block].reshape(count, self._block):
            heard += await self._hear(block, self._options.endpoint)
        self._rest = samples[count * self._block :]
        return heard

    async def flush(self) -> list[Heard]:
        """End the utterance; see `Ear`."""
        self._keep(self._rest)
        self._rest = self._rest[:0]
        return await self._end("flush")

    async def close(self) -> None:
        """End; see `Ear`."""
        self._gone.set()

    def _keep(self, samples: NDArray[np.float32]) -> None:
        # As the 16 bits that they came in, or less: a client may be heard for long.
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
        transcript = await self._engine.run(self._model, work, self._gone)
        words = shifted(tuple(transcript.words), begin / rate)
        return [*([Stable(words)] if words else []), EndOfUtterance(transcript, begin / rate, reason)]


def decode_samples(content: bytes, kind: str) -> NDArray[np.float32]:
    """Return float32 samples ``(N,)`` in [-1, 1].

    Parameters
    ----------
    content : bytes
    kind : {"audio/pcm", "audio/pcmu", "audio/pcma"}
        16 bits little-endian, or G.711's μ-law or A-law (ITU-T G.711, tables 2a and 1a).

    Raises
    ------
    ApiError
        400, if 16-bit samples are cut in two.
    """
    if kind == "audio/pcm":
        if len(content) % 2:
            raise ApiError(400, f"Got {len(content)} bytes of audio; expected whole samples of 16 bits.", param="audio")
        samples: NDArray[np.float32] = np.divide(np.frombuffer(content, "<i2"), 32768, dtype=np.float32)
        return samples
    codes = np.arange(256) ^ (0xFF if kind == "audio/pcmu" else 0x55)
    exponent, mantissa = (codes >> 4) & 7, codes & 15
    if kind == "audio/pcmu":
        magnitude = ((2 * mantissa + 33) << (exponent + 2)) - 132
        sign = np.where(codes & 0x80, -1, 1)
    else:
        magnitude = (2 * mantissa + 1 + np.where(exponent > 0, 32, 0)) << (np.maximum(exponent, 1) + 2)
        sign = np.where(codes & 0x80, 1, -1)
    table: NDArray[np.float32] = (sign * magnitude / 32768).astype(np.float32)
    return table[np.frombuffer(content, np.uint8)]


def text_of(words: tuple[Word, ...]) -> str:
    """Return words as text."""
    return " ".join(word.text for word in words)
