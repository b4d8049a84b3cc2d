"""The server as clients see it: OpenAI's own client, and raw HTTP where that client cannot go wrong."""

import http.client
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("starlette", reason="needs the [server] extra")
pytest.importorskip("multipart", reason="needs the [server] extra")
openai = pytest.importorskip("openai", reason="needs the openai client")

import asr  # noqa: E402

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"
KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"# of the test\n{KEY}\n")
    command = [sys.executable, "-m", "asr", "serve", "--model", "an4", "--model", "second=an4", "--port", "0"]
    command += ["--aliases", "--api-key-file", str(keys), "--max-upload-mb", "2", "--cors", "http://page.test"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        line = process.stderr.readline()
        assert "serving an4, second on http://127.0.0.1:" in line
        yield line.split()[-1]
        process.terminate()
        rest = process.stderr.read()
        process.wait(20)
        assert "Traceback" not in rest


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def transcript() -> asr.Transcript:
    return asr.load("an4", threads=1).transcribe(RECORDING)


def send(
    address: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    given = {"Authorization": f"Bearer {KEY}"} if headers is None else headers
    connection.request("POST" if body else "GET", path, body or None, given)
    answer = connection.getresponse()
    got = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return got


def form(**values: str | bytes) -> tuple[bytes, dict[str, str]]:
    parts = []
    for name, value in values.items():
        file = b'; filename="x.wav"' if isinstance(value, bytes) else b""
        content = value if isinstance(value, bytes) else value.encode()
        parts.append(
            b'--B\r\nContent-Disposition: form-data; name="' + name.encode() + b'"' + file + b"\r\n\r\n" + content
        )
    body = b"\r\n".join([*parts, b"--B--\r\n"])
    return body, {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=B"}


def test_every_format_says_what_the_command_line_says(client, transcript):
    def ask(**options):
        return client.audio.transcriptions.create(model="whisper-1", file=RECORDING, **options)

    assert ask().text == transcript.text
    assert ask(response_format="text").strip() == transcript.text
    assert ask(response_format="srt").startswith("1\n00:00:00,")
    assert ask(response_format="vtt").startswith("WEBVTT\n")
    verbose = ask(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert verbose.text == transcript.text
    assert verbose.language == "english"
    assert [word.word for word in verbose.words] == [word.text for word in transcript.words]
    assert [segment.text for segment in verbose.segments] == [segment.text for segment in transcript.segments]
    logprobs = ask(include=["logprobs"]).logprobs
    assert "".join(row.token for row in logprobs) == transcript.text
    assert all(row.logprob <= 0 for row in logprobs)


def test_deltas_add_up_to_the_text(client, transcript):
    events = list(client.audio.transcriptions.create(model="an4", file=RECORDING, stream=True))
    assert "".join(event.delta for event in events[:-1]) == transcript.text
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == transcript.text


def test_keywords_are_hotwords(client):
    def ask(**options):
        return client.audio.transcriptions.create(model="an4", file=RECORDING, extra_body=options).text

    assert ask(x_beam_size="20", x_lm=None) != ""
    assert asr.load("an4", hotwords=["q"]).transcribe(RECORDING).text.split() == ask(keywords=["Q"]).split()
    with pytest.raises(openai.BadRequestError, match="cannot write"):
        ask(keywords=["ŁÓDŹ"])


def test_models(client):
    assert [model.id for model in client.models.list()] == ["an4", "second"]
    assert client.models.retrieve("second").owned_by == "ctc-asr"
    with pytest.raises(openai.NotFoundError, match="this server has 'an4', 'second'"):
        client.models.retrieve("third")


def test_a_wrong_key_is_401_in_openais_shape(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            stranger.models.list()
        assert caught.value.code == "invalid_api_key"
    status, headers, body = send(address, "/v1/models", headers={})
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        ({"model": "an4"}, 400, "'file' is missing"),
        ({"file": "text"}, 400, "'file' is text"),
        ({"file": b""}, 400, "is empty"),
        ({"file": b"not audio at all"}, 400, "the upload: is not audio"),
        ({"file": b"RIFF", "model": "../../etc/passwd"}, 404, "does not exist"),
        ({"file": b"RIFF", "response_format": "diarized_json"}, 400, "response_format"),
        ({"file": b"RIFF", "timestamp_granularities[]": "word"}, 400, "verbose_json"),
        ({"file": b"RIFF", "temperature": "warm"}, 400, "temperature"),
        ({"file": b"RIFF", "language": "de"}, 400, "knows 'en'"),
        ({"file": b"RIFF", "x_lm": "/etc/passwd"}, 400, "own, none"),
        ({"file": b"RIFF", "x_beam_size": "-1"}, 400, "x_beam_size"),
        ({"file": b"RIFF", "x_nbest": "2", "response_format": "verbose_json"}, 400, "x_nbest"),
        ({"file": b"RIFF", "known_speaker_names[]": "me"}, 400, "speakers"),
        ({"file": b"0" * 2_100_000}, 413, "2 MB"),
    ],
)
def test_what_is_wrong_is_said(address, values, status, message):
    body, headers = form(**values)
    got, answered, content = send(address, "/v1/audio/transcriptions", body, headers)
    assert (got, message in json.loads(content)["error"]["message"]) == (status, True), content
    assert answered["x-request-id"]
    assert answered["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe",
        b"--B\r\nContent-Disposition: form-data; name=\xff\r\n\r\n",
        b"--B\r\n" + b"A: b\r\n" * 9999,
        b"--B--",
    ],
)
def test_bodies_that_are_no_form_are_400(address, body):
    _, headers = form()
    assert send(address, "/v1/audio/transcriptions", body, headers)[0] == 400
    assert send(address, "/v1/audio/transcriptions", body, {**headers, "Content-Type": "text/plain"})[0] == 400


def test_what_is_not_there_is_404_and_405_and_other_origins_may_read_it(address):
    assert send(address, "/v1/nothing")[0] == 404
    assert send(address, "/page/..%2fapp.py")[0] == 404
    assert send(address, "/v1/audio/transcriptions")[0] == 405
    headers = {"Authorization": f"Bearer {KEY}", "Origin": "http://page.test"}
    assert send(address, "/v1/nothing", headers=headers)[1]["access-control-allow-origin"] == "http://page.test"


def test_health_and_figures(address):
    assert send(address, "/healthz", headers={})[0] == 200
    assert send(address, "/readyz", headers={})[0] == 200
    assert b"asr_requests_total" in send(address, "/metrics")[2]


def test_requests_at_a_time_say_what_they_say_alone(client):
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    parts = [samples[: len(samples) // share] for share in (1, 2, 3, 4)]
    files = []
    for part in parts:
        file = io.BytesIO()
        soundfile.write(file, part, rate, format="WAV")
        files.append(file.getvalue())
    model = asr.load("an4", threads=1)
    alone = [model.transcribe(file).text for file in files]
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        file = ("x.wav", files[number % len(files)])
        answers[number] = client.audio.transcriptions.create(model="an4", file=file).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: alone[number % len(files)] for number in range(12)}


@pytest.mark.parametrize("stream", ["false", "true"])
def test_who_hangs_up_gives_back_the_place(address, stream):
    noise = io.BytesIO()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000 * 60).astype(np.float32)
    soundfile.write(noise, samples, 16_000, format="WAV", subtype="PCM_16")
    body, headers = form(file=noise.getvalue()[:1_900_000], stream=stream)
    before = answered(address)
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.request("POST", "/v1/audio/transcriptions", body, headers)
    connection.close()
    for _ in range(200):
        # Not before the server has seen the request, and is done with it.
        if answered(address) > before and json.loads(send(address, "/readyz")[2])["taken"] == 0:
            assert b'status="500"' not in send(address, "/metrics")[2]
            return
        time.sleep(0.1)
    pytest.fail("the place is not given back")


def answered(address: str) -> float:
    """Return how many requests for transcripts were answered, or given up."""
    lines = send(address, "/metrics")[2].decode().splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith('asr_requests_total{route="transcribe"')
    )
