"""The protocols of vosk-server and of Home Assistant, as their clients speak them."""

import asyncio
import json
import subprocess
import sys
import warnings
import wave
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY, create_connection

import numpy as np
import pytest
import soundfile

pytest.importorskip("starlette", reason="needs the [server] extra")
websockets = pytest.importorskip("websockets.sync.client", reason="needs websockets")
exceptions = pytest.importorskip("websockets.exceptions", reason="needs websockets")
pytest.importorskip("wyoming", reason="needs the wyoming client")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # It imports audioop.
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop
    from wyoming.client import AsyncTcpClient
    from wyoming.error import Error
    from wyoming.info import Describe, Info

import asr  # noqa: E402
from asr.errors import UsageError  # noqa: E402
from asr.server.app import _listen  # noqa: E402
from asr.server.options import ServerOptions  # noqa: E402

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "asr", "serve", "--model", "an4", "--port", "0"]
    command += ["--vosk-port", "0", "--wyoming-port", "0", "--known-host", "proxy.test"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        lines = [process.stderr.readline().split()[-1] for _ in range(3)]
        yield {line.partition(":")[0]: line for line in lines}
        process.terminate()
        rest = process.stderr.read()
        process.wait(20)
        assert "Traceback" not in rest, rest


@pytest.fixture(scope="module")
def transcript() -> asr.Transcript:
    return asr.load("an4", threads=1).transcribe(RECORDING)


def test_vosks_test_client_hears_its_file(addresses, transcript):
    """What vosk-server's ``websocket/test.py`` does."""
    with websockets.connect(addresses["ws"]) as socket, wave.open(str(RECORDING), "rb") as file:
        socket.send(json.dumps({"config": {"sample_rate": file.getframerate()}}))
        replies = []
        while data := file.readframes(int(file.getframerate() * 0.2)):
            socket.send(data)
            replies.append(json.loads(socket.recv(timeout=90)))
        socket.send('{"eof" : 1}')
        replies.append(json.loads(socket.recv(timeout=90)))
        with pytest.raises(exceptions.ConnectionClosedOK):
            socket.recv(timeout=90)
    assert all(set(reply) == {"partial"} or "text" in reply for reply in replies)
    words = [word for reply in replies for word in reply.get("result", [])]
    assert " ".join(reply["text"] for reply in replies if reply.get("text")) == " ".join(row["word"] for row in words)
    # Not all: the pauses cut it, and what the model makes of a part depends on the part.
    assert len({row["word"] for row in words} & {word.text for word in transcript.words}) >= 3
    assert all(0 <= row["conf"] <= 1 and row["start"] <= row["end"] for row in words)
    assert words


def test_vosks_commands(addresses):
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    with websockets.connect(addresses["ws"]) as socket:
        socket.send(json.dumps({"config": {"sample_rate": rate, "words": False, "phrase_list": ["q", "[unk]"]}}))
        socket.send(samples.tobytes())
        socket.recv(timeout=90)
        socket.send('{"reset":1}')
        assert set(json.loads(socket.recv(timeout=90))) == {"text"}
        socket.send(json.dumps({"config": {"sample_rate": rate, "max_alternatives": 3}}))
        socket.send(samples.tobytes())
        socket.recv(timeout=90)
        socket.send('{"eof":1}')
        assert set(json.loads(socket.recv(timeout=90))["alternatives"][0]) == {"confidence", "result", "text"}


def test_sites_whose_names_mean_this_machine_are_refused(addresses):
    host = addresses["http"].removeprefix("http://")
    port = host.partition(":")[2]
    for name, status in (
        ("evil.test", 421),
        (f"evil.test:{port}", 421),
        ("127.0.0.1.evil.test", 421),
        (host, 200),
        (f"localhost:{port}", 200),
        ("[::1]:80", 200),
        ("PROXY.test", 200),
    ):
        connection = HTTPConnection(host, timeout=20)
        connection.request("GET", "/v1/models", headers={"Host": name})
        answer = connection.getresponse()
        assert (name, answer.status) == (name, status)
        answer.read()
        connection.close()
    with pytest.raises(websockets.InvalidStatus) as caught:
        websockets.connect(f"ws://evil.test:{port}/v1/realtime", sock=create_connection(("127.0.0.1", int(port))))
    assert caught.value.response.status_code == 421


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("nonsense", "expected sound"),
        ('{"config": {"model": "/etc/passwd"}}', "does not exist"),
        ('{"config": {"sample_rate": "fast"}}', "sample_rate"),
        ('{"config": {"sample_rate": 1}}', "expected 4000"),
        ('{"config": {"sample_rate": Infinity}}', "expected 4000"),
        ('{"config": {"sample_rate": NaN}}', "expected 4000"),
        (b"odd", "whole samples"),
    ],
)
def test_vosks_clients_that_send_nonsense_are_closed_with_a_reason(addresses, message, reason):
    with websockets.connect(addresses["ws"]) as socket:
        socket.send(message)
        with pytest.raises(exceptions.ConnectionClosedError) as caught:
            socket.recv(timeout=90)
    assert caught.value.rcvd.code == 1008
    assert reason in caught.value.rcvd.reason.lower()


def hear(address: str, samples: np.ndarray, rate: int, channels: int = 1) -> tuple[Info, str]:
    async def talk() -> tuple[Info, str]:
        async with AsyncTcpClient.from_uri(address) as client:
            await client.write_event(Describe().event())
            info = Info.from_event(await client.read_event())
            await client.write_event(Transcribe(language="en").event())
            await client.write_event(AudioStart(rate, 2, channels).event())
            for chunk in np.array_split(samples, 9):
                await client.write_event(AudioChunk(rate, 2, channels, chunk.tobytes()).event())
            await client.write_event(AudioStop().event())
            while not Transcript.is_type((event := await client.read_event()).type):
                pass
            return info, Transcript.from_event(event).text

    return asyncio.run(asyncio.wait_for(talk(), 30))


def test_home_assistant_hears_the_whole(addresses, transcript):
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    info, text = hear(addresses["tcp"], samples, rate)
    assert text == transcript.text
    assert [model.name for model in info.asr[0].models] == ["an4"]
    assert info.asr[0].models[0].languages == ["en"]
    assert hear(addresses["tcp"], np.stack([samples, samples], axis=1), rate, 2)[1] == transcript.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense\n", "not the JSON"),
        (b'{"type":"audio-start","data_length":99999999}\n', "at most"),
        (b'{"type":"audio-chunk"}\n', "before audio-start"),
        (b'{"type":"audio-start","data":{"rate":"x"}}\n', "rate"),
        (b'{"type":"transcribe","data":{"name":"/etc/passwd"}}\n', "does not exist"),
        (b'{"type":"audio-stop"}\n', "before audio-start"),
        (b"x" * 100_000 + b"\n", "longer than"),
    ],
)
def test_wyoming_clients_hear_what_is_wrong(addresses, content, message):
    async def talk() -> str:
        async with AsyncTcpClient.from_uri(addresses["tcp"]) as client:
            client._writer.write(content)
            return Error.from_event(await client.read_event()).text

    assert message in asyncio.run(asyncio.wait_for(talk(), 30))


def test_wyoming_knows_no_keys_and_so_needs_consent():
    with pytest.raises(UsageError, match="knows no keys"):
        ServerOptions({"an4": "an4"}, host="0.0.0.0", api_keys=("k",), wyoming_port=10300)


def test_answers_do_not_wait_for_the_client_to_acknowledge_their_headers():
    with _listen("127.0.0.1", 0) as listener, create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(IPPROTO_TCP, TCP_NODELAY)
