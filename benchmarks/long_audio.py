"""Recordings of an hour and of three: memory above the model's, and speed, whose ratio shows that time is linear.

    ASR_ARCHIVES=FOLDER python benchmarks/long_audio.py [--model an4] [--threads 1] [--precision float32]

FOLDER holds an4_sphere.tar.* (CMU), whose test recordings are repeated, with pauses of a second between them and
without. Each recording is transcribed from a file by a process of its own. Memory is the largest resident set: the
model's is that after a second of audio.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from an4_recordings import SAMPLE_RATE, read_test_set

MEASURE = """
import json, resource, sys, time
import numpy as np
import asr
path, model, threads, precision = sys.argv[1:]
transcriber = asr.load(model, threads=int(threads), precision=precision)
noise = 1e-2 * np.random.default_rng(0).standard_normal(16_000)
transcriber.transcribe(noise, source_rate=16_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start, cpu = time.perf_counter(), time.process_time()
transcript = transcriber.transcribe(path)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([transcript.duration, seconds, cpu, before, after - before, len(transcript.words)]))
"""


def write(path: Path, hours: float, pause_seconds: float) -> int:
    """Write a recording and return how many words are said in it."""
    recordings = read_test_set()
    rng = np.random.default_rng(0)
    words = num_samples = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype="PCM_16") as file:
        while num_samples < hours * 3600 * SAMPLE_RATE:
            for recording in recordings:
                pause = 1e-3 * rng.standard_normal(round(pause_seconds * SAMPLE_RATE))
                samples = np.concatenate((recording.samples, pause))
                file.write(samples)
                num_samples += len(samples)
                words += len(recording.text.split())
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    for pause_seconds in (1.0, 0.0):
        speeds = []
        for hours in (1, 3):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "long.wav"
                said = write(path, hours, pause_seconds)
                command = [sys.executable, "-c", MEASURE, path, options.model, options.threads, options.precision]
                ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
            duration, seconds, cpu, before, above, words = json.loads(ran.stdout)
            speeds.append(duration / cpu)
            print(
                f"{duration / 3600:.2f} h, pauses of {pause_seconds:g} s: {duration / seconds:.0f} × real time "
                f"({duration / cpu:.0f} × by the processor's time), {above:.0f} MB above the {before:.0f} MB of the "
                f"model, {words} words of {said} said"
            )
        print(f"  time per second of audio, three hours over one: {speeds[0] / speeds[1]:.2f}")


if __name__ == "__main__":
    main()
