"""Streams of speech at a time: how many one core hears in real time, what each keeps, and how a long one grows.

    python benchmarks/live.py --model exp/digits_streaming/bundle [--audio data_prep/digits/example.wav] [--minutes 20]

The recording is repeated with pauses. First that stream goes to one, ten and a hundred listeners, as one batch, 0.16 s
at a time, beside whole utterances by the same model on the same thread: the ratio is what streaming costs. Then one
stream of so many minutes is heard at full speed, and what the process keeps is measured along the way.
"""

import argparse
import resource
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr.audio import load_audio
from asr.live import EndOfUtterance, Listener, Listeners, LiveModel
from asr.transcription.transcribe import Transcriber

CHUNK_SECONDS, PAUSE_SECONDS = 0.16, 1.5


def made_up(recording: np.ndarray, rate: int, seconds: float) -> np.ndarray:
    """Return the recording again and again, with pauses of faint noise."""
    pause = 1e-4 * np.random.default_rng(0).standard_normal(round(PAUSE_SECONDS * rate)).astype(np.float32)
    unit = np.concatenate((recording, pause))
    return np.tile(unit, -(-round(seconds * rate) // len(unit)))[: round(seconds * rate)]


def streams_sustained(model: LiveModel, samples: np.ndarray, count: int) -> float:
    """Return the seconds of speech heard in a second, of `count` streams that run as a batch."""
    rate = model.log_mel.config.sample_rate
    step = round(CHUNK_SECONDS * rate)
    listeners = Listeners(model)
    numbers = [listeners.open() for _ in range(count)]
    started = time.perf_counter()
    for first in range(0, len(samples), step):
        listeners.push(dict.fromkeys(numbers, samples[first : first + step]))
    return count * len(samples) / rate / (time.perf_counter() - started)


def grow(model: LiveModel, samples: np.ndarray, minutes: int) -> None:
    """Hear a minute of samples so often, and print what is kept and what is heard after each quarter."""
    rate = model.log_mel.config.sample_rate
    listener, words, kept = Listener(model), [], []
    tracemalloc.start()
    started = time.perf_counter()
    for minute in range(1, minutes + 1):
        count = 0
        for first in range(0, len(samples), rate):
            for event in listener.push(samples[first : first + rate]):
                if isinstance(event, EndOfUtterance):
                    count += len(event.transcript.words)
        words.append(count)
        if minute % max(1, minutes // 4) == 0:
            kept.append(tracemalloc.get_traced_memory()[0])
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"minute {minute}: {kept[-1] / 1e6:.2f} MB of objects, process at most {peak:.0f} MB, {count} words")
    took = time.perf_counter() - started
    growth = max((after - before for before, after in pairwise(kept)), default=0) / max(1, minutes // 4)
    print(f"{minutes / took * 60:.0f} × real time while memory is traced")
    print(f"growth {growth / 1e3:.2f} kB a minute: {growth * 1440 / 1e6:.1f} MB in 24 hours")
    print(f"words in minute 2 and in the last: {words[min(1, minutes - 1)]}, {words[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio", type=Path, default=Path("data_prep/digits/example.wav"))
    parser.add_argument("--minutes", type=int, default=20)
    arguments = parser.parse_args()
    model = LiveModel(arguments.model, threads=1)
    rate = model.log_mel.config.sample_rate
    recording = load_audio(arguments.audio, rate).samples
    samples = made_up(recording, rate, 30)
    state = model.network.open().state.nbytes
    print(f"{model.bundle.name}: state of a stream {state / 1e3:.1f} kB, latency at most {model.latency_seconds:.2f} s")
    whole = Transcriber(model.bundle, threads=1)
    whole.log_probs(samples[: 5 * rate])
    started = time.perf_counter()
    whole.log_probs(samples)
    speed = len(samples) / rate / (time.perf_counter() - started)
    print(f"whole: {speed:.0f} × real time")
    for count in (1, 10, 100):
        part = samples[: len(samples) // (1 if count < 100 else 3)]
        streaming = streams_sustained(model, part, count)
        print(f"{count:>3} streams: one core hears {streaming:.0f} at real time, {streaming / speed:.2f} of whole")
    grow(model, made_up(recording, rate, 60), arguments.minutes)


if __name__ == "__main__":
    main()
