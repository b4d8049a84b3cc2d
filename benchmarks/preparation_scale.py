"""Preparation at scale: peak memory for one hour and for five, and the first batch out of a million utterances.

    python benchmarks/preparation_scale.py --audio data/downloads/LibriSpeech [--rehearsal 200 --folder DIR]

With --rehearsal, hours of made-up FLAC instead (one file of 15 s, linked again and again, each with words of its own):
its preparation is killed (SIGKILL) when half of the shards are there, and started again.

The memory is the largest resident set of the preparing process and of its largest worker, each measured in a process
of its own. The million utterances are made up and tiny (20 frames of 8 bands); what is timed is opening their store,
drawing an epoch's batches by length, and reading the first batch, with cold Python but a warm page cache.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

UTTERANCES = 1_000_000
SHARD_UTTERANCES = 1_000
FRAMES, BANDS = 20, 8


def prepare_hours(audio: Path, hours: float, folder: Path) -> None:
    """Prepare `hours` of the speech below `audio`, and print the peak of resident memory in MB."""
    from asr.preparation.manifests import manifest_corpus
    from asr.preparation.options import PrepareOptions
    from asr.preparation.parsing import audio_in
    from asr.preparation.prepare import prepare

    if not (folder / "train.jsonl").exists():
        from preparation import write_flac

        (folder / "flac").mkdir()
        files, _ = write_flac(audio, folder / "flac", hours)
        rows = [json.dumps({"audio_filepath": str(path), "text": "some words"}) for path in audio_in(folder / "flac")]
        (folder / "train.jsonl").write_text("\n".join(rows))
        assert len(files) == len(rows)
        return
    corpus = manifest_corpus("flac", {"train": folder / "train.jsonl"})
    prepare(corpus, folder / "out", PrepareOptions(jobs=2, quiet=True))
    here, worker = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(json.dumps({"here": round(here), "worker": round(worker)}))


def write_links(audio: Path, folder: Path, hours: float) -> None:
    """Write one FLAC file of the speech below `audio`, links to it, and the manifest of `hours` in all."""
    from preparation import MAX_SECONDS, RATE

    from asr.audio import load_audio
    from asr.preparation.parsing import audio_in

    folder.mkdir(parents=True)
    sources, speech = iter(audio_in(audio)), np.zeros(0, np.float32)
    while len(speech) < MAX_SECONDS * RATE:
        speech = np.append(speech, load_audio(next(sources), RATE).samples)
    original = folder / "original.flac"
    soundfile.write(original, speech[: int(MAX_SECONDS * RATE)], RATE)
    words = [first + second for first in ("so", "it", "is", "as", "we", "go") for second in ("me", "la", "no", "ti")]
    rng = np.random.default_rng(1)
    with (folder / "train.jsonl").open("w") as manifest:
        for number in range(round(hours * 3600 / MAX_SECONDS)):
            path = folder / "flac" / f"{number // 1000:03d}" / f"{number:06d}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(original, path)
            text = " ".join(rng.choice(words, 30))
            manifest.write(json.dumps({"audio_filepath": str(path), "text": text, "speaker": str(number % 250)}) + "\n")


def prepare_links(folder: Path) -> None:
    """Prepare what `write_links` wrote; print what it took, with the peaks of memory here and in a worker."""
    from asr.preparation.manifests import manifest_corpus
    from asr.preparation.options import PrepareOptions
    from asr.preparation.prepare import prepare

    begin = time.perf_counter()
    prepare(
        manifest_corpus("flac", {"train": folder / "train.jsonl"}), folder / "out", PrepareOptions(jobs=2, quiet=True)
    )
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    figures = {
        "seconds": time.perf_counter() - begin,
        "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in used),
        "peak_mb_here": used[0].ru_maxrss / 1024,
        "peak_mb_worker": used[1].ru_maxrss / 1024,
    }
    print(json.dumps({name: round(value, 1) for name, value in figures.items()}))


def rehearse(audio: Path, folder: Path, hours: float) -> None:
    """Prepare made-up hours, killed in the middle and started again; print what it took, and what is there."""
    from asr.preparation.options import PrepareOptions
    from asr.store.store import FeatureStore

    begin = time.perf_counter()
    write_links(audio, folder, hours)
    print(f"{hours:g} h in {round(hours * 3600 / 15)} files, linked in {time.perf_counter() - begin:.0f} s", flush=True)
    command = [sys.executable, __file__, "--step", "links", str(folder)]
    train, wanted = folder / "out" / "train", hours * 3600 / 15 / PrepareOptions().shard_utterances / 2
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(train.glob("shard-*.arrow"))) < wanted:
        time.sleep(0.2)
    process.kill()
    process.wait()
    # Its workers end by themselves, with the shards that they were writing.
    time.sleep(3)
    before = {path.name: path.stat().st_mtime_ns for path in train.glob("shard-*.arrow")}
    print(f"killed after {time.perf_counter() - begin:.0f} s, with {len(before)} shards whole", flush=True)
    print("started again:", again("--step", "links", str(folder)), flush=True)
    store = FeatureStore.open(train)
    kept = sum((train / name).stat().st_mtime_ns == changed for name, changed in before.items())
    store.verify()
    size = sum(path.stat().st_size for path in train.iterdir())
    print(
        f"{kept} of {len(before)} shards were kept; {len(store)} utterances, {store.hours:.1f} h, in "
        f"{len(list(train.iterdir()))} files of {size / 1e9:.2f} GB in all; checksums are right"
    )


def write_million(folder: Path) -> None:
    """Write a store of made-up utterances, the way the driver does."""
    import pyarrow as pa

    from asr.features import LogMelConfig
    from asr.preparation.index import write_index
    from asr.preparation.shard_tasks import Measures
    from asr.settings import to_dict
    from asr.store.layout import FORMAT, HEADER, ShardRow, ShardWriter, file_checksum, schema, shard_name

    config = LogMelConfig(sample_rate=8_000, n_mels=BANDS)
    layout = schema("features", BANDS, {"features": json.dumps(to_dict(config))})
    features = np.zeros((FRAMES, BANDS), dtype=np.float16)
    shards, measures = [], []
    folder.mkdir()
    for number in range(UTTERANCES // SHARD_UTTERANCES):
        path = folder / shard_name(number)
        with pa.OSFile(str(path), "wb") as file:
            writer = ShardWriter(file, layout)
            for row in range(SHARD_UTTERANCES):
                name = f"utterance-{number * SHARD_UTTERANCES + row:07d}"
                seconds = 0.2 + row % 7 / 100
                writer.add(ShardRow(name, "so it is", f"speaker-{number % 500}", seconds, f"{name}.wav"), features)
            writer.close()
        shards.append(path)
        measures.append(
            [Measures(FRAMES, 8, -25.0, 0.0, f"{number:08x}{row:08x}", 0.0) for row in range(SHARD_UTTERANCES)]
        )
    seconds = write_index(folder / "utterances.index", shards, measures)
    listed = [
        {"file": path.name, "utterances": SHARD_UTTERANCES, "bytes": path.stat().st_size, "sha256": file_checksum(path)}
        for path in shards
    ]
    header = {
        "format": FORMAT, "kind": "features", "corpus": "million", "version": "1", "split": "train",
        "features": to_dict(config), "utterances": UTTERANCES, "seconds": seconds, "shards": listed,
    }  # fmt: skip
    (folder / HEADER).write_text(json.dumps(header))


def first_batch(folder: Path) -> None:
    """Open the store, sort an epoch into batches, read the first; print seconds and resident memory in MB."""
    begin = time.perf_counter()
    from asr.store.store import FeatureStore

    store = FeatureStore.open(folder)
    rng = np.random.default_rng(0)
    order = np.argsort(store.num_frames * rng.uniform(0.9, 1.1, len(store)), kind="stable")
    batches = np.array_split(order, len(order) // 32)
    batch = [store[int(i)] for i in batches[int(rng.integers(len(batches)))]]
    features = np.stack([utterance.features.astype(np.float32) for utterance in batch])
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 2), "peak_mb": round(peak), "batch": list(features.shape)}))


def again(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="a folder of speech")
    parser.add_argument("--rehearsal", type=float, metavar="HOURS", help="of made-up FLAC")
    parser.add_argument("--folder", type=Path, help="of the rehearsal, kept; 60 MB an hour")
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.step and parsed.step[0] in ("million", "links"):
        {"million": first_batch, "links": prepare_links}[parsed.step[0]](Path(parsed.step[1]))
        return
    if parsed.step:
        prepare_hours(parsed.audio, float(parsed.step[0]), Path(parsed.step[1]))
        return
    if parsed.rehearsal:
        if not (parsed.audio and parsed.folder):
            parser.error("--rehearsal needs --audio and --folder")
        rehearse(parsed.audio, parsed.folder, parsed.rehearsal)
        return
    with tempfile.TemporaryDirectory() as name:
        if parsed.audio:
            for hours in ("1", "5"):
                folder = Path(name, hours)
                folder.mkdir()
                again("--audio", str(parsed.audio), "--step", hours, str(folder))
                print(f"{hours} h: peak MB", again("--audio", str(parsed.audio), "--step", hours, str(folder)))
        write_million(Path(name, "million"))
        print("a million utterances:", again("--step", "million", str(Path(name, "million"))))


if __name__ == "__main__":
    main()
