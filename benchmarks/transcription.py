"""Transcription of AN4's test recordings: ours in float32 and int8 beside torch and pocketsphinx, on the same cores.

    ASR_ARCHIVES=FOLDER python benchmarks/transcription.py [--threads 2] [--pocketsphinx PYTHON]

FOLDER holds an4_sphere.tar.* (CMU). Ours and torch take turns in each round, best of several; all compute from
samples in memory to words. torch runs `asr.model.AcousticModel`, of nn.LSTM, with the same weights, features and
greedy decoder. int8 runs one utterance per call; of a batch, the threads take one each.

pocketsphinx decodes with the English model and dictionary that it ships, an open vocabulary, in one process a thread.
It needs `pip install pocketsphinx`, in this environment or in that of the interpreter PYTHON; where it is missing it
is left out. The WER of float32 and int8 is that of data/an4/test, where it has been prepared.

On a busy machine, `--threads 1 --cpu-time` counts the time of the CPU, which others' work does not lengthen.
"""

# ruff: noqa: E402 - NumPy reads its number of threads when it is imported
import os

# The features are computed on one thread whoever takes them; the networks have threads of their own.
for _library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from an4_recordings import SAMPLE_RATE, read_test_set
from numpy.typing import NDArray

from asr.audio import resample
from asr.bundle.bundle import Bundle
from asr.decoder import GreedyDecoder
from asr.tokenizer import BLANK
from asr.transcription.decoding import DecodingOptions, make_decoder

ROOT = Path(__file__).parent.parent
BATCH_SIZES = (1, 16)
Samples = NDArray[np.float32]
Network = Callable[[Sequence[Any]], Sequence[Any]]

POCKETSPHINX = """
import json, sys, time
from pocketsphinx import Decoder
decoder, clock = Decoder(loglevel="FATAL"), getattr(time, sys.argv[1])
seconds, words = 0.0, 0
for path in json.load(sys.stdin):
    with open(path, "rb") as file:
        pcm = file.read()
    start = clock()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    words += len(decoder.hyp().hypstr.split()) if decoder.hyp() else 0
    seconds += clock() - start
print(json.dumps([seconds, words]))
"""


@contextmanager
def with_int8(bundle: Bundle) -> Iterator[Bundle]:
    """Yield the bundle, with an int8 graph made where it has none."""
    if "int8" in bundle.precisions:
        yield bundle
        return
    from asr.bundle.publish import export_huggingface

    with tempfile.TemporaryDirectory() as folder:
        export_huggingface(bundle, Path(folder) / bundle.name, "int8")
        yield Bundle.load(Path(folder) / bundle.name)


def measure(
    networks: dict[str, Network], bundle: Bundle, recordings: list[Samples], rounds: int, clock: str
) -> dict[tuple[str, int], tuple[float, float]]:
    """Return the best seconds of each network and batch size: of the network alone, and from samples to words."""
    decoder = GreedyDecoder(bundle.tokenizer.tokens, blank=BLANK, frame_seconds=bundle.frame_seconds)
    front_end, now = bundle.front_end, getattr(time, clock)
    best: dict[tuple[str, int], tuple[float, float]] = {}
    for _, size, name in itertools.product(range(rounds), BATCH_SIZES, networks):
        alone, start = 0.0, now()
        for batch in cut(recordings, size):
            features = [front_end(samples) for samples in batch]
            before = now()
            log_probs = networks[name](features)
            alone += now() - before
            for rows in log_probs:
                decoder(rows)
        whole = now() - start
        old = best.get((name, size), (np.inf, np.inf))
        best[name, size] = (min(old[0], alone), min(old[1], whole))
    return best


def cut(recordings: list[Samples], size: int) -> list[list[Samples]]:
    return [recordings[first : first + size] for first in range(0, len(recordings), size)]


def run_pocketsphinx(python: str, recordings: list[Samples], processes: int, clock: str) -> tuple[float, int] | None:
    """Return seconds and words of pocketsphinx, or None where it is missing; loading its model is not counted."""
    if subprocess.run([python, "-c", "import pocketsphinx"], capture_output=True).returncode:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{index}.raw") for index in range(len(recordings))]
        for path, samples in zip(paths, recordings, strict=True):
            Path(path).write_bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running = [subprocess.Popen([python, "-c", POCKETSPHINX, clock], **pipes) for _ in range(processes)]
        for index, process in enumerate(running):
            assert process.stdin
            process.stdin.write(json.dumps(paths[index::processes]))
            process.stdin.close()
        results = [json.load(process.stdout) for process in running if process.stdout]
    return max(seconds for seconds, _ in results), sum(words for _, words in results)


