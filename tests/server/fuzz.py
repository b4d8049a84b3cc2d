"""Nonsense at a server of recordings and streams: ``python -m tests.fuzz server --seconds 30 --count 10000``.

Ends with the time, or with so many bodies, frames and events. The server must answer all along, and never by a fault of
its own; at the end it must not have written a traceback, nor have more files open than at its beginning.
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


def attack_http(rng: random.Random, host: str) -> int:
    """Send broken forms, or bytes that are no HTTP; return how many."""
    if rng.random() < 0.1:
        name, port = host.split(":")
        with socket.create_connection((name, int(port)), timeout=10) as raw:
            raw.sendall(rng.randbytes(200))
        return 1
    connection = http.client.HTTPConnection(host, timeout=20)
    for _ in range(20):
        kinds = ["multipart/form-data; boundary=B", "multipart/form-data", "multipart/form-data; boundary=", "x"]
        connection.request("POST", "/v1/audio/transcriptions", body(rng), {"Content-Type": rng.choice(kinds)})
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 500, answer.status
    connection.close()
    return 20


def attack_socket(rng: random.Random, host: str) -> int:
    """Send nonsense to the WebSocket protocols, and return how many frames."""
    count = 0
    try:
        with connect(f"ws://{host}{rng.choice(['/v1/realtime', '/v1/realtime', '/'])}", close_timeout=1) as client:
            for _ in range(rng.randrange(1, 80)):
                client.send(frame(rng))
                count += 1
    except WebSocketException:
        # vosk's protocol answers nonsense by closing.
        pass
    return count


async def attack_wyoming(rng: random.Random, port: int) -> int:
    """Send broken events, and return how many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = rng.randrange(1, 5)
    for _ in range(count):
        header = {"type": rng.choice(["describe", "audio-start", "audio-chunk", "audio-stop", "x"]), "data": value(rng)}
        writer.write(json.dumps({**header, "payload_length": rng.choice([0, 3, -1, None])}).encode() + b"\n")
        writer.write(rng.randbytes(rng.choice([0, 3])))
    with suppress(OSError):
        # Nonsense ends the connection.
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return count


def num_files(process: "subprocess.Popen[str]") -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def main(arguments: list[str] | None = None) -> None:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--live", metavar="MODEL", help="a model that streams, as the default one")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    command = [sys.executable, "-m", "asr", "serve", "--port", "0", "--wyoming-port", "0", "--model", "an4"]
    if options.live:
        command[-2:] = ["--model", f"live={options.live}", "--model", "an4"]
    count = 0
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, cwd=ROOT, stderr=errors, text=True) as server,
    ):
        while (said := Path(f"/proc/self/fd/{errors.fileno()}").read_text()).count("\n") < 2:
            assert server.poll() is None, said
            time.sleep(0.1)
        host, wyoming = (line.split("//")[1] for line in said.splitlines())
        began = time.monotonic()
        attack_http(rng, host)
        files = num_files(server)
        try:
            while time.monotonic() < began + options.seconds and count < options.count:
                count += attack_http(rng, host) + attack_socket(rng, host)
                count += asyncio.run(attack_wyoming(rng, int(wyoming.split(":")[1])))
                connection = http.client.HTTPConnection(host, timeout=20)
                connection.request("GET", "/healthz")
                assert connection.getresponse().status == 200
                connection.close()
            # What it still has open it lets go of soon.
            for _ in range(100):
                if num_files(server) <= files + 2:
                    break
                time.sleep(0.1)
            assert num_files(server) <= files + 2, (files, num_files(server))
        finally:
            server.terminate()
            server.wait(60)
            errors.seek(0)
            said = errors.read()
    assert "Traceback" not in said, said[-5000:]
    print(f"{count} bodies, frames and events in {time.monotonic() - began:.0f} s, no traceback")


if __name__ == "__main__":
    main()
