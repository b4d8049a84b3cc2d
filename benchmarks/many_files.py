"""A thousand files, thirty of them broken: transcribed by two processes, killed half-way, and taken up again.

    ASR_ARCHIVES=FOLDER python benchmarks/many_files.py [--model an4]

FOLDER holds an4_sphere.tar.* (CMU), whose test recordings are repeated under different names and in several formats.
The job that was killed (SIGKILL) and run again by --skip-existing has to leave the folder of a job that ran through.
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

FILES, BROKEN = 1000, 30


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


def make_files(folder: Path) -> None:
    """Write the files, the broken ones among the others."""
    recordings = read_test_set()
    broken = broken_files(recordings[0].samples)
    kinds = [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")]
    for index in range(FILES):
        if index % (FILES // BROKEN) == 5 and index // (FILES // BROKEN) < BROKEN:
            suffix, content = broken[index // (FILES // BROKEN) % len(broken)]
        else:
            suffix, file_format = kinds[index % len(kinds)]
            content = encoded(recordings[index % len(recordings)].samples, file_format)
        (folder / f"{index:04}.{suffix}").write_bytes(content)


def digests(folder: Path) -> dict[str, str]:
    """Return the name and the digest of each file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "in").mkdir()
        make_files(root / "in")
        command = [sys.executable, "-m", "asr", "transcribe", "--model", model, root / "in", "-f", "txt,json"]
        start = time.perf_counter()
        ran = subprocess.run([*command, "--jobs", "2", "-o", root / "out"], capture_output=True, text=True)
        seconds = time.perf_counter() - start
        named = {line.split(": ")[1] for line in ran.stderr.splitlines() if line.startswith(f"asr: {root}")}
        print(f"{len(digests(root / 'out')) // 2} transcripts, {len(named)} named errors, exit status {ran.returncode}")
        print(f"  {ran.stderr.splitlines()[-1]}, in {seconds:.0f} s with the start")
        again = [*command, "--jobs", "2", "-o", root / "again"]
        process = subprocess.Popen(again, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list((root / "again").glob("*.txt"))) < FILES // 2:
            time.sleep(0.01)
        process.kill()
        process.wait()
        left = len(digests(root / "again"))
        ran = subprocess.run([*again, "--skip-existing"], capture_output=True, text=True)
        same = digests(root / "again") == digests(root / "out")
        print(f"killed with {left} files written, run again: exit status {ran.returncode}, the same folder: {same}")
        print(f"  {ran.stderr.splitlines()[-1]}")
        if not same:
            sys.exit("the resumed job has other files than the undisturbed one")


if __name__ == "__main__":
    main()
