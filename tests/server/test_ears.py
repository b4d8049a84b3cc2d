"""What listens to a client, and what a server keeps for it: models are read once, and faults are told from errors."""

import asyncio
import base64
import json
import threading
import time
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the [server] extra")

from asr.bundle.bundle import Bundle
from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.decoder import BeamSearchDecoder, NGramModel, Word
from asr.errors import AudioError, DecodingError, ModelError, UsageError
from asr.live import EndOfUtterance, EndpointRule, EndpointRules, Partial, Stable
from asr.server import inbox
from asr.server.decoders import Decoders
from asr.server.ears import WholeEar, open_ear
from asr.server.engine import ClientGone, Engine, Request, ServedModel
from asr.server.errors import ApiError
from asr.server.inbox import Inbox
from asr.server.options import ServerOptions
from asr.server.realtime import RealtimeSession
from asr.server.responses import delta
from asr.server.streams import CONTEXT_SECONDS, EarOptions, Failed, SpeechStarted
from asr.server.vosk import VoskSession
from asr.transcription.decoding import DecodingOptions, make_decoder
from asr.transcription.transcript import Segment, Transcript

RATE = 8000


@pytest.fixture(scope="module")
def served(streaming_bundle):
    model = ServedModel("tiny", Bundle.load(streaming_bundle), ServerOptions({"tiny": str(streaming_bundle)}))
    yield model
    model.close()


@pytest.fixture
def reads(monkeypatch):
    """Count how often language models and graphs are read."""
    counts = {"lm": 0, "graph": 0}
    read, session = NGramModel.read, OnnxStreamingRuntime.__init__

    def counted_read(path):
        counts["lm"] += 1
        return read(path)

    def counted_session(self, *arguments):
        counts["graph"] += 1
        session(self, *arguments)

    monkeypatch.setattr(NGramModel, "read", counted_read)
    monkeypatch.setattr(OnnxStreamingRuntime, "__init__", counted_session)
    return counts


def random_log_probs(bundle, seed):
    values = np.random.default_rng(seed).standard_normal((60, len(bundle.tokenizer))).astype(np.float32) * 3
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def test_a_language_model_is_read_once_whatever_clients_ask_for(reads):
    bundle = Bundle.load("an4")
    decoders = Decoders(bundle)
    asked = [
        DecodingOptions(beam_size=size, nbest=nbest, hotwords=hotwords)
        for size, nbest in ((4, 1), (9, 3))
        for hotwords in ((), ("fort worth",), ("q", "zebra"))
    ]
    made = [decoders(options) for options in asked]
    assert reads["lm"] == 1
    for seed in range(3):
        log_probs = random_log_probs(bundle, seed)
        for options, decoder in zip(asked, made, strict=True):
            assert isinstance(decoder, BeamSearchDecoder)
            assert list(decoder(log_probs)) == list(make_decoder(bundle, options)(log_probs))
    without = decoders(DecodingOptions(lm=None, beam_size=4))
    assert isinstance(without, BeamSearchDecoder)
    assert without.lm is None
    with pytest.raises(UsageError, match="cannot write"):
        decoders(DecodingOptions(hotwords=("Ł",)))


def test_a_decoder_is_compiled_before_the_first_request(streaming_bundle, monkeypatch):
    frames = []
    monkeypatch.setattr(Decoders, "__call__", lambda _self, _options: frames.append)
    bundle = Bundle.load(streaming_bundle)
    ServedModel("tiny", bundle, ServerOptions({"tiny": str(streaming_bundle)})).close()
    np.testing.assert_allclose(np.exp(frames).sum(axis=-1), [[1.0]], rtol=1e-6)


def test_a_graph_is_read_once_for_all_delays(streaming_bundle, reads):
    bundle = Bundle.load(streaming_bundle)
    model = ServedModel("tiny", bundle, ServerOptions({"tiny": str(streaming_bundle)}))
    frames = {
        name: model.live(seconds).listeners.model.network.context_frames for name, seconds in CONTEXT_SECONDS.items()
    }
    assert frames == {name: round(seconds / bundle.frame_seconds) for name, seconds in CONTEXT_SECONDS.items()}
    assert reads["graph"] == 1
    model.close()


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (AudioError("the upload: is no audio"), 400, "is no audio"),
        (UsageError("the beam size is 0"), 400, "the beam size"),
        (ModelError("/srv/models/x: is damaged"), 500, "its log says why"),
        (DecodingError("/srv/lm.bin: is damaged"), 500, "its log says why"),
        (ZeroDivisionError("in our code"), 500, "its log says why"),
    ],
)
def test_faults_of_the_server_are_not_blamed_on_its_clients(streaming_bundle, error, status, shown, caplog):
    engine = Engine(ServerOptions({"tiny": str(streaming_bundle)}))

    def fail(*_: object) -> Any:
        raise error

    model: Any = SimpleNamespace(name="tiny", transcribe=fail)
    with pytest.raises(ApiError) as caught:
        asyncio.run(engine.run(model, Request(audio=None), threading.Event()))
    engine.close()
    assert (caught.value.status, shown in caught.value.message) == (status, True)
    # What went wrong is in the log alone.
    assert (str(error) in caplog.text) == (status == 500)
    assert (str(error) in caught.value.message) == (status == 400)


