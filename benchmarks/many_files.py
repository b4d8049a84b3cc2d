"""Thousands of files, some of them broken: transcribed by two processes, killed half-way, and taken up again.

    ASR_ARCHIVES=FOLDER python benchmarks/many_files.py [--model an4] [--files 5000 --broken 50 --cluster]

FOLDER holds an4_sphere.tar.* (CMU), whose test recordings are repeated under different names and in several formats.
The job that was killed (SIGKILL) and run again by --skip-existing has to leave the folder of a job that ran through.
With --cluster, a dask cluster of two workers on this machine does it too: once undisturbed, for the time, and once
while one of them is killed, replaced and killed again.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from an4_recordings import SAMPLE_RATE, read_test_set

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.dask_cluster import cluster, start_worker


def encoded(samples: np.ndarray, file_format: str, subtype: str | None = None) -> bytes:
    """Return the content of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format=file_format, subtype=subtype)
    return file.getvalue()


def broken_files(samples: np.ndarray) -> list[tuple[str, bytes]]:
    """Return suffix and content of files that are no recordings, of ten kinds."""
    wav, flac, ogg = (encoded(samples, name) for name in ("WAV", "FLAC", "OGG"))
    random = np.random.default_rng(0)
    return [
        ("wav", b""),
        ("wav", b"this is no audio\n" * 100),
        ("mp3", random.bytes(4000)),
        ("wav", wav[:30]),
        ("wav", wav[:24] + bytes(4) + wav[28:]),
        ("wav", encoded(np.zeros(0), "WAV")),
        ("wav", encoded(np.full(2000, np.nan), "WAV", "FLOAT")),
        ("flac", flac[: len(flac) // 2] + random.bytes(2000)),
        ("ogg", ogg[:60]),
        ("mp4", b"\0\0\0\x20ftypmp42" + random.bytes(4000)),
    ]


def make_files(folder: Path, count: int, num_broken: int) -> None:
    """Write `count` files, the broken ones among the others."""
    recordings = read_test_set()
    broken = broken_files(recordings[0].samples)
    kinds = [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")]
    every = count // num_broken
    for index in range(count):
        if index % every == 5 and index // every < num_broken:
            suffix, content = broken[index // every % len(broken)]
        else:
            suffix, file_format = kinds[index % len(kinds)]
            content = encoded(recordings[index % len(recordings)].samples, file_format)
        (folder / f"{index:05}.{suffix}").write_bytes(content)


def digests(folder: Path) -> dict[str, str]:
    """Return the name and the digest of each file in a folder; a killed job may have left a temporary file (.*.tmp)."""
    files = (path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Job:
    """The same files transcribed again and again, each time into another folder.

    Parameters
    ----------
    root : Path
        Its ``in`` holds the files.
    model : str
    """

    def __init__(self, root: Path, model: str) -> None:
        self.root = root
        files = str(root / "in")
        self.command = [sys.executable, "-m", "asr", "transcribe", "--model", model, files, "-f", "txt,json"]

    def run(self, out: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Transcribe into `out`, and print how it went."""
        start = time.perf_counter()
        ran = subprocess.run([*self.command, "-o", str(self.root / out), *options], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        named = {line.split(": ")[1] for line in ran.stderr.splitlines() if line.startswith(f"asr: {self.root}")}
        print(
            f"{' '.join(options)}: {len(digests(self.root / out)) // 2} transcripts, {len(named)} named errors, exit "
            f"status {ran.returncode}\n  {ran.stderr.splitlines()[-1]}, in {seconds:.0f} s with the start",
            flush=True,
        )
        return ran

    def start(self, out: str, *options: str) -> subprocess.Popen[bytes]:
        """Start to transcribe into `out`."""
        return subprocess.Popen([*self.command, "-o", str(self.root / out), *options], stderr=subprocess.DEVNULL)

    def wait_for(self, out: str, count: int, process: subprocess.Popen[bytes]) -> None:
        """Wait until there are so many transcripts, or the process has ended."""
        while process.poll() is None and len(list((self.root / out).glob("*.txt"))) < count:
            time.sleep(0.05)

    def compare(self, out: str, what: str) -> None:
        """Print whether folder `out` is that of the undisturbed job, and end if it is not."""
        ours, expected = digests(self.root / out), digests(self.root / "out")
        print(f"{what}: the same folder: {ours == expected}", flush=True)
        if ours != expected:
            others = sorted(name for name, _ in ours.items() ^ expected.items())
            sys.exit(f"{out} has other files than the undisturbed job: {', '.join(dict.fromkeys(others))}")


def on_cluster(job: Job, count: int) -> None:
    """Have a cluster do the job, undisturbed and disturbed."""
    with cluster(job.root / "dask") as (address, _):
        job.run("cluster", "--cluster", address)
        job.compare("cluster", "on a cluster")
    with cluster(job.root / "dask") as (address, processes):
        process = job.start("disturbed", "--cluster", address)
        victim = processes[1]
        for part in (1, 2):
            job.wait_for("disturbed", part * count // 3, process)
            victim.kill()
            victim.wait()
            victim = start_worker(address, job.root / "dask")
            processes.append(victim)
        status = process.wait()
        job.compare("disturbed", f"on a cluster of which a worker was killed twice, exit status {status}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--broken", type=int, default=30)
    parser.add_argument("--cluster", action="store_true", help="with dask.distributed too")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        job = Job(Path(name), parsed.model)
        (job.root / "in").mkdir()
        make_files(job.root / "in", parsed.files, parsed.broken)
        job.run("out", "--jobs", "2")
        process = job.start("again", "--jobs", "2")
        job.wait_for("again", parsed.files // 2, process)
        process.kill()
        process.wait()
        left = len(digests(job.root / "again"))
        job.run("again", "--jobs", "2", "--skip-existing")
        job.compare("again", f"killed with {left} files written, run again")
        if parsed.cluster:
            on_cluster(job, parsed.files)


if __name__ == "__main__":
    main()
