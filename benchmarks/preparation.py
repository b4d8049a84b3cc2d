"""Hours of 16 kHz FLAC to shards per core-second: ours, lhotse's and a plain librosa loop, over reading alone.

    python benchmarks/preparation.py --audio data/downloads/LibriSpeech --hours 1

Any folder of speech will do; it is decoded, cut into utterances of at most 15 s and written as FLAC first. All run in
this process on one thread, one after the other, `--rounds` times; the best of each counts. CPU time is measured, so
that other programs on the machine matter little; two processes against one is wall time, and wants an idle machine.
lhotse is left out where it is not installed.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from asr.audio import load_audio
from asr.data.corpus import Corpus, PrepareOptions, audio_in, prepare
from asr.data.manifests import manifest_corpus
from asr.features import LogMel, LogMelConfig

RATE = 16_000
MAX_SECONDS = 15.0


def write_flac(audio: Path, folder: Path, hours: float) -> tuple[list[Path], float]:
    """Write FLAC files of `hours` of the speech below `audio`, again from the start if it is less."""
    files: list[Path] = []
    seconds, sources, position = 0.0, audio_in(audio), 0
    while seconds < hours * 3600:
        samples = load_audio(sources[position % len(sources)], RATE, end_seconds=MAX_SECONDS).samples
        files.append(folder / f"{position:06d}.flac")
        soundfile.write(files[-1], samples, RATE)
        seconds += len(samples) / RATE
        position += 1
    return files, seconds / 3600


def read_only(files: list[Path]) -> None:
    for path in files:
        soundfile.read(path, dtype="float32")


def read_and_features(files: list[Path]) -> None:
    log_mel = LogMel(LogMelConfig())
    for path in files:
        log_mel(soundfile.read(path, dtype="float32")[0]).astype(np.float16)


def librosa_loop(files: list[Path], folder: Path) -> None:
    """Do what one writes without a toolkit: log-mel, mean and variance normalised, one .npy file an utterance."""
    import librosa

    folder.mkdir(exist_ok=True)
    for path in files:
        samples, _ = librosa.load(path, sr=RATE)
        mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=400, hop_length=160, n_mels=80)
        features = librosa.power_to_db(mel).T
        features = (features - features.mean(axis=0)) / features.std(axis=0)
        np.save(folder / f"{path.stem}.npy", features.astype(np.float16))


def lhotse_features(files: list[Path], folder: Path) -> None:
    from lhotse import CutSet, Fbank, FbankConfig, LilcomChunkyWriter, Recording
    from lhotse.features.io import NumpyFilesWriter

    cuts = CutSet.from_cuts(Recording.from_file(path).to_cut() for path in files)
    try:
        import lilcom  # noqa: F401

        storage = LilcomChunkyWriter
    except ImportError:
        storage = NumpyFilesWriter
    cuts.compute_and_store_features(Fbank(FbankConfig(num_mel_bins=80)), folder, num_jobs=1, storage_type=storage)


def ours(corpus: Corpus, out: Path, jobs: int) -> None:
    prepare(corpus, out, PrepareOptions(jobs=jobs, quiet=True, force=True))


def best(function: Callable[[], object], rounds: int, clock: Callable[[], float]) -> float:
    """Return the least time of `rounds` runs in seconds."""
    times = []
    for _ in range(rounds):
        begin = clock()
        function()
        times.append(clock() - begin)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, help="a folder of speech")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flac").mkdir()
        files, hours = write_flac(parsed.audio, folder / "flac", parsed.hours)
        rows = [json.dumps({"audio_filepath": str(path), "text": "some words of an utterance"}) for path in files]
        (folder / "train.jsonl").write_text("\n".join(rows))
        corpus = manifest_corpus("flac", {"train": folder / "train.jsonl"})
        print(f"{hours:.2f} h in {len(files)} FLAC files")
        runs: dict[str, Callable[[], object]] = {
            "soundfile.read alone (the floor)": lambda: read_only(files),
            "soundfile.read + log-mel": lambda: read_and_features(files),
            "asr: prepare, report and all": lambda: ours(corpus, folder / "out", 1),
            "librosa loop": lambda: librosa_loop(files, folder / "librosa"),
        }
        try:
            import lhotse  # noqa: F401

            runs["lhotse compute_and_store_features"] = lambda: lhotse_features(files, folder / "lhotse")
        except ImportError:
            print("lhotse is not installed")
        read_only(files)
        floor = 0.0
        with threadpool_limits(1):
            import torch

            torch.set_num_threads(1)
            for label, function in runs.items():
                seconds = best(function, parsed.rounds, time.process_time)
                floor = floor or seconds
                rate = f"{hours / seconds:6.3f} h/core-s  {floor / seconds:5.2f} of the floor"
                print(f"{label:36} {seconds:7.2f} s  {rate}")
        one = best(lambda: ours(corpus, folder / "out", 1), 1, time.perf_counter)
        two = best(lambda: ours(corpus, folder / "out", 2), 1, time.perf_counter)
        print(f"wall time: one process {one:.2f} s, two {two:.2f} s: {one / two:.2f} times")


if __name__ == "__main__":
    main()
