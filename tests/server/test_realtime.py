"""WS /v1/realtime as clients see it: OpenAI's own client, and raw WebSockets where that client cannot go wrong."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
import soxr

pytest.importorskip("starlette", reason="needs the [server] extra")
openai = pytest.importorskip("openai", reason="needs the openai client")
websockets = pytest.importorskip("websockets.sync.client", reason="needs websockets")
exceptions = pytest.importorskip("websockets.exceptions", reason="needs websockets")

import asr  # noqa: E402
from asr.live import EndOfUtterance, Listener, transcript_of  # noqa: E402
from asr.server.engine import ServedModel  # noqa: E402
from asr.server.realtime_settings import RealtimeSettings, TurnDetection, updated  # noqa: E402
from asr.server.streams import CONTEXT_SECONDS, decode_samples  # noqa: E402

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"
KEY = "a-key-of-the-test"
RATE = 8000
EVENT = "conversation.item.input_audio_transcription"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, streaming_bundle: Path) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(KEY)
    command = [
        sys.executable,
        "-m",
        "asr",
        "serve",
        "--model",
        "an4",
        "--model",
        f"tiny={streaming_bundle}",
        "--port",
        "0",
    ]
    command += ["--aliases", "--api-key-file", str(keys), "--max-streams", "4", "--log-json"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        assert "serving" in line, line + process.stderr.read()
        yield line.split()[-1]
        process.terminate()
        rest = process.stderr.read()
        process.wait(20)
        assert "Traceback" not in rest, rest
        assert KEY not in rest


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def connect(address: str, query: str = "", **options: Any) -> Any:
    url = f"{address.replace('http', 'ws')}/v1/realtime{query}"
    given = {"additional_headers": {"Authorization": f"Bearer {KEY}"}, **options}
    return websockets.connect(url, open_timeout=20, close_timeout=5, max_size=None, **given)


def ask(socket: Any, kind: str, **fields: Any) -> None:
    socket.send(json.dumps({"type": kind, **fields}))


def hear_until(socket: Any, kind: str) -> list[SimpleNamespace]:
    events = []
    while not events or events[-1].type not in (kind, "error"):
        events.append(SimpleNamespace(**json.loads(socket.recv(timeout=20))))
    return events


def pcm(samples: np.ndarray) -> str:
    return base64.b64encode((samples * 32767).astype("<i2").tobytes()).decode()


def noise(seconds: float, seed: int = 1) -> np.ndarray:
    """Noise that comes and goes, in whole 16-bit steps."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * RATE))
    level = np.repeat(rng.choice([0.0, 0.01, 0.1, 0.3], len(samples) // 400 + 1), 400)[: len(samples)]
    steps = (np.clip(samples * level, -0.99, 0.99) * 32767).astype(np.int16)
    return np.asarray(steps.astype(np.float32) / 32768)


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager")  # By OpenAI's client.
def test_a_commit_is_answered_by_the_transcript_of_the_whole(client):
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    content = soxr.resample(samples, rate, 24_000)
    sent = (content * 32767).astype(np.int16).astype(np.float32) / 32768
    expected = asr.load("an4", threads=1).transcribe(sent, source_rate=24_000)
    with client.realtime.connect(model="whisper-1") as session:
        created = session.recv()
        assert created.type == "session.created"
        assert created.session.audio.input.turn_detection.silence_duration_ms == 500
        session.session.update(session={"type": "transcription", "audio": {"input": {"turn_detection": None}}})
        assert session.recv().session.audio.input.turn_detection is None
        for chunk in np.array_split(content, 7):
            session.input_audio_buffer.append(audio=pcm(chunk))
        session.input_audio_buffer.commit()
        deltas = ""
        for event in session:
            if event.type == f"{EVENT}.delta":
                deltas += event.delta
            if event.type == f"{EVENT}.completed":
                break
        assert event.transcript == deltas == expected.text != ""
        assert event.usage.seconds == pytest.approx(len(content) / 24_000, abs=0.002)
        session.input_audio_buffer.commit()
        assert session.recv().error.code == "input_audio_buffer_commit_empty"


def test_pauses_end_utterances_of_a_model_that_cannot_stream(address):
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    pause = np.zeros(rate, np.float32)
    with connect(address) as socket:
        ask(socket, "session.update", session={"audio": {"input": {"format": {"type": "audio/pcm", "rate": rate}}}})
        said = []
        for part in (samples, pause, samples, pause):
            for chunk in np.array_split(part, 5):
                ask(socket, "input_audio_buffer.append", audio=pcm(chunk))
        for _ in range(2):
            events = hear_until(socket, f"{EVENT}.completed")
            kinds = [event.type for event in events if not event.type.startswith("session.")]
            assert kinds[0] == "input_audio_buffer.speech_started"
            assert "input_audio_buffer.speech_stopped" in kinds
            said.append(events[-1].transcript)
        committed = [event for event in events if event.type == "input_audio_buffer.committed"]
        assert committed[0].previous_item_id
        expected = set(asr.load("an4", threads=1).transcribe(RECORDING).text.split())
        assert all(expected & set(text.split()) for text in said), said


def test_a_model_that_streams_says_what_a_listener_says(address, streaming_bundle):
    samples = noise(6.0)
    rules = TurnDetection(silence_duration_ms=200).rules
    listener = Listener(str(streaming_bundle), endpoint=rules, context_seconds=CONTEXT_SECONDS["low"])
    events = listener.push((samples * 32767).astype("<i2")) + listener.close()
    ended = [event for event in events if isinstance(event, EndOfUtterance)]
    assert len(ended) > 1
    sound = {
        "format": {"type": "audio/pcm", "rate": RATE},
        "transcription": {"model": "tiny", "delay": "low"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
    }
    with connect(address) as socket:
        include = ["item.input_audio_transcription.logprobs", "x_partials"]
        ask(socket, "session.update", session={"audio": {"input": sound}, "include": include})
        hear_until(socket, "session.updated")
        for chunk in np.array_split(samples, 23):
            ask(socket, "input_audio_buffer.append", audio=pcm(chunk))
        ask(socket, "input_audio_buffer.commit")
        got, partials, items = [], 0, {}
        for utterance in ended:
            news = hear_until(socket, f"{EVENT}.completed")
            assert news[-1].type != "error", news[-1]
            got.append(news[-1].transcript)
            said = ""
            for event in news:
                if event.type == f"{EVENT}.delta":
                    said += event.delta
                elif event.type == f"{EVENT}.x_partial" and event.text:
                    # It continues what has been said, as a delta does.
                    assert event.text.startswith(" ") == bool(said)
                    partials += 1
            deltas = [event for event in news if event.type == f"{EVENT}.delta"]
            assert "".join(event.delta for event in deltas) == news[-1].transcript
            assert {event.item_id for event in deltas} == {news[-1].item_id}
            assert len(news[-1].logprobs) == len(utterance.transcript.words)
            items[news[-1].item_id] = utterance
        assert got == [event.transcript.text for event in ended]
        assert " ".join(got) == transcript_of(events).text
        assert len(items) == len(ended)
        assert partials


def test_telephone_sound_is_g711():
    for kind, subtype in (("audio/pcmu", "ULAW"), ("audio/pcma", "ALAW")):
        content = bytes(range(256))
        expected, _ = soundfile.read(
            io.BytesIO(content), dtype="float32", samplerate=RATE, channels=1, format="RAW", subtype=subtype
        )
        np.testing.assert_array_equal(decode_samples(content, kind), expected)
    settings = updated(RealtimeSettings(), {"audio": {"input": {"format": {"type": "audio/pcmu"}}}})
    assert settings.rate == 8000


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ("no JSON", None),
        ("[1]", None),
        ({"type": ["x"]}, "type"),
        ({"type": "response.create"}, "type"),
        # Half a surrogate pair is no text that could be sent back as UTF-8.
        ({"type": "response.create", "event_id": "\ud800"}, "type"),
        ({"type": "input_audio_buffer.append", "audio": "§"}, "audio"),
        ({"type": "input_audio_buffer.append", "audio": 7}, "audio"),
        ({"type": "input_audio_buffer.append", "audio": "QUJD"}, "audio"),
        ({"type": "session.update", "session": 7}, "session"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type"),
        ({"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}}, None),
        ({"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "../x"}}}}}, "model"),
        ({"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "de"}}}}}, None),
        ({"type": "session.update", "session": {"audio": {"input": {"transcription": {"delay": "none"}}}}}, None),
        ({"type": "session.update", "session": {"audio": {"input": {"transcription": {"keywords": ["Ł"]}}}}}, None),
        ({"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"threshold": 2}}}}}, None),
        ({"type": "session.update", "session": {"include": ["all"]}}, "session.include"),
    ],
)
def test_errors_keep_the_session(address, event, param):
    with connect(address) as socket:
        hear_until(socket, "session.created")
        socket.send(json.dumps({"event_id": "mine", **event}) if isinstance(event, dict) else event)
        error = hear_until(socket, "error")[-1].error
        assert error["event_id"] == (event.get("event_id", "mine") if isinstance(event, dict) else None)
        assert param is None or error["param"] == param
        ask(socket, "input_audio_buffer.clear")
        assert hear_until(socket, "input_audio_buffer.cleared")[-1].type == "input_audio_buffer.cleared"


def test_silence_is_as_long_as_was_asked_for():
    rules = TurnDetection(silence_duration_ms=5000).rules
    assert rules.ended(4.9, 10.0, has_speech=True) is None
    assert rules.ended(5.0, 10.0, has_speech=True) == "silence"


@pytest.mark.parametrize(
    ("known", "asked", "expected"),
    [("en", "en-GB", True), ("pt-BR", "pt-BR", True), ("pt-BR", "PT", True), ("en", "", True), ("en", "de", False)],
)
def test_languages_are_compared_without_their_regions(known, asked, expected):
    model: Any = SimpleNamespace(bundle=SimpleNamespace(language=known))
    assert ServedModel.speaks(model, asked) is expected


def test_a_second_configuration_that_is_wrong_closes_a_vosk_client_with_a_reason(address):
    url = address.replace("http", "ws")
    with websockets.connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        socket.send(json.dumps({"config": {"model": "tiny"}}))
        socket.send(json.dumps({"config": {"model": "tiny", "phrase_list": ["Ł"]}}))
        with pytest.raises(exceptions.ConnectionClosedError) as caught:
            socket.recv(timeout=20)
    assert caught.value.rcvd.code == 1008


def test_strangers_and_pages_of_others_are_refused(address):
    for options, status in (
        ({"additional_headers": {}}, 401),
        ({"additional_headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"additional_headers": {"Authorization": f"Bearer {KEY}", "Origin": "http://evil.test"}}, 403),
    ):
        with pytest.raises(websockets.InvalidStatus) as caught, connect(address, **options):
            pass
        assert caught.value.response.status_code == status
        assert json.loads(caught.value.response.body)["error"]["message"]
    protocols = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(address, additional_headers={}, subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
        assert hear_until(socket, "session.created")


def test_live_figures_are_in_the_metrics(address):
    with connect(address) as socket:
        sound = {"format": {"type": "audio/pcm", "rate": RATE}, "transcription": {"model": "tiny"}}
        ask(socket, "session.update", session={"audio": {"input": sound}})
        for chunk in np.array_split(noise(3.0, seed=5), 30):
            ask(socket, "input_audio_buffer.append", audio=pcm(chunk))
        ask(socket, "input_audio_buffer.commit")
        hear_until(socket, f"{EVENT}.completed")
        request = Request(f"{address}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urlopen(request, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(figures["asr_streams_open"]) >= 1
    assert float(figures["asr_live_audio_seconds_total"]) >= 3.0
    assert float(figures["asr_live_words_seconds_count"]) >= 1


def test_places_are_limited_and_given_back(address):
    with ExitStack() as stack:
        for _ in range(4):
            hear_until(stack.enter_context(connect(address)), "session.created")
        with connect(address) as socket:
            assert hear_until(socket, "error")[-1].error["code"] == "rate_limit_exceeded"
    for _ in range(100):
        with connect(address) as socket:
            if hear_until(socket, "session.created")[-1].type == "session.created":
                return
    pytest.fail("the places are not given back")
