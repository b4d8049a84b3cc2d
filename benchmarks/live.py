"""Streams of speech at a time: how many one core hears in real time, what each keeps, and how a long one grows.

    python benchmarks/live.py --model exp/digits_streaming/bundle [--audio data_prep/digits/example.wav] [--hours 2]
    python benchmarks/live.py --model … --pocketsphinx PYTHON

The recording is repeated with pauses. That stream goes to one, ten and a hundred listeners, as one batch, 0.16 s at a
time, and to one in pieces of 1.28 s, as on a machine that has fallen behind; beside whole utterances by the same model
on the same thread (the network alone): the ratio is what streaming costs. It also goes to pocketsphinx, which takes the
same pieces and says after each what was said so far: with the general English that it ships, and with a grammar of ten
digits. PYTHON is an interpreter with `pip install pocketsphinx`. All are measured by CPU time, and turn by turn, so
that a busy machine matters less.

Then one stream of so many hours is heard at full speed, and what the process takes is measured along the way.

Ours runs in float32: int8 does not stream (see docs/live.md).
"""

import argparse
import json
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from asr.audio import load_audio
from asr.live import EndOfUtterance, Listener, Listeners, LiveModel
from asr.transcription.transcribe import Transcriber

CHUNK_SECONDS, PAUSE_SECONDS = 0.16, 1.5

DIGITS = "#JSGF V1.0; grammar g; public <g> = (zero|one|two|three|four|five|six|seven|eight|nine)+;"
POCKETSPHINX = """
import json, resource, sys, time
from pocketsphinx import Decoder

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6

def make(grammar):
    decoder = Decoder(samprate=16000, loglevel="FATAL", **({"lm": None} if grammar else {}))
    if grammar:
        decoder.add_jsgf_string("digits", grammar)
        decoder.activate_search("digits")
    return decoder

path, size, grammar = json.load(sys.stdin)
decoder = make(grammar)
with open(path, "rb") as file:
    sound = file.read()
started = time.process_time()
decoder.start_utt()
for first in range(0, len(sound), size):
    decoder.process_raw(sound[first : first + size], False, False)
    decoder.hyp()
decoder.end_utt()
took = time.process_time() - started
before = memory()
another = make(grammar)
print(json.dumps([len(sound) / 32000 / took, memory() - before]))
"""


def made_up(recording: np.ndarray, rate: int, seconds: float) -> np.ndarray:
    """Return the recording again and again, with pauses of faint noise."""
    pause = 1e-4 * np.random.default_rng(0).standard_normal(round(PAUSE_SECONDS * rate)).astype(np.float32)
    unit = np.concatenate((recording, pause))
    return np.tile(unit, -(-round(seconds * rate) // len(unit)))[: round(seconds * rate)]


def streams_sustained(model: LiveModel, samples: np.ndarray, count: int, piece_seconds: float) -> float:
    """Return the seconds of speech heard in a second of the processor, of `count` streams that run as a batch."""
    rate = model.log_mel.config.sample_rate
    step = round(piece_seconds * rate)
    listeners = Listeners(model)
    numbers = [listeners.open() for _ in range(count)]
    started = time.process_time()
    for first in range(0, len(samples), step):
        listeners.push(dict.fromkeys(numbers, samples[first : first + step]))
    return count * len(samples) / rate / (time.process_time() - started)


def memory() -> float:
    """Return what the process has of the machine's memory now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory_of_stream(model: LiveModel, samples: np.ndarray, count: int = 500) -> float:
    """Return what a stream takes after these samples, in MB: the mean of many."""
    listeners, step = Listeners(model), round(CHUNK_SECONDS * model.log_mel.config.sample_rate)
    before = memory()
    numbers = [listeners.open() for _ in range(count)]
    for first in range(0, len(samples), step):
        listeners.push(dict.fromkeys(numbers, samples[first : first + step]))
    return (memory() - before) / count


def sphinx(python: str, samples: np.ndarray, grammar: str) -> tuple[float, float]:
    """Return the seconds of speech (16 kHz) that pocketsphinx hears in a second of CPU time, and a decoder's MB."""
    with tempfile.NamedTemporaryFile(suffix=".raw") as file:
        file.write((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        file.flush()
        job = json.dumps([file.name, 2 * round(16_000 * CHUNK_SECONDS), grammar])
        result = subprocess.run([python, "-c", POCKETSPHINX], input=job, capture_output=True, text=True, check=True)
    speed, size = json.loads(result.stdout)
    return speed, size


def grow(model: LiveModel, samples: np.ndarray, hours: float) -> None:
    """Hear a minute of samples so long, and print what the process takes, and what is heard, after each eighth."""
    rate = model.log_mel.config.sample_rate
    listener, words = Listener(model), []
    minutes = max(8, round(60 * hours))
    started = time.perf_counter()
    for minute in range(1, minutes + 1):
        count = 0
        for first in range(0, len(samples), rate):
            for event in listener.push(samples[first : first + rate]):
                if isinstance(event, EndOfUtterance):
                    count += len(event.transcript.words)
        words.append(count)
        if minute % (minutes // 8) == 0 or minute == 1:
            took = time.perf_counter() - started
            print(
                f"minute {minute:5}: {memory():.1f} MB, {count} words, {60 * minute / took:.0f} × real time", flush=True
            )
    print(f"words a minute, from minute 2 on: {sorted(set(words[1:]))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio", type=Path, default=Path("data_prep/digits/example.wav"))
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pocketsphinx", metavar="PYTHON", help="the interpreter that has it")
    arguments = parser.parse_args()
    model = LiveModel(arguments.model, threads=1)
    rate = model.log_mel.config.sample_rate
    recording = load_audio(arguments.audio, rate).samples
    samples = made_up(recording, rate, 30)
    print(f"{model.bundle.name}: latency at most {model.latency_seconds:.2f} s")
    whole = Transcriber(model.bundle, threads=1)
    cases = {
        "one": (1, CHUNK_SECONDS),
        "ten": (10, CHUNK_SECONDS),
        "a hundred": (100, CHUNK_SECONDS),
        "one, behind": (1, 1.28),
    }
    peers = {"pocketsphinx, English": "", "pocketsphinx, digits": DIGITS} if arguments.pocketsphinx else {}
    at_16_khz = load_audio(arguments.audio, 16_000).samples
    # First: what other measurements have freed would be taken again, and not count.
    memory_of_stream(model, samples[:rate], 1)
    sizes = {"ours": memory_of_stream(model, samples[:rate])}
    speeds: dict[str, list[float]] = {name: [] for name in ("whole", *cases, *peers)}
    for _ in range(arguments.rounds):
        started = time.process_time()
        whole.log_probs(samples)
        speeds["whole"].append(len(samples) / rate / (time.process_time() - started))
        for name, (count, piece) in cases.items():
            part = samples[: len(samples) // (1 if count < 100 else 3)]
            speeds[name].append(streams_sustained(model, part, count, piece))
        for name, grammar in peers.items():
            speed, sizes[name] = sphinx(arguments.pocketsphinx, made_up(at_16_khz, 16_000, 30), grammar)
            speeds[name].append(speed)
    for name, figures in speeds.items():
        ratio = statistics.median(one / other for one, other in zip(figures, speeds["whole"], strict=True))
        print(f"{name:21} one core hears {statistics.median(figures):6.1f} at real time, {ratio:.3f} of whole")
    print("memory of a stream: " + ", ".join(f"{name} {size:.2f} MB" for name, size in sizes.items()))
    grow(model, made_up(recording, rate, 60), arguments.hours)


if __name__ == "__main__":
    main()
