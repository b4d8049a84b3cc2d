"""Hours of 16 kHz FLAC to shards per core-second: ours, lhotse's and a plain librosa loop, over reading alone.

    python benchmarks/preparation.py --audio data/downloads/LibriSpeech --hours 1

Any folder of speech will do; it is decoded, cut into utterances of at most 15 s and written as FLAC first. All run in
this process on one thread, taking turns for `--rounds` rounds; the least CPU time of each counts, so that other
programs on the machine matter little. Ours is everything: planning, checks, checksums, index and report; the librosa
loop stores the same features in the same type, and does nothing else. lhotse is left out where it is not installed.

Two processes against one is wall time, over ten times as many hours (the same files again), and wants an idle machine:
the gain of two processes that share nothing, printed beside it, says what the machine had to give.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from asr.audio import load_audio
from asr.features import LogMel, LogMelConfig
from asr.preparation.corpus import Corpus
from asr.preparation.manifests import manifest_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.parsing import audio_in
from asr.preparation.prepare import prepare

RATE = 16_000
MAX_SECONDS = 15.0
# The hours for two processes against one, in multiples of --hours: starting them takes half a second.
SCALING = 10


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


def best_seconds(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least CPU time of each in seconds, the runs taking turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for label, function in runs.items():
            begin = time.process_time()
            function()
            best[label] = min(best[label], time.process_time() - begin)
    return best


def make_corpus(folder: Path, files: list[Path], times: int) -> Corpus:
    """Return a corpus of `files`, each of them `times` times."""
    rows = [
        {"audio_filepath": str(path), "text": "some words of an utterance", "id": f"{path.stem}-{number}"}
        for number in range(times)
        for path in files
    ]
    manifest = folder / f"train-{times}.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    return manifest_corpus("flac", {"train": manifest})


def wall(function: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and CPU time, worker processes included, in seconds."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    begin, used = time.perf_counter(), cpu()
    function()
    return time.perf_counter() - begin, cpu() - used


def two_that_share_nothing(files: list[Path]) -> float:
    """Return how much faster two processes are than one at reading and log-mel, their start not counted."""
    half = len(files) // 2
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:

        def both(parts: list[list[Path]]) -> None:
            list(pool.map(read_and_features, parts))

        both([files[:half], files[half:]])
        both([files[:half], files[half:]])
        two, _ = wall(lambda: both([files[:half], files[half:]]))
        one, _ = wall(lambda: both([files]))
    return one / two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, help="a folder of speech")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flac").mkdir()
        files, hours = write_flac(parsed.audio, folder / "flac", parsed.hours)
        corpus = make_corpus(folder, files, 1)
        print(f"{hours:.2f} h in {len(files)} FLAC files")
        runs: dict[str, Callable[[], object]] = {
            "soundfile.read alone (the floor)": lambda: read_only(files),
            "soundfile.read + log-mel": lambda: read_and_features(files),
            "asr: prepare, report and all": lambda: ours(corpus, folder / "out", 1),
            "librosa loop": lambda: librosa_loop(files, folder / "librosa"),
        }
        try:
            import lhotse  # noqa: F401
            import torch

            torch.set_num_threads(1)
            runs["lhotse compute_and_store_features"] = lambda: lhotse_features(files, folder / "lhotse")
        except ImportError:
            print("lhotse is not installed")
        with threadpool_limits(1):
            best = best_seconds(runs, parsed.rounds)
        floor, _, prepared, *_ = best.values()
        for label, seconds in best.items():
            rate = f"{hours / seconds:6.3f} h/core-s  {floor / seconds:5.2f} of the floor"
            print(f"{label:36} {seconds:7.2f} s  {rate}  ours is {seconds / prepared:5.2f} times as fast")
        scaling = make_corpus(folder, files, SCALING)
        one, one_cpu = wall(lambda: ours(scaling, folder / "scaling", 1))
        two, two_cpu = wall(lambda: ours(scaling, folder / "scaling", 2))
        print(f"{SCALING * hours:.0f} h: one process {one:.2f} s ({one_cpu:.2f} s of CPU time)")
        print(f"      two processes {two:.2f} s ({two_cpu:.2f} s of CPU time): {one / two:.2f} times")
        print(f"      two processes that share nothing: {two_that_share_nothing(files):.2f} times")


if __name__ == "__main__":
    main()
