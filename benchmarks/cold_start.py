"""Cold start: from the command to the first word of a recording, each run in a process of its own.

    python benchmarks/cold_start.py [--audio FILE] [--runs 10]
    python benchmarks/cold_start.py --model BUNDLE --own-decoding

Decoding is greedy, or the bundle's own: of phones, beam search with its lexicon and language model.

The peer is `import torch` and nothing else, which a recogniser that runs on torch has to do first; it is left out
where torch is not installed. Both take turns. Then `python -X importtime` of one more run, added up by package: what
each costs by itself, without what it imports.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import soundfile

EXAMPLE = Path(__file__).parent.parent / "data_prep" / "digits" / "example.wav"
SHOWN_PACKAGES = 8


def first_output(command: list[str]) -> tuple[float, float]:
    """Return the seconds until a command prints something, and those of the CPU that it takes in all."""
    before = os.times()
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode or not first:
        sys.exit(f"{' '.join(command)} printed nothing or failed: status {process.returncode}")
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def import_times(arguments: list[str]) -> tuple[Counter[str], set[str]]:
    """Return microseconds by package of what ``python -m asr`` imports, and the modules."""
    command = [sys.executable, "-X", "importtime", "-m", "asr", *arguments]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", lines, flags=re.MULTILINE)
    packages: Counter[str] = Counter()
    for microseconds, module in found:
        packages[module.split(".")[0]] += int(microseconds)
    return packages, {module for _, module in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, default=EXAMPLE)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--own-decoding", action="store_true", help="as the bundle says, not greedy")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    greedy = [] if options.own_decoding else ["--beam-size", "1"]
    arguments = ["transcribe", *greedy, "--threads", "1", "--model", options.model, str(options.audio)]
    commands = {
        "asr transcribe": [sys.executable, "-m", "asr", *arguments],
        "import torch": [sys.executable, "-c", "import torch; print(torch.__version__)"],
    }
    if subprocess.run(commands["import torch"], capture_output=True).returncode:
        print("torch is not installed")
        del commands["import torch"]
    for command in commands.values():
        first_output(command)  # Once, to have the files in memory.
    measured = [{name: first_output(command) for name, command in commands.items()} for _ in range(options.runs)]
    print(f"{soundfile.info(options.audio).duration:.1f} s of audio, {options.runs} runs; seconds until the first word")
    medians = {}
    for name in commands:
        seconds, used = zip(*(run[name] for run in measured), strict=True)
        medians[name] = statistics.median(seconds)
        print(
            f"{name:15} median {medians[name]:.2f}, best {min(seconds):.2f}; CPU median {statistics.median(used):.2f}"
        )
    if "import torch" in medians:
        print(f"ratio: {medians['import torch'] / medians['asr transcribe']:.1f} × faster than importing torch alone")

    packages, modules = import_times(arguments)
    print(f"\n-X importtime: {sum(packages.values()) / 1e3:.0f} ms in {len(modules)} modules; by package")
    for package, microseconds in packages.most_common(SHOWN_PACKAGES):
        print(f"{microseconds / 1e3:8.0f} ms  {package}")
    print("torch is", "imported" if "torch" in modules else "not imported")


if __name__ == "__main__":
    main()