def print_speeds(best: dict[tuple[str, int], tuple[float, float]], audio_seconds: float) -> None:
    print("\n                     network alone          samples to words")
    print("            batch   × real time  × torch   × real time  × torch")
    for (name, size), (alone, whole) in sorted(best.items(), key=lambda item: item[0][1]):
        torch_alone, torch_whole = best["torch", size]
        print(
            f"{name:12}{size:>5}{audio_seconds / alone:>14,.0f}{torch_alone / alone:>9.2f}"
            f"{audio_seconds / whole:>14,.0f}{torch_whole / whole:>9.2f}"
        )


def print_word_error_rates(networks: dict[str, Network], bundle: Bundle) -> None:
    """Print what int8 costs, where the test set has been prepared."""
    folder = ROOT / "data" / "an4" / "test"
    if not folder.is_dir():
        print(f"\nWER: left out; prepare {folder.relative_to(ROOT)} by: python data_prep/an4.py --out data/an4")
        return
    from asr.store.store import FeatureStore
    from asr.wer import word_errors

    store = FeatureStore.open(folder)
    # As asr evaluate does: with the label priors of the bundle.
    decoder = make_decoder(bundle, DecodingOptions(beam_size=1))
    features = [store[index].features for index in range(len(store))]
    rates, log_probs = {}, {}
    for name in ("float32", "int8"):
        log_probs[name] = [networks[name]([x])[0] for x in features]
        counts = word_errors(list(store.texts), [decoder(rows)[0].text for rows in log_probs[name]])
        rates[name] = 100 * counts.errors / counts.reference_length
        print(f"\n{name:8} greedy {counts.kaldi_line('WER')}", end="")
    error = np.abs(np.concatenate(log_probs["int8"]) - np.concatenate(log_probs["float32"]))
    print(f"\nint8 costs {rates['int8'] - rates['float32']:+.2f} points of WER, and {error.mean():.3f} nats on average")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recordings", type=int, default=0, help="about so many of them; 0: all")
    parser.add_argument("--pocketsphinx", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    if arguments.cpu_time and arguments.threads != 1:
        parser.error("--cpu-time is for --threads 1: the time of several adds up")
    clock = "process_time" if arguments.cpu_time else "perf_counter"
    import torch

    from asr.bundle.runtime import TorchRuntime, make_runtime

    torch.set_num_threads(arguments.threads)
    bundle = Bundle.load(arguments.model)
    rate = bundle.features.sample_rate
    recordings = sorted((resample(x.samples, SAMPLE_RATE, rate) for x in read_test_set()), key=len, reverse=True)
    # Spread over all lengths.
    recordings = recordings[:: max(1, len(recordings) // (arguments.recordings or len(recordings)))]
    audio_seconds = sum(map(len, recordings)) / bundle.features.sample_rate
    print(f"{len(recordings)} recordings, {audio_seconds:.0f} s; {arguments.threads} threads; {clock}")
    with with_int8(bundle) as bundle:
        networks: dict[str, Network] = {"torch": TorchRuntime(bundle, "cpu")}
        for precision in ("float32", "int8"):
            networks[precision] = make_runtime(bundle, threads=arguments.threads, precision=precision)
        measure(networks, bundle, recordings[-16:], 1, clock)  # Before anything is timed, all is loaded.
        best = measure(networks, bundle, recordings, arguments.rounds, clock)
        print_speeds(best, audio_seconds)
        sphinx = run_pocketsphinx(arguments.pocketsphinx, recordings, arguments.threads, clock)
        if sphinx is None:
            print("pocketsphinx is not installed: pip install pocketsphinx, or name an interpreter by --pocketsphinx")
        else:
            seconds, words = sphinx
            print(f"pocketsphinx    1{'':>23}{audio_seconds / seconds:>14,.1f}   ({words} words)")
            for name in networks:
                print(f"{name}, batch 1: {seconds / best[name, 1][1]:.1f} × pocketsphinx")
        print_word_error_rates(networks, bundle)


if __name__ == "__main__":
    main()