def open_streams(served):
    return sum(len(batches.listeners) for shared in list(served._live.values()) for batches in shared)


def test_an_ear_whose_client_goes_while_it_opens_is_closed(served, monkeypatch):
    begun, going_on = threading.Event(), threading.Event()
    decoder = served.decoder

    def slow(options):
        begun.set()
        going_on.wait(20)
        return decoder(options)

    monkeypatch.setattr(served, "decoder", slow)

    async def go() -> None:
        opening = asyncio.create_task(open_ear(Any, served, EarOptions(RATE)))
        await asyncio.to_thread(begun.wait, 20)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        going_on.set()
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not open_streams(served) and len(asyncio.all_tasks()) == 1:
                return

    asyncio.run(go())
    for _ in range(200):
        if not open_streams(served):
            break
        time.sleep(0.01)
    assert not open_streams(served)
    # It was opened.
    assert served.live(CONTEXT_SECONDS["medium"]).listeners._count == 1


def test_speech_starts_at_the_same_time_whatever_the_pieces(served):
    noise = np.random.default_rng(3).standard_normal(4 * RATE).astype(np.float32)
    sound = np.concatenate([np.zeros(RATE, np.float32), (0.1 * noise).clip(-1, 1)])

    async def starts(parts: list[np.ndarray]) -> list[float]:
        engine = SimpleNamespace(models={"tiny": served})
        ear = await open_ear(cast("Engine", engine), served, EarOptions(RATE))
        heard = [event for part in parts for event in await ear.push(part)] + await ear.flush()
        await ear.close()
        return [event.seconds for event in heard if isinstance(event, SpeechStarted)]

    whole = asyncio.run(starts([sound]))
    assert whole == asyncio.run(starts(np.array_split(sound, 50)))
    assert whole
    # The network sees what comes.
    assert all(0 <= seconds <= 5 for seconds in whole)


class Fails:
    """An engine that cannot recognise the first utterance."""

    options = SimpleNamespace(max_upload_bytes=10**6)

    def __init__(self) -> None:
        self.heard: list[Request] = []

    async def run(self, _model: object, request: Request, _gone: object) -> Transcript:
        self.heard.append(request)
        if len(self.heard) == 1:
            raise ApiError(500, "the first")
        return Transcript((Segment(0.0, 1.0, "two", (Word("two", 0.2, 0.5, 1.0),)),), 1.0, "en")


def test_an_utterance_that_fails_does_not_lose_what_follows_it():
    """All in one message, of which the first utterance fails; and the same cut anyhow."""
    rules = EndpointRules(rule2=EndpointRule(True, 0.3, 0.0))
    rng = np.random.default_rng(1)
    loud, quiet = 0.3 * rng.standard_normal(RATE), 1e-4 * rng.standard_normal(RATE)
    sound = np.concatenate([quiet, loud, quiet, loud, quiet]).astype(np.float32).clip(-1, 1)

    async def hear(parts: list[np.ndarray]) -> tuple[list[Any], list[Request]]:
        engine = Fails()
        ear = WholeEar(engine, Any, EarOptions(RATE, endpoint=rules), DecodingOptions())
        return [event for part in parts for event in await ear.push(part)], engine.heard

    whole, requests = asyncio.run(hear([sound]))
    kinds = [type(event) for event in whole]
    assert kinds == [SpeechStarted, Failed, SpeechStarted, type(whole[3]), EndOfUtterance]
    assert whole[1].start_seconds < 1.0 < 2.0 < whole[1].end_seconds < 2.5
    assert whole[4].start_seconds == pytest.approx(2.7, abs=0.1)
    cut, others = asyncio.run(hear(np.array_split(sound, 37)))
    assert [type(event) for event in cut] == kinds
    for one, other in zip(requests, others, strict=True):
        np.testing.assert_array_equal(one.audio.samples, other.audio.samples)


