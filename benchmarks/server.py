"""Requests a second and latency of `asr serve`, beside a server that runs one request at a time.

    python benchmarks/server.py --model an4 data_prep/digits/example.wav

Clients and servers share the machine's cores. The same recordings by `asr transcribe --jobs 0` are given with the time
that it takes to start.
"""

import argparse
import http.client
import http.server
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import asr

HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'


def ask(address: str, body: bytes) -> float:
    """Send a recording, and return the seconds until its transcript is there."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("POST", "/v1/audio/transcriptions", body, {"Content-Type": "multipart/form-data; boundary=B"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200, answer.status
    return time.perf_counter() - started


def measure(name: str, address: str, body: bytes, count: int) -> None:
    """Print the figures of 1, 8 and 64 clients."""
    ask(address, body)
    for clients in (1, 8, 64):
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            seconds = list(pool.map(lambda _: ask(address, body), range(count)))
        rate = count / (time.perf_counter() - started)
        p50, p95, p99 = 1000 * np.percentile(seconds, [50, 95, 99])
        print(f"{name:16} {clients:3} clients {rate:7.1f}/s   p50 {p50:6.0f}  p95 {p95:6.0f}  p99 {p99:6.0f} ms")


@contextmanager
def ours(model: str) -> Iterator[str]:
    """Run `asr serve`."""
    command = [sys.executable, "-m", "asr", "serve", "--model", model, "--port", "0", "--max-queue", "100"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        yield process.stderr.readline().split()[-1].removeprefix("http://")
        process.terminate()


@contextmanager
def plain(model: str) -> Iterator[str]:
    """Run a server that recognises one recording after the other."""
    transcriber = asr.load(model)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            text = transcriber.transcribe(body.removeprefix(HEAD).removesuffix(b"\r\n--B--\r\n")).text.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.HTTPServer):
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    body = HEAD + options.recording.read_bytes() + b"\r\n--B--\r\n"
    for name, server in (("asr serve", ours), ("one at a time", plain)):
        with server(options.model) as address:
            measure(name, address, body, options.requests)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.requests):
            shutil.copy(options.recording, Path(folder) / f"{number}{options.recording.suffix}")
        started = time.perf_counter()
        command = [sys.executable, "-m", "asr", "transcribe", "--model", options.model, folder, "--jobs", "0"]
        subprocess.run([*command, "-o", f"{folder}/out", "-f", "txt"], check=True, capture_output=True)
        rate = options.requests / (time.perf_counter() - started)
        print(f"{'asr transcribe':16} {'--jobs 0':11} {rate:7.1f}/s   with its start")


if __name__ == "__main__":
    main()
