"""Damaged files of every format: ``python -m tests.fuzz --seconds 60`` finds unexplained exceptions, and hangs.

Every variant of a small file is read or refused by an `AsrError`; whatever else is raised, a process that dies, or one
that takes `HANG_SECONDS` of CPU time for a file, or stands still for `STILL_SECONDS`, is a finding: it is printed, its
file is kept, and the exit status is 1. Variants are drawn from a seed, which is printed: ``--seed`` repeats a run, and
``--first`` goes on with one.

``python -m tests.fuzz server`` sends nonsense to a server instead: see `tests.server.fuzz`.
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import AsrError

HANG_SECONDS, STILL_SECONDS = 20.0, 300.0
RATE = 16_000
# Codec → containers that PyAV writes it into.
CODECS = {
    "aac": ("adts", "mp4", "mov", "matroska", "mpegts", "flv"),
    "libmp3lame": ("mp3", "avi", "mp4", "matroska"),
    "mp2": ("mp2", "mpegts"),
    "libopus": ("ogg", "webm", "matroska"),
    "libvorbis": ("ogg", "webm"),
    "flac": ("flac", "matroska", "ogg"),
    "ac3": ("ac3", "mpegts"),
    "wmav2": ("asf",),
    "wavpack": ("wv",),
    "pcm_s16le": ("wav", "avi", "matroska", "mov", "w64"),
    "adpcm_ms": ("wav",),
    "libopencore_amrnb": ("amr", "3gp"),
}

Read = Callable[[Path], object]


def audio_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield small files of every format that libsndfile and PyAV write."""
    import soundfile

    rng = np.random.default_rng(1)
    samples = 0.2 * rng.standard_normal(RATE // 3).clip(-1, 1)
    for file_format in soundfile.available_formats():
        if file_format == "SD2":
            # Its header is a file of its own, "._", which would lie in the working folder and upset other formats.
            continue
        for subtype in soundfile.available_subtypes(file_format):
            file = io.BytesIO()
            try:
                soundfile.write(file, samples, 8000, format=file_format, subtype=subtype)
            except (soundfile.LibsndfileError, TypeError, ValueError, AssertionError):
                # Not a pair that it writes.
                continue
            yield f"{file_format}-{subtype}", file.getvalue()
    try:
        import av
    except ImportError:
        return
    for codec, containers in CODECS.items():
        for container in containers:
            try:
                yield f"{container}-{codec}", _film(av, codec, container, samples)
            except (av.FFmpegError, ValueError, LookupError):
                continue


def _film(av: Any, codec: str, file_format: str, samples: np.ndarray[Any, Any]) -> bytes:
    rate = 8000 if "amr" in codec else 48_000 if "opus" in codec else 44_100 if file_format == "flv" else RATE
    file = io.BytesIO()
    with av.open(file, "w", format=file_format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size)
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def read_audio(path: Path) -> object:
    """Read all of a file, and a part of it."""
    from asr.audio import load_audio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        waveform = load_audio(path, RATE)
        assert waveform.samples.size
        assert np.isfinite(waveform.samples).all()
        return load_audio(path, 8000, start_seconds=0.1, end_seconds=0.2)


ARPA = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.5
-0.9\t</s>
-0.7\tso\t-0.3
-0.8\tit\t-0.2

\\2-grams:
-0.4\t<s> so\t-0.1
-0.5\tso it\t-0.2
-0.3\tit </s>
-0.6\tit so\t0

\\3-grams:
-0.2\t<s> so it
-0.1\tso it </s>

\\end\\
"""


def arpa_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield an n-gram model as ARPA text, packed, and as our binary."""
    import bz2
    import gzip
    import lzma

    from asr.decoder import NGramModel

    content = ARPA.encode()
    yield "lm.arpa", content
    yield "lm.arpa.gz", gzip.compress(content)
    yield "lm.arpa.bz2", bz2.compress(content)
    yield "lm.arpa.xz", lzma.compress(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lm.arpa")
        path.write_bytes(content)
        NGramModel.read(path).write_binary(Path(folder, "lm.bin"))
        yield "lm.bin", Path(folder, "lm.bin").read_bytes()


def read_arpa(path: Path) -> object:
    """Read an n-gram model and ask it something."""
    from asr.decoder import NGramModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NGramModel.read(path).score(["so", "it"])


def manifest_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield manifests and tables of every kind."""
    row = {"audio_filepath": "a.wav", "duration": 1.5, "offset": 0.25, "text": "so it is", "speaker": "ann"}
    yield "nemo.jsonl", (json.dumps(row) + "\n").encode() * 3
    yield "table.csv", b'audio,text,speaker,split\na.wav,"so, it is",ann,train\nb.wav,it is,ben,test\n'
    yield "table.tsv", "path\tsentence\tclient_id\na.mp3\tso it is ü\tann\n".encode()
    yield "wide.csv", "audio;text\na.wav;so it is\n".encode("utf-16")


def read_manifest(path: Path) -> object:
    """Parse a manifest or table as users' own data."""
    from asr.preparation.manifests import manifest_corpus

    corpus = manifest_corpus("mine", {"": path})
    return list(corpus.parse(path.parent))


BUNDLE = Path(__file__).parents[1] / "asr" / "models" / "an4"


def bundle_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the files of a bundle that are read before the network is."""
    for name in ("config.json", "tokens.json", "filterbank.npy", "README.md"):
        yield name, (BUNDLE / name).read_bytes()


def read_bundle(path: Path) -> object:
    """Open a bundle in which one file is the given one."""
    from asr.bundle.bundle import Bundle

    folder = path.parent / "bundle"
    if not folder.exists():
        shutil.copytree(BUNDLE, folder)
    target = folder / path.name
    before = target.read_bytes()
    target.write_bytes(path.read_bytes())
    try:
        bundle = Bundle.load(folder)
        return bundle.tokenizer.encode("so"), bundle.front_end, bundle.frame_seconds, bundle.results
    finally:
        target.write_bytes(before)


# What is read: the small files that variants are made of, and what reads them; how often of ten.
TARGETS: dict[str, tuple[Callable[[], Iterator[tuple[str, bytes]]], Read, int]] = {
    "audio": (audio_seeds, read_audio, 7),
    "arpa": (arpa_seeds, read_arpa, 1),
    "manifests": (manifest_seeds, read_manifest, 1),
    "bundles": (bundle_seeds, read_bundle, 1),
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a variant of a file: bytes flipped, cut, doubled, overwritten, moved."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        # Headers are at the front, and decide most.
        place = int(rng.integers(min(len(data), 200) if rng.random() < 0.5 else len(data)))
        size = min(len(data) - place, 2 ** int(rng.integers(0, 12)))
        match rng.integers(9):
            case 0:
                data[place] ^= 1 << int(rng.integers(8))
            case 1:
                data[place] = int(rng.integers(256))
            case 2:
                del data[place:]
            case 3:
                del data[place : place + size]
            case 4:
                data[place:place] = data[place : place + size]
            case 5:
                data[place : place + size] = bytes(size)
            case 6:
                data[place : place + size] = rng.bytes(size)
            case 7:
                value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF]))
                data[place : place + 4] = value.to_bytes(4, "little" if rng.random() < 0.5 else "big")
            case _:
                data += content if rng.random() < 0.5 else rng.bytes(size)
    return bytes(data)


def work(seed: int, first: int, folder: Path) -> None:
    """Read one variant after the other, from number `first` on; say on the standard output what happens."""
    seeds = {name: list(make()) for name, (make, _, _) in TARGETS.items()}
    names = [name for name, (_, _, share) in TARGETS.items() for _ in range(share)]
    number = first
    while True:
        rng = np.random.default_rng([seed, number])
        target = names[int(rng.integers(len(names)))]
        name, content = seeds[target][int(rng.integers(len(seeds[target])))]
        path = folder / name
        path.write_bytes(damaged(content, rng))
        print(json.dumps({"begin": number, "target": target, "file": name}), flush=True)
        # The signal ends the process. A busy machine makes the wall's seconds many.
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        problem = ""
        try:
            TARGETS[target][1](path)
        except AsrError as error:
            if not str(error).strip():
                problem = f"an empty {type(error).__name__}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            import traceback

            problem += "\n" + "".join(traceback.format_exc().splitlines(keepends=True)[-9:])
        print(json.dumps({"end": number, "problem": problem}), flush=True)
        number += 1


def main() -> int:
    """Run workers until the time is over; return the exit status."""
    if sys.argv[1:2] == ["server"]:
        from tests.server import fuzz

        fuzz.main(sys.argv[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long [%(default)g]")
    parser.add_argument("--seed", type=int, default=None, help="of the variants [random]")
    parser.add_argument("--first", type=int, default=0, help="number of the first variant [%(default)s]")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where found files go [%(default)s]")
    parser.add_argument("--worker", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "big")
    if options.worker:
        work(seed, options.first, options.worker)
    print(f"seed {seed}", flush=True)
    counts: Counter[str] = Counter()
    findings, number, start = 0, options.first, time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        while time.monotonic() - start < options.seconds:
            number, problem = watch(seed, number, Path(scratch), start + options.seconds, counts)
            if problem and not sum(counts.values()):
                print(f"the worker does not begin: {problem}")
                return 1
            if problem:
                findings += 1
                print(f"variant {number} of seed {seed}: {problem}", flush=True)
                options.keep.mkdir(parents=True, exist_ok=True)
                for path in Path(scratch).iterdir():
                    if path.is_file() and path.name in problem:
                        shutil.copy(path, options.keep / f"{seed}-{number}-{path.name}")
                number += 1
    seconds = time.monotonic() - start
    total = sum(counts.values())
    said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    print(f"{total} variants in {seconds:.0f} s, {total / seconds:.0f} a second ({said}); {findings} findings")
    return 1 if findings else 0


def watch(seed: int, first: int, scratch: Path, deadline: float, counts: Counter[str]) -> tuple[int, str]:
    """Run a worker until it finds something or the time is over; return the variant's number and what it is."""
    import selectors

    command = [sys.executable, "-m", "tests.fuzz", "--seed", str(seed), "--first", str(first), "--worker", str(scratch)]
    number, doing = first, ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdout is not None
        selector = selectors.DefaultSelector()
        selector.register(worker.stdout, selectors.EVENT_READ)
        buffer = b""
        last = time.monotonic()
        try:
            while time.monotonic() < deadline:
                if not selector.select(timeout=1.0):
                    if doing and time.monotonic() - last > STILL_SECONDS:
                        return number, f"{doing}: stands still"
                    continue
                chunk = os.read(worker.stdout.fileno(), 1 << 16)
                last = time.monotonic()
                if not chunk:
                    status = worker.wait()
                    what = "hangs" if status == -signal.SIGPROF else f"the process died ({status})"
                    return number, f"{doing}: {what}"
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    # Libraries write lines of their own.
                    if not line.startswith((b'{"begin"', b'{"end"')):
                        continue
                    event = json.loads(line)
                    if "begin" in event:
                        number, doing = event["begin"], f"{event['target']}, {event['file']}"
                        counts[event["target"]] += 1
                    elif event["problem"]:
                        return number, f"{doing}: {event['problem']}"
        finally:
            worker.kill()
    return number, ""


if __name__ == "__main__":
    raise SystemExit(main())
