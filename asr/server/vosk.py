"""``WS /``: the protocol of vosk-server (its ``websocket/asr_server.py``), for clients written for it."""

import json
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from asr.decoder import Word
from asr.decoder.hypothesis import text_of
from asr.live import EndOfUtterance, Partial, Stable
from asr.server.ears import open_ear
from asr.server.engine import ClientGone, Engine
from asr.server.errors import ApiError
from asr.server.forms import MAX_KEYWORDS
from asr.server.inbox import Inbox
from asr.server.streams import (
    IDLE_SECONDS,
    MAX_RATE,
    MIN_RATE,
    Ear,
    EarOptions,
    Failed,
    Heard,
    decode_samples,
    hear,
    place_for_stream,
)

# For clients that state none, as vosk-server's VOSK_SAMPLE_RATE.
SAMPLE_RATE = 8_000
# In a list of phrases: vosk's name for all other words.
UNKNOWN = "[unk]"
# RFC 6455, 7.4.1.
POLICY_VIOLATION = 1008


class VoskSession:
    """One client. vosk's protocol has no errors: after an invalid message the connection is closed with a reason.

    Parameters
    ----------
    engine : Engine
    socket : WebSocket
        Not accepted yet.
    """

    def __init__(self, engine: Engine, socket: WebSocket) -> None:
        self._engine, self._socket = engine, socket
        self._model = engine.model("")
        self._options = EarOptions(SAMPLE_RATE)
        self._with_words, self._alternatives = True, 0
        self._ear: Ear | None = None
        # Of the present utterance.
        self._words: tuple[Word, ...] = ()
        self._partial: tuple[Word, ...] = ()

    async def run(self) -> None:
        """Serve until the client ends its sound, or goes."""
        await self._socket.accept()
        inbox = Inbox(self._socket)
        reason = ""
        try:
            with place_for_stream(self._engine):
                await inbox.serve(self._serve(inbox))
        except ApiError as error:
            reason = error.message
        except TimeoutError:
            reason = "Nothing was sent for too long."
        except ClientGone:
            return
        finally:
            if self._ear is not None:
                await self._ear.close()
            await inbox.close()
        with suppress(WebSocketDisconnect, RuntimeError):
            # A reason has at most 123 bytes.
            short = reason.encode()[:120].decode(errors="ignore")
            await self._socket.close(POLICY_VIOLATION if reason else 1000, short)

    async def _serve(self, inbox: Inbox) -> None:
        while not await self._answer(*await inbox.get(IDLE_SECONDS)):
            pass

    async def _answer(self, message: Any, came: float) -> bool:
        """Answer one message, which came at that time (`time.perf_counter`); return whether it was the last."""
        if (content := message.get("bytes")) is not None:
            ear = await self._open_ear()
            await self._send(self._reply(await hear(self._engine, ear, decode_samples(content, "audio/pcm"), came)))
            return False
        try:
            command = json.loads(message.get("text") or "")
        except (ValueError, RecursionError):
            command = None
        if not isinstance(command, dict):
            raise ApiError(400, "Expected sound, or a JSON object with config, eof or reset.")
        if "config" in command:
            await self._configure(command["config"])
            return False
        if "eof" not in command and "reset" not in command:
            raise ApiError(400, "Expected sound, or a JSON object with config, eof or reset.")
        ear = await self._open_ear()
        await self._send(self._reply(await ear.flush(), is_final=True))
        return "eof" in command

    async def _configure(self, config: object) -> None:
        if not isinstance(config, dict):
            raise ApiError(400, "config is no object.")
        rate = config.get("sample_rate", self._options.rate)
        phrases = config.get("phrase_list") or []
        if isinstance(phrases, str):
            # Older clients send a list as text.
            with suppress(ValueError):
                phrases = json.loads(phrases)
        # NaN and infinity, which Python's JSON has, are in no range.
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not MIN_RATE <= rate <= MAX_RATE:
            raise ApiError(400, f"sample_rate is {rate!r}; expected {MIN_RATE} to {MAX_RATE} Hz.")
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise ApiError(400, "phrase_list is no list of texts.")
        if len(phrases) > MAX_KEYWORDS:
            raise ApiError(400, f"phrase_list has {len(phrases)} phrases; expected at most {MAX_KEYWORDS}.")
        alternatives = config.get("max_alternatives", 0)
        self._alternatives = alternatives if isinstance(alternatives, int) else 0
        self._with_words = bool(config.get("words", True))
        # The name of a served model, never a path.
        model = config.get("model")
        self._model = self._engine.model(model if isinstance(model, str) else "")
        keywords = tuple(" ".join(phrase.split()) for phrase in phrases if phrase.strip() and phrase != UNKNOWN)
        self._options = EarOptions(int(rate), keywords)
        ear, self._ear, self._words, self._partial = self._ear, None, (), ()
        if ear is not None:
            await ear.close()
        await self._open_ear()

    async def _open_ear(self) -> Ear:
        if self._ear is None:
            self._ear = await open_ear(self._engine, self._model, self._options)
        return self._ear

    def _reply(self, heard: list[Heard], *, is_final: bool = False) -> dict[str, Any]:
        """Return the one reply to a message: the utterances that ended in it, or else the likely text so far."""
        ended: tuple[Word, ...] = ()
        has_ended = is_final  # Also where nothing was said.
        for event in heard:
            if isinstance(event, Stable):
                self._words += event.words
            elif isinstance(event, Partial):
                self._partial = event.words
            elif isinstance(event, Failed):
                raise event.error
            elif isinstance(event, EndOfUtterance):
                ended, has_ended = ended + self._words, True
                self._words, self._partial = (), ()
        if not has_ended:
            return {"partial": text_of(self._words + self._partial)}
        return self._result(ended)

    def _result(self, words: tuple[Word, ...]) -> dict[str, Any]:
        text = text_of(words)
        rows = [
            {
                "conf": round(word.confidence, 6),
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
                "word": word.text,
            }
            for word in words
        ]
        if self._alternatives > 0:
            # Streams have no alternatives but the best.
            confidence = sum(word.confidence for word in words) / max(1, len(words))
            result = {"result": rows} if self._with_words else {}
            return {"alternatives": [{"confidence": round(confidence, 6), **result, "text": text}]}
        return {**({"result": rows} if rows and self._with_words else {}), "text": text}

    async def _send(self, reply: dict[str, Any]) -> None:
        try:
            await self._socket.send_text(json.dumps(reply, ensure_ascii=False))
        except (WebSocketDisconnect, RuntimeError):
            raise ClientGone from None
