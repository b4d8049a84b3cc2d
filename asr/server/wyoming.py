"""The Wyoming protocol of Home Assistant: events over TCP, each a line of JSON, data and sound.

See https://github.com/OHF-Voice/wyoming.
"""

import asyncio
import json
import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from asr.decoder.hypothesis import text_of
from asr.live import Stable
from asr.server.ears import open_ear
from asr.server.engine import Engine
from asr.server.errors import ApiError
from asr.server.streams import (
    IDLE_SECONDS,
    Ear,
    EarOptions,
    Failed,
    Heard,
    decode_samples,
    hear,
    place_for_stream,
)
from asr.version import __version__

if TYPE_CHECKING:
    from asr.decoder import Word

logger = logging.getLogger("asr.server")

# More than a second of sound at the highest rate in two channels; and far more than a line needs.
MAX_PART_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
PROJECT = {"name": "ctc-asr", "url": "https://pypi.org/project/ctc-asr/"}


@dataclass(frozen=True)
class WyomingEvent:
    """One event."""

    type: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """Return what is sent."""
        # In ASCII: half a surrogate pair, which a client's JSON may hold, has no UTF-8.
        data = json.dumps(self.data).encode()
        header = {"type": self.type, "version": __version__, "data_length": len(data)}
        return json.dumps(header).encode() + b"\n" + data


async def read_event(reader: asyncio.StreamReader) -> WyomingEvent | None:
    """Return the next event, or None at the end.

    Raises
    ------
    ApiError
        If it is none.
    IncompleteReadError
        If it is cut off.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise ApiError(400, f"The event's line is longer than {MAX_LINE_BYTES} bytes.") from None
    if not line:
        return None
    try:
        header = json.loads(line)
        kind, data = header["type"], header.get("data") or {}
        lengths = [header.get(name) or 0 for name in ("data_length", "payload_length")]
        if not isinstance(kind, str) or not isinstance(data, dict) or not all(type(n) is int for n in lengths):
            raise TypeError
        if not all(0 <= length <= MAX_PART_BYTES for length in lengths):
            raise ApiError(400, f"The event has parts of {lengths} bytes; expected at most {MAX_PART_BYTES}.")
        more = json.loads(await reader.readexactly(lengths[0])) if lengths[0] else {}
        return WyomingEvent(kind, {**data, **more}, await reader.readexactly(lengths[1]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ApiError(400, "The event is not the JSON that the Wyoming protocol expects.") from None


class WyomingServer:
    """Listens on a socket for clients of the protocol.

    Parameters
    ----------
    engine : Engine
    listener : socket
        Bound; closed with the server.
    """

    def __init__(self, engine: Engine, listener: socket.socket) -> None:
        self._engine, self._listener = engine, listener
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], WyomingSession] = {}

    async def start(self) -> None:
        """Take clients."""
        self._server = await asyncio.start_server(self._serve, sock=self._listener, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Refuse new clients, finish the transcripts under way, and end."""
        if self._server is not None:
            self._server.close()
        for task, session in self._sessions.items():
            if not session.is_finishing:
                task.cancel()
        if self._sessions:
            await asyncio.wait([*self._sessions], timeout=60)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        session = WyomingSession(self._engine, reader, writer)
        self._sessions[task] = session
        # Cancelled only by `close`.
        with suppress(asyncio.CancelledError):
            try:
                await session.run()
            finally:
                del self._sessions[task]
                writer.close()


class WyomingSession:
    """One client."""

    def __init__(self, engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._engine, self._reader, self._writer = engine, reader, writer
        self._model = engine.model("")
        self._ear: Ear | None = None
        self._words: tuple[Word, ...] = ()
        self.is_finishing = False

    async def run(self) -> None:
        """Serve until the client goes; an error is sent, and ends the connection."""
        try:
            with place_for_stream(self._engine):
                while (event := await asyncio.wait_for(read_event(self._reader), IDLE_SECONDS)) is not None:
                    await self._answer(event)
        except ApiError as error:
            with suppress(OSError):
                await self._send("error", text=error.message, code=error.code)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass
        except Exception:
            logger.exception("a Wyoming client's request failed")
        finally:
            if self._ear is not None:
                await self._ear.close()

    async def _answer(self, event: WyomingEvent) -> None:
        match event.type:
            case "describe":
                await self._send("info", **describe(self._engine))
            case "ping":
                await self._send("pong", **event.data)
            case "transcribe":
                self._model = self._engine.model(str(event.data.get("name") or ""))
                language = str(event.data.get("language") or "")
                if not self._model.speaks(language):
                    known = self._model.bundle.language
                    raise ApiError(400, f"The language is {language!r}; model {self._model.name!r} knows {known!r}.")
            case "audio-start":
                await self._begin(event)
            case "audio-chunk":
                await self._hear(event)
            case "audio-stop":
                self.is_finishing = True
                await self._finish()
                self.is_finishing = False
            case _:
                # Events of other services and of later versions are ignored.
                pass

    async def _begin(self, event: WyomingEvent) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            await ear.close()
        rate = event.data.get("rate")
        if type(rate) is not int:
            raise ApiError(400, f"The sound's rate is {rate!r}; expected a number of Hz.")
        # The client says where an utterance ends.
        self._ear = await open_ear(self._engine, self._model, EarOptions(rate, endpoint=None))
        self._words = ()
        if self._model.can_stream:
            await self._send("transcript-start", language=self._model.bundle.language)

    async def _hear(self, event: WyomingEvent) -> None:
        if self._ear is None:
            raise ApiError(400, "Got audio-chunk before audio-start.")
        width, channels = event.data.get("width"), event.data.get("channels")
        if width != 2 or type(channels) is not int or not 1 <= channels <= 32:
            raise ApiError(400, f"Samples have {width!r} bytes and {channels!r} channels; expected 2 and 1.")
        samples = decode_samples(event.payload, "audio/pcm")
        if len(samples) % channels:
            raise ApiError(400, f"Got {len(samples)} samples of {channels} channels; expected as many of each.")
        mono = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
        await self._tell(await hear(self._engine, self._ear, mono, time.perf_counter()))

    async def _finish(self) -> None:
        if self._ear is None:
            raise ApiError(400, "Got audio-stop before audio-start.")
        ear, self._ear = self._ear, None
        try:
            await self._tell(await ear.flush())
        finally:
            await ear.close()
        await self._send("transcript", text=text_of(self._words), language=self._model.bundle.language)
        if self._model.can_stream:
            await self._send("transcript-stop")

    async def _tell(self, heard: list[Heard]) -> None:
        for event in heard:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Stable):
                text = text_of(event.words, continues=bool(self._words))
                self._words += event.words
                if self._model.can_stream:
                    await self._send("transcript-chunk", text=text)

    async def _send(self, kind: str, /, **data: Any) -> None:
        self._writer.write(WyomingEvent(kind, data).to_bytes())
        await self._writer.drain()


def describe(engine: Engine) -> dict[str, Any]:
    """Return what ``info`` says of the server: all its models are one program."""
    models = [
        {
            "name": name,
            "languages": [model.bundle.language] if model.bundle.language else [],
            "attribution": PROJECT,
            "installed": True,
            "description": model.bundle.description,
            "version": __version__,
        }
        for name, model in engine.models.items()
    ]
    program = {
        "name": "ctc-asr",
        "description": "Speech to text, on this machine",
        "attribution": PROJECT,
        "installed": True,
        "version": __version__,
        "models": models,
        "supports_transcript_streaming": engine.model("").can_stream,
    }
    return {"asr": [program]}
