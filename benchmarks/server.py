"""`asr serve` beside `asr transcribe --jobs` and a server that runs one request at a time; and its live streams.

    python benchmarks/server.py data_prep/digits/example.wav [--model an4] [--rounds 3]
    python benchmarks/server.py data_prep/digits/example.wav --live exp/digits_streaming/bundle [--streams 10 50 100]

Clients send 3 seconds of the recording, again and again, and share the machine's cores with the server. All run turn by
turn: medians over the rounds, and ratios within each, hold on a machine that is busy with something else; so does the
time of the processor for each recording. Of `asr transcribe`, two folders of different size are timed: its start
cancels out.

Live clients send sound at real-time pace, in pieces of 0.1 s. They are kept up with where the last words come no later
than a second after the sound ends.
"""

import argparse
import asyncio
import base64
import http.client
import http.server
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

import asr
from asr.audio import load_audio
from asr.cores import num_cores

HEAD = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x.wav"\r\n\r\n'
TAIL = b"\r\n--B--\r\n"
SECONDS = 3.0
CLIENTS = (1, 8, 64)
PIECE_SECONDS = 0.1
# Live clients begin, and end, within so long a time.
SPREAD_SECONDS = 5.0


@dataclass(frozen=True)
class Burst:
    """What was measured of some clients at a time, or of a job."""

    rate: float
    cpu_ms: float
    latencies: tuple[float, ...] = ()


