"""What goes wrong between a server and its clients: broken requests among good ones, slow ones, and the end."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("starlette", reason="needs the [server] extra")
pytest.importorskip("multipart", reason="needs the [server] extra")

import asr

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "data_prep" / "digits" / "example.wav"
REQUESTS = int(os.environ.get("ASR_FAULT_REQUESTS", "200"))
KEY = "a-key-of-the-test"
SERVER = """
from asr.server.app import serve
from asr.server.options import ServerOptions
options = ServerOptions({"an4": "an4"}, port=0, api_keys=(%r,), max_upload_mb=0.5, upload_seconds=2.0, log_json=True)
serve(options, lambda address: print(address, flush=True))
"""


@contextmanager
def running() -> Iterator[tuple[str, "subprocess.Popen[str]", list[str]]]:
    """Run a server; all that it writes on its error stream is in the list afterwards."""
    errors: list[str] = []
    command = [sys.executable, "-c", SERVER % KEY]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout
        assert process.stderr
        stream = process.stderr
        # Read all along: a full pipe would halt the server.
        reader = threading.Thread(target=lambda: errors.extend(stream))
        reader.start()
        try:
            yield process.stdout.readline().strip().removeprefix("http://"), process, errors
        finally:
            process.terminate()
            process.wait(60)
            reader.join()
    assert "Traceback" not in "".join(errors), errors
    assert KEY not in "".join(errors)


def part(seconds: float = 0.6) -> bytes:
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    file = io.BytesIO()
    soundfile.write(file, samples[: int(seconds * rate)], rate, format="WAV")
    return file.getvalue()


def form(content: bytes, name: bytes = b"file", extra: bytes = b"") -> bytes:
    head = b'--B\r\nContent-Disposition: form-data; name="' + name + b'"; filename="x.wav"\r\n\r\n'
    return head + content + b"\r\n" + extra + b"--B--\r\n"


def field(name: bytes, content: bytes) -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + content + b"\r\n"


def post(host: str, body: bytes, key: str = KEY) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "multipart/form-data; boundary=B"}
    connection.request("POST", "/v1/audio/transcriptions", body, headers)
    answer = connection.getresponse()
    got = answer.status, answer.read()
    connection.close()
    return got


def send_raw(host: str, body: bytes, announced: int) -> socket.socket:
    name, port = host.split(":")
    made = socket.create_connection((name, int(port)), timeout=60)
    head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {announced}\r\n\r\n"
    made.sendall(head.encode() + body)
    return made


def drip(host: str, body: bytes) -> int:
    """Send a byte from time to time, and return the status of the answer; 0 if the connection is cut."""
    with send_raw(host, body[:50], len(body)) as client:
        client.settimeout(0.3)
        for byte in body[50:150]:
            try:
                client.sendall(bytes([byte]))
                if answer := client.recv(1000):
                    return int(answer.split()[1])
                return 0
            except TimeoutError:
                continue
            except OSError:
                return 0
    raise AssertionError("it may go on for ever")


def wait_until_idle(host: str) -> None:
    for _ in range(200):
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.request("GET", "/readyz")
        taken = json.loads(connection.getresponse().read())["taken"]
        connection.close()
        if not taken:
            return
        time.sleep(0.1)
    pytest.fail("places are not given back")


def test_broken_requests_get_their_answers_and_harm_no_others():
    good = form(part())
    expected = asr.load("an4", threads=1).transcribe(part()).text

    def hang_up(host: str) -> int:
        send_raw(host, good, len(good)).close()
        return 0

    def cut_off(host: str) -> int:
        send_raw(host, good[:300], len(good)).close()
        return 0

    broken = [
        (400, lambda host: post(host, field(b"model", b"an4") + b"--B--\r\n")[0]),
        (400, lambda host: post(host, form(part(), b"audio"))[0]),
        (400, lambda host: post(host, form(b"not audio"))[0]),
        (413, lambda host: post(host, form(b"0" * 600_000))[0]),
        (0, cut_off),
        (408, lambda host: drip(host, good)),
        (401, lambda host: post(host, good, "wrong")[0]),
        (404, lambda host: post(host, form(part(), extra=field(b"model", b"https://x.test/m")))[0]),
        (0, hang_up),
        (400, lambda host: post(host, form(part(), extra=field(b"language", b"\xff\xfe")))[0]),
    ]
    with running() as (host, process, _):

        def ask(number: int) -> tuple[object, object]:
            if number % 10 == 0:
                status, send = broken[number // 10 % len(broken)]
                return send(host), status
            status, answer = post(host, good)
            return (status, json.loads(answer).get("text")), (200, expected)

        with ThreadPoolExecutor(16) as pool:
            for number, (got, wanted) in enumerate(pool.map(ask, range(REQUESTS))):
                assert got == wanted, number
        wait_until_idle(host)
        # Uploads are closed, and so are connections: what is open is what a server has open when it starts.
        time.sleep(0.5)
        names = [str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir() if path.is_symlink()]
        assert not [name for name in names if "deleted" in name and "tmp" in name], names
        assert sum(name.startswith("socket:") for name in names) < 12, names


def test_sigterm_loses_no_request_that_was_accepted():
    body = form(part(3.0))
    with running() as (host, process, _), ThreadPoolExecutor(12) as pool:
        post(host, body)
        answers = [pool.submit(post, host, body) for _ in range(12)]
        for _ in range(200):
            connection = http.client.HTTPConnection(host, timeout=20)
            connection.request("GET", "/readyz")
            taken = json.loads(connection.getresponse().read())["taken"]
            connection.close()
            if taken >= 2:
                break
        process.send_signal(signal.SIGTERM)
        outcomes = []
        for answer in answers:
            try:
                outcomes.append(answer.result(60)[0])
            except OSError:
                # Not accepted: refused, or reset before a byte was read.
                outcomes.append(0)
        assert set(outcomes) <= {0, 200}
        assert outcomes.count(200) >= min(taken, 2)
        assert process.wait(60) in (0, -signal.SIGTERM)
