"""Nonsense at a server of recordings and streams: ``python -m tests.server.fuzz --seconds 30``.

After each piece the server must still answer; at the end it must not have written a traceback.
"""

import argparse
import asyncio
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
WORDS = [
    b"--B\r\n", b"--B--", b"\r\n\r\n", b'Content-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n',
    b"RIFF", b"WAVEfmt ", b'name="model"', b"an4", b"\xff\xfe", b"\0" * 9, b"%s", b"filename*=utf-8''", b"[]", b"fLaC",
]  # fmt: skip
TEXTS = [
    '{"type":', '"session.update"', ',"session":', '{"audio":{"input":', '"input_audio_buffer.append"', ',"audio":',
    '"AAAA"', "{", "}", "[", "]", "null", "1e999", '"config":', '"eof":1', '"sample_rate":', "8000", "\\ud800", '"',
    ",", ":", "[" * 5000,
]  # fmt: skip
NAMES = [
    "session", "audio", "input", "format", "type", "rate", "transcription", "turn_detection", "model", "keywords",
    "include", "delay", "threshold", "config", "sample_rate", "eof", "reset", "phrase_list",
]  # fmt: skip
KINDS = ["session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"]


def body(rng: random.Random) -> bytes:
    """Return something that a parser of forms may take for one."""
    parts = [
        rng.choice(WORDS) if rng.random() < 0.8 else rng.randbytes(rng.randrange(40)) for _ in range(rng.randrange(25))
    ]
    return b"--B\r\n" * (rng.random() < 0.7) + b"".join(parts)


def value(rng: random.Random, depth: int = 0) -> object:
    """Return a JSON value out of what the protocols know."""
    leaves = [None, True, -1, 0, 24000, 1e300, "", "audio/pcm", "server_vad", "transcription", *KINDS, "AAAA", "é"]
    if depth > 4 or rng.random() < 0.4:
        return rng.choice(leaves)
    if rng.random() < 0.2:
        return [value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(NAMES): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def frame(rng: random.Random) -> str | bytes:
    """Return a message for a WebSocket."""
    kind = rng.random()
    if kind < 0.2:
        return rng.randbytes(rng.randrange(300))
    if kind < 0.5:
        return "".join(rng.choice(TEXTS) for _ in range(rng.randrange(12)))
    made = value(rng)
    return json.dumps({**made, "type": rng.choice(KINDS)} if isinstance(made, dict) and kind < 0.9 else made)


def attack_http(rng: random.Random, host: str) -> None:
    """Send a broken form, or bytes that are no HTTP."""
    if rng.random() < 0.1:
        name, port = host.split(":")
        with socket.create_connection((name, int(port)), timeout=10) as raw:
            raw.sendall(rng.randbytes(200))
        return
    connection = http.client.HTTPConnection(host, timeout=20)
    kind = rng.choice(["multipart/form-data; boundary=B", "multipart/form-data", "multipart/form-data; boundary=", "x"])
    connection.request("POST", "/v1/audio/transcriptions", body(rng), {"Content-Type": kind})
    status = connection.getresponse().status
    connection.close()
    assert status < 500, status


def attack_socket(rng: random.Random, host: str) -> None:
    """Send nonsense to the WebSocket protocols."""
    try:
        with connect(f"ws://{host}{rng.choice(['/v1/realtime', '/'])}", close_timeout=1) as client:
            for _ in range(rng.randrange(1, 40)):
                client.send(frame(rng))
    except WebSocketException:
        # vosk's protocol answers nonsense by closing.
        pass


async def attack_wyoming(rng: random.Random, port: int) -> None:
    """Send broken events."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(rng.randrange(1, 5)):
        header = {"type": rng.choice(["describe", "audio-start", "audio-chunk", "audio-stop", "x"]), "data": value(rng)}
        writer.write(json.dumps({**header, "payload_length": rng.choice([0, 3, -1, None])}).encode() + b"\n")
        writer.write(rng.randbytes(rng.choice([0, 3])))
    with suppress(OSError):
        # Nonsense ends the connection.
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 20)
    writer.close()


def main() -> None:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    command = [sys.executable, "-m", "asr", "serve", "--model", "an4", "--port", "0", "--wyoming-port", "0"]
    count = 0
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, cwd=ROOT, stderr=errors, text=True) as server,
    ):
        while (said := Path(f"/proc/self/fd/{errors.fileno()}").read_text()).count("\n") < 2:
            assert server.poll() is None, said
            time.sleep(0.1)
        host, wyoming = (line.split("//")[1] for line in said.splitlines())
        end = time.monotonic() + options.seconds
        try:
            while time.monotonic() < end:
                attack_http(rng, host)
                attack_socket(rng, host)
                asyncio.run(attack_wyoming(rng, int(wyoming.split(":")[1])))
                count += 3
                connection = http.client.HTTPConnection(host, timeout=20)
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200
                connection.close()
        finally:
            server.terminate()
            server.wait(60)
            errors.seek(0)
            said = errors.read()
    assert "Traceback" not in said, said[-5000:]
    print(f"{count} attacks, no traceback")


if __name__ == "__main__":
    main()
