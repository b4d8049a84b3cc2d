"""``WS /v1/realtime``: a transcription session of OpenAI's Realtime API (their reference of the GA version, 2026)."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from asr.decoder import Word
from asr.decoder.hypothesis import text_of
from asr.live import EndOfUtterance, Partial, Stable
from asr.server.ears import open_ear
from asr.server.engine import ClientGone, Engine
from asr.server.errors import ApiError, failure
from asr.server.inbox import Inbox
from asr.server.realtime_settings import LOGPROBS, PARTIALS, RealtimeSettings, updated
from asr.server.responses import logprobs
from asr.server.streams import (
    IDLE_SECONDS,
    Ear,
    Failed,
    Heard,
    SpeechStarted,
    decode_samples,
    hear,
    place_for_stream,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As OpenAI's.
SESSION_SECONDS = 3600
# At most so much queued sound of a client is recognised at once.
MAX_WAITING_SECONDS = 5.0
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class RealtimeSession:
    """One client.

    Parameters
    ----------
    engine : Engine
    socket : WebSocket
        Not accepted yet.
    """

    def __init__(self, engine: Engine, socket: WebSocket) -> None:
        self._engine, self._socket = engine, socket
        self._name = _new_name("sess")
        self._expires_at = int(time.time()) + SESSION_SECONDS
        self._settings = RealtimeSettings()
        self._ear: Ear | None = None
        # Queued sound, and when the first of it arrived.
        self._waiting: list[NDArray[np.float32]] = []
        self._came = 0.0
        # In seconds: length of the stream, where the ear was opened, and the end of the last item.
        self._seconds = self._ear_start = self._committed = 0.0
        # The present item, and its final words.
        self._item: str | None = None
        self._last_item: str | None = None
        self._words: list[Word] = []

    async def run(self) -> None:
        """Serve until the client goes, or its time is up."""
        await self._socket.accept("realtime" if "realtime" in self._socket.scope["subprotocols"] else None)
        inbox = Inbox(self._socket)
        try:
            with place_for_stream(self._engine):
                model = self._engine.model(self._socket.query_params.get("model", ""))
                self._settings = replace(self._settings, model=model.name)
                await self._send("session.created", session=self._describe())
                await inbox.serve(self._serve(inbox))
        except ApiError as error:
            with suppress(ClientGone):
                await self._send_error(error)
                await self._socket.close(1008)
        except ClientGone:
            pass
        finally:
            await self._close_ear()
            await inbox.close()

    async def _serve(self, inbox: Inbox) -> None:
        while True:
            left = self._expires_at - time.time()
            try:
                message, came = await inbox.get(min(IDLE_SECONDS, max(0.0, left)))
            except TimeoutError:
                problem = "sent nothing for too long" if left > IDLE_SECONDS else "has reached its maximum duration"
                raise ApiError(400, f"The session {problem}.", code="session_expired") from None
            if not self._waiting:
                self._came = came
            await self._answer(message.get("text") or message.get("bytes") or b"", is_last=not len(inbox))

    async def _answer(self, content: str | bytes, *, is_last: bool) -> None:
        """Handle one event; errors do not end the session.

        Sound is recognised together with the events that have already arrived after it.
        """
        event_id = None
        try:
            try:
                event = json.loads(content)
            except (ValueError, RecursionError):
                raise ApiError(400, "The event is not JSON.", code="invalid_json") from None
            if not isinstance(event, dict):
                raise ApiError(400, "The event is no JSON object.", code="invalid_event")
            given = event.get("event_id")
            event_id = given if isinstance(given, str) else None
            handle = self._handler(event.get("type"))
            if handle != self._append:
                # It applies to all sound before it.
                await self._hear()
            await handle(event)
        except ApiError as error:
            await self._send_error(error, event_id)
        except ClientGone:
            raise
        except Exception as error:
            await self._send_error(failure(error, f"session {self._name}"), event_id)
        if is_last or sum(map(len, self._waiting)) > MAX_WAITING_SECONDS * self._settings.rate:
            await self._hear()

    def _handler(self, kind: object) -> Callable[[dict[str, Any]], Any]:
        handlers: dict[object, Callable[[dict[str, Any]], Any]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        # A list or an object cannot be looked up.
        if not isinstance(kind, str) or kind not in handlers:
            known = ", ".join(map(str, handlers))
            raise ApiError(400, f"The event's type is {kind!r}; expected {known}.", param="type", code="invalid_value")
        return handlers[kind]

    async def _update(self, event: dict[str, Any]) -> None:
        settings = updated(self._settings, event.get("session"))
        model = self._engine.model(settings.model)
        language = model.bundle.language
        if not model.speaks(settings.language):
            problem = f"The language is {settings.language!r}; model {model.name!r} knows {language!r}."
            raise ApiError(400, problem, param="session.audio.input.transcription.language", code="invalid_value")
        if replace(settings, include=()) != replace(self._settings, include=()):
            if self._item is not None or (self._is_manual and self._seconds > self._committed):
                problem = "Only session.include can change while there is audio: commit or clear it before."
                raise ApiError(400, problem, param="session", code="invalid_event")
            # Opened now, so that errors of the settings are answers to this event.
            ear = await open_ear(self._engine, model, settings.ear())
            await self._close_ear()
            self._ear = ear
        self._settings = settings
        await self._send("session.updated", session=self._describe())

    async def _append(self, event: dict[str, Any]) -> None:
        content = event.get("audio")
        try:
            if not isinstance(content, str):
                raise ValueError("no text")
            audio = base64.b64decode(content, validate=True)
        except ValueError:
            raise ApiError(400, "The audio is not text in base64.", param="audio", code="invalid_value") from None
        self._waiting.append(decode_samples(audio, self._settings.kind))

    async def _hear(self) -> None:
        """Recognise the queued sound, and send what was said, or the error."""
        if not self._waiting:
            return
        samples, self._waiting = np.concatenate(self._waiting), []
        try:
            ear = await self._open_ear()
            self._seconds += len(samples) / self._settings.rate
            for event in await hear(self._engine, ear, samples, self._came):
                await self._tell(event)
        except ApiError as error:
            await self._send_error(error)
            if error.status >= 500:
                await self._give_up(error)

    async def _give_up(self, error: ApiError) -> None:
        """End a stream that has failed, and its present item; a new stream takes what follows."""
        await self._close_ear()
        if self._item is not None:
            await self._end_item(self._seconds, error)

    async def _commit(self, _: dict[str, Any]) -> None:
        if self._seconds <= self._committed:
            message = "The buffer holds no audio that is not committed."
            raise ApiError(400, message, code="input_audio_buffer_commit_empty")
        ear = await self._open_ear()
        problem: ApiError | None = None
        try:
            for heard in await ear.flush():
                # The commit ends the item; ends of utterances before it do not.
                if isinstance(heard, Failed):
                    problem = heard.error
                elif not isinstance(heard, EndOfUtterance):
                    await self._tell(heard)
        except ApiError as error:
            problem = error
            await self._close_ear()
        await self._end_item(self._seconds, problem)

    async def _clear(self, _: dict[str, Any]) -> None:
        await self._close_ear()
        self._item, self._words, self._committed = None, [], self._seconds
        await self._send("input_audio_buffer.cleared")

    async def _tell(self, heard: Heard) -> None:
        """Send an event."""
        if isinstance(heard, SpeechStarted):
            if self._item is None:
                self._item = _new_name("item")
                start = round(1000 * (self._ear_start + heard.seconds))
                if not self._is_manual:
                    await self._send("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._item)
        elif isinstance(heard, Stable):
            text = text_of(heard.words, continues=bool(self._words))
            self._words += heard.words
            await self._send(f"{TRANSCRIPTION}.delta", **self._content(), delta=text, **self._logprobs(heard.words))
        elif isinstance(heard, Partial):
            if PARTIALS in self._settings.include:
                text = text_of(heard.words, continues=bool(self._words))
                await self._send(f"{TRANSCRIPTION}.x_partial", **self._content(), text=text)
        elif not self._is_manual:
            problem = heard.error if isinstance(heard, Failed) else None
            last = heard.end_seconds if isinstance(heard, Failed) else heard.start_seconds + heard.transcript.duration
            end = self._ear_start + last
            await self._send("input_audio_buffer.speech_stopped", audio_end_ms=round(1000 * end), item_id=self._item)
            await self._end_item(end, problem)

    async def _end_item(self, end: float, problem: ApiError | None = None) -> None:
        """Send the item with its transcript, or with the error."""
        self._item = self._item or _new_name("item")
        previous = {"previous_item_id": self._last_item}
        content = {"type": "input_audio", "transcript": None}
        item = {"id": self._item, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        await self._send("input_audio_buffer.committed", item_id=self._item, **previous)
        await self._send("conversation.item.added", item={**item, "content": [content]}, **previous)
        await self._send("conversation.item.done", item={**item, "content": [content]}, **previous)
        if problem:
            await self._send(f"{TRANSCRIPTION}.failed", **self._content(), **problem.to_dict())
        else:
            usage = {"type": "duration", "seconds": round(max(0.0, end - self._committed), 3)}
            await self._send(
                f"{TRANSCRIPTION}.completed",
                **self._content(),
                transcript=text_of(self._words),
                usage=usage,
                **self._logprobs(self._words),
            )
        self._last_item, self._item, self._words = self._item, None, []
        self._committed = max(self._committed, end)

    @property
    def _is_manual(self) -> bool:
        return self._settings.turn_detection is None

    def _content(self) -> dict[str, Any]:
        return {"item_id": self._item, "content_index": 0}

    def _logprobs(self, words: Sequence[Word]) -> dict[str, Any]:
        return {"logprobs": logprobs(words)} if LOGPROBS in self._settings.include else {}

    def _describe(self) -> dict[str, Any]:
        return self._settings.to_dict(self._name, self._expires_at)

    async def _open_ear(self) -> Ear:
        if self._ear is None:
            model = self._engine.model(self._settings.model)
            self._ear = await open_ear(self._engine, model, self._settings.ear())
        return self._ear

    async def _close_ear(self) -> None:
        ear, self._ear, self._ear_start = self._ear, None, self._seconds
        if ear is not None:
            await ear.close()

    async def _send_error(self, error: ApiError, event_id: str | None = None) -> None:
        await self._send("error", error={**error.to_dict()["error"], "event_id": event_id})

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "event_id": _new_name("event"), **fields}
        try:
            # In ASCII: half a surrogate pair, which a client's JSON may hold, has no UTF-8.
            await self._socket.send_text(json.dumps(event))
        except (WebSocketDisconnect, RuntimeError):
            raise ClientGone from None


def _new_name(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:24]}"