def cpu_seconds(pid: int) -> float:
    """Return the time that a process has had of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> float:
    """Return the most memory that a process has had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def burst(address: str, pid: int, body: bytes, clients: int, count: int) -> Burst:
    """Let some clients send recordings, each the next when it has its answer."""
    latencies: list[float] = []

    def ask() -> None:
        connection = http.client.HTTPConnection(address, timeout=300)
        for _ in range(count // clients):
            started = time.perf_counter()
            headers = {"Content-Type": "multipart/form-data; boundary=B"}
            connection.request("POST", "/v1/audio/transcriptions", body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            latencies.append(time.perf_counter() - started)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    before, started = cpu_seconds(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    return Burst(len(latencies) / took, 1000 * (cpu_seconds(pid) - before) / len(latencies), tuple(latencies))


@contextmanager
def ours(model: str) -> Iterator[tuple[str, int]]:
    """Run `asr serve`."""
    command = [sys.executable, "-m", "asr", "serve", "--model", model, "--port", "0", "--max-queue", "100"]
    with subprocess.Popen([*command, "--max-streams", "1000"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        yield process.stderr.readline().split()[-1].removeprefix("http://"), process.pid
        process.terminate()


@contextmanager
def plain(model: str) -> Iterator[tuple[str, int]]:
    """Run a server that recognises one recording after the other, in a process of its own."""
    command = [sys.executable, __file__, "-", "--model", model, "--serve-plainly"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip(), process.pid
        process.terminate()


def serve_plainly(model: str) -> None:
    """Be that server."""
    transcriber = asr.load(model)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with turn:
                text = transcriber.transcribe(body.removeprefix(HEAD).removesuffix(TAIL)).text.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    turn = threading.Lock()
    with Server(("127.0.0.1", 0), Handler) as server:
        print(f"127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


def transcribe(model: str, folders: list[Path]) -> Burst:
    """Transcribe a smaller and a larger folder by jobs, and return what the difference took."""
    figures = []
    for folder in folders:
        before, started = os.times(), time.perf_counter()
        command = [sys.executable, "-m", "asr", "transcribe", "--model", model, str(folder), "--jobs", str(num_cores())]
        out = folder.parent / "out"
        subprocess.run([*command, "-o", out, "-f", "txt"], check=True, capture_output=True)
        took, after = time.perf_counter() - started, os.times()
        shutil.rmtree(out)
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        figures.append((len(list(folder.iterdir())), took, cpu))
    count, took, cpu = np.subtract(figures[1], figures[0])
    return Burst(count / took, 1000 * cpu / count)


def compare(model: str, wav: bytes, rounds: int, count: int) -> None:
    """Run all turn by turn, and print what each did."""
    body = HEAD + wav + TAIL
    rows: dict[str, list[Burst]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folders = [folder / "small", folder / "large"]
        for place, size in zip(folders, (count // 2, count // 2 + count), strict=True):
            place.mkdir()
            for number in range(size):
                (place / f"{number}.wav").write_bytes(wav)
        servers = {"asr serve": stack.enter_context(ours(model)), "one at a time": stack.enter_context(plain(model))}
        for address, pid in servers.values():
            burst(address, pid, body, 8, 32)
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, (address, pid) in servers.items():
                    measured = burst(address, pid, body, clients, count)
                    rows.setdefault(f"{name:14}{clients:3} clients", []).append(measured)
            rows.setdefault(f"{'asr transcribe':14}--jobs {num_cores():3}", []).append(transcribe(model, folders))
        memory = peak_memory(servers["asr serve"][1])
    for name, runs in rows.items():
        times = [1000 * seconds for row in runs for seconds in row.latencies]
        shown = "p50 {:5.0f}  p95 {:5.0f}  p99 {:5.0f} ms".format(*np.percentile(times, [50, 95, 99])) if times else ""
        rate, cpu = (statistics.median(getattr(row, field) for row in runs) for field in ("rate", "cpu_ms"))
        print(f"{name:26} {rate:6.1f}/s  {cpu:5.1f} ms of a core each  {shown}")
    jobs = rows[f"{'asr transcribe':14}--jobs {num_cores():3}"]
    for clients in (8, 64):
        served = rows[f"{'asr serve':14}{clients:3} clients"]
        pairs = list(zip(served, jobs, strict=True))
        rate = statistics.median(one.rate / other.rate for one, other in pairs)
        cpu = statistics.median(other.cpu_ms / one.cpu_ms for one, other in pairs)
        print(f"{clients} clients / asr transcribe: {rate:.2f} of its rate, {cpu:.2f} by time of the processor")
    eight, many = rows[f"{'asr serve':14}  8 clients"], rows[f"{'asr serve':14} 64 clients"]
    print(f"64 clients / 8: {statistics.median(b.rate / a.rate for a, b in zip(eight, many, strict=True)):.2f}")
    print(f"asr serve took at most {memory:.0f} MB")


async def listen_to(address: str, messages: list[str], place: float, late: list[float]) -> None:
    """Send sound at its own pace, and note how long after its end the transcript came."""
    from websockets.asyncio.client import connect

    async with connect(f"ws://{address}/v1/realtime", open_timeout=60) as socket:
        sound = {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": None}
        await socket.send(json.dumps({"type": "session.update", "session": {"audio": {"input": sound}}}))
        while json.loads(await socket.recv())["type"] != "session.updated":
            pass
        # Not all at the same moment.
        await asyncio.sleep(SPREAD_SECONDS * place)
        began = time.perf_counter()
        for number, message in enumerate(messages, 1):
            await socket.send(message)
            await asyncio.sleep(max(0.0, began + number * PIECE_SECONDS - time.perf_counter()))
        await socket.send('{"type": "input_audio_buffer.commit"}')
        ended = time.perf_counter()
        while not json.loads(await socket.recv())["type"].endswith("transcription.completed"):
            pass
        late.append(time.perf_counter() - ended)


def live(model: str, samples: np.ndarray, counts: list[int]) -> None:
    """Print how late the last words are of more and more streams."""
    step = round(16_000 * PIECE_SECONDS)
    pieces = [samples[first : first + step].tobytes() for first in range(0, len(samples), step)]
    messages = [
        json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}) for piece in pieces
    ]

    async def all_of(address: str, count: int) -> list[float]:
        late: list[float] = []
        await asyncio.gather(*(listen_to(address, messages, place / count, late) for place in range(count)))
        return late

    with ours(model) as (address, pid):
        asyncio.run(all_of(address, 2))
        for count in counts:
            before, started = cpu_seconds(pid), time.perf_counter()
            late = asyncio.run(all_of(address, count))
            cores = (cpu_seconds(pid) - before) / (time.perf_counter() - started)
            p50, p95 = 1000 * np.percentile(late, [50, 95])
            kept = "kept up with" if p95 < 1000 else "too many"
            print(
                f"{count:4} streams: last words p50 {p50:5.0f}  p95 {p95:5.0f} ms after the sound, {cores:.2f} cores, "
                f"at most {peak_memory(pid):.0f} MB: {kept}"
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording")
    parser.add_argument("--model", default="an4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=192, help="of each kind in a round")
    parser.add_argument("--live", metavar="MODEL", help="measure streams, with a model that streams")
    parser.add_argument("--streams", type=int, nargs="+", default=[10, 25, 50, 100])
    parser.add_argument("--serve-plainly", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_plainly:
        serve_plainly(options.model)
        return
    samples = load_audio(options.recording, 16_000).samples
    if options.live:
        sound = np.tile(np.concatenate((samples, np.zeros(8_000, np.float32))), 10)[: 10 * 16_000]
        live(options.live, (sound * 32767).astype("<i2"), options.streams)
        return
    file = io.BytesIO()
    repeated = np.tile(samples, 1 + round(SECONDS * 16_000) // len(samples))[: round(SECONDS * 16_000)]
    soundfile.write(file, repeated, 16_000, format="WAV")
    compare(options.model, file.getvalue(), options.rounds, options.requests)


if __name__ == "__main__":
    main()
