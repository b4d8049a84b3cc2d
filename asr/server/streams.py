"""Live recognition: what the Realtime, vosk and Wyoming protocols have in common."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asr.live import EndpointRules, Event, Partial, Stable
from asr.server.engine import Engine
from asr.server.errors import ApiError

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
# Right context of bidirectional models, in seconds: more is more accurate, and delays the words.
CONTEXT_SECONDS: dict[Delay, float] = {"minimal": 0.16, "low": 0.32, "medium": 0.6, "high": 1.2, "xhigh": 2.0}

# In Hz, from telephone to studio.
MIN_RATE, MAX_RATE = 4_000, 192_000
# A client that sends nothing for so long is assumed to have gone.
IDLE_SECONDS = 300.0


@dataclass(frozen=True)
class SpeechStarted:
    """The start of speech.

    Parameters
    ----------
    seconds : float
        From the start of the stream.
    """

    seconds: float


@dataclass(frozen=True)
class Failed:
    """An utterance that could not be recognised; the stream goes on.

    Parameters
    ----------
    error : ApiError
    start_seconds, end_seconds : float
        From the start of the stream.
    """

    error: ApiError
    start_seconds: float
    end_seconds: float


Heard = SpeechStarted | Event | Failed


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
        How much before such speech belongs to the utterance.
    """

    rate: int
    keywords: tuple[str, ...] = ()
    delay: Delay = "medium"
    endpoint: EndpointRules | None = field(default_factory=EndpointRules)
    threshold: float = 0.5
    padding_seconds: float = 0.3


class Ear(Protocol):
    """Listens to one client.

    Attributes
    ----------
    rate : int
        Of its samples, in Hz.
    is_streaming : bool
        Whether words come while they are said.
    """

    rate: int
    is_streaming: bool

    async def push(self, samples: NDArray[np.float32]) -> list[Heard]:
        """Recognise samples ``(N,)``, and return new events.

        Raises
        ------
        ApiError
            If the stream cannot go on.
        """
        ...

    async def flush(self) -> list[Heard]:
        """End the utterance here."""
        ...

    async def close(self) -> None:
        """End without further events."""
        ...

    def abandon(self) -> None:
        """Do as `close`, without waiting for it."""
        ...


async def hear(engine: Engine, ear: Ear, samples: NDArray[np.float32], came: float) -> list[Heard]:
    """Return the events of samples ``(N,)`` that arrived at `came` (`time.perf_counter`), and count their delay."""
    heard = await ear.push(samples)
    has_words = any(isinstance(event, Stable | Partial) for event in heard)
    # Recognition of a whole utterance is no delay of a stream.
    took = time.perf_counter() - came if ear.is_streaming else 0.0
    engine.note_live(len(samples) / ear.rate, took, has_words=has_words and ear.is_streaming)
    return heard


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