@pytest.mark.parametrize("separator", [" ", ""])
def test_replies_join_words_as_the_model_does(separator):
    words = tuple(Word(text, i, i + 1, 1.0, separator) for i, text in enumerate("北京人"))
    vosk = VoskSession(cast("Any", SimpleNamespace(model=lambda _: None)), cast("Any", None))
    assert vosk._reply([Stable(words[:1])]) == {"partial": "北"}
    partial = Partial(separator.join("京人"), 0.0, words[1:])
    assert vosk._reply([partial]) == {"partial": separator.join("北京人")}
    segment = Segment(0.0, 3.0, separator.join("北京人"), words)
    end = EndOfUtterance(Transcript((segment,), 3.0), 0.0, "silence")
    assert vosk._reply([Stable(words[1:]), end])["text"] == segment.text
    tokens = delta(segment, is_first=False, with_logprobs=True)
    assert tokens["delta"] == separator + segment.text
    assert "".join(row["token"] for row in tokens["logprobs"]) == segment.text


def test_an_inbox_takes_what_comes_and_lets_clients_wait_who_are_far_ahead(monkeypatch):
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 10)
    sent = [{"type": "websocket.receive", "text": letter * 4} for letter in "abcdef"] + [
        {"type": "websocket.disconnect"}
    ]

    class Socket:
        count = 0

        async def receive(self) -> Any:
            Socket.count += 1
            return sent[Socket.count - 1]

    async def go() -> None:
        box = Inbox(Socket())
        await asyncio.sleep(0.01)
        # Three have 12 bytes: the fourth stays in the socket.
        assert (len(box), Socket.count) == (3, 3)
        got = [(await box.get(1.0))[0] for _ in sent[:-1]]
        assert got == sent[:-1]
        with pytest.raises(TimeoutError):
            await box.get(0.01)
        await box.close()

    asyncio.run(go())


def test_what_answers_a_client_ends_when_it_goes():
    async def go(goes: bool) -> tuple[list[str], type[BaseException] | None]:
        events: list[str] = []
        said, stays = asyncio.Event(), asyncio.Event()

        class Socket:
            async def receive(self) -> Any:
                await (said if goes else stays).wait()
                return {"type": "websocket.disconnect"}

        async def work() -> None:
            said.set()
            try:
                await asyncio.sleep(20 if goes else 0)
                if not goes:
                    raise ApiError(400, "of the work")
            finally:
                # Also what takes a while is awaited.
                await asyncio.sleep(0.01)
                events.append("ended")

        box = Inbox(Socket())
        raised = None
        try:
            await box.serve(work())
        except Exception as error:
            raised = type(error)
        assert len(asyncio.all_tasks()) == 1 + (not goes)
        await box.close()
        return events, raised

    assert asyncio.run(go(True)) == (["ended"], ClientGone)
    assert asyncio.run(go(False)) == (["ended"], ApiError)


MESSAGES: dict[Any, list[str | bytes]] = {
    RealtimeSession: [
        json.dumps({"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}}),
        json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(4800)).decode()}),
        json.dumps({"type": "input_audio_buffer.commit"}),
    ],
    VoskSession: [b"\1\x70" * 800, '{"eof" : 1}'],
}


@pytest.mark.parametrize("session", MESSAGES)
def test_a_client_that_hangs_up_while_its_utterance_is_recognised_gives_back_its_place(
    streaming_bundle, monkeypatch, session
):
    begun, given_up = threading.Event(), threading.Event()

    def never_ends(_request: Request, gone: threading.Event) -> Transcript:
        begun.set()
        if gone.wait(20):
            given_up.set()
        raise ClientGone

    class Socket:
        scope: ClassVar = {"subprotocols": []}
        query_params: ClassVar = {}
        messages = iter(MESSAGES[session])

        async def accept(self, _protocol: object = None) -> None:
            pass

        async def send_text(self, _text: str) -> None:
            pass

        async def receive(self) -> Any:
            if (message := next(self.messages, None)) is None:
                await asyncio.to_thread(begun.wait, 20)
                return {"type": "websocket.disconnect"}
            return {"type": "websocket.receive", "text" if isinstance(message, str) else "bytes": message}

    # A model that cannot stream.
    monkeypatch.setattr(ServedModel, "_load_live", lambda *_: None)
    monkeypatch.setattr(ServedModel, "transcribe", lambda _, request, gone: never_ends(request, gone))
    engine = Engine(ServerOptions({"tiny": str(streaming_bundle)}))
    asyncio.run(asyncio.wait_for(session(engine, Socket()).run(), 20))
    assert begun.is_set()
    assert engine.streams.taken == 0
    assert given_up.wait(20)
    engine.close()
