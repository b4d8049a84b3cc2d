"""asr.decoder.pyctcdecode beside pyctcdecode: the same calls, in an environment each; texts, frames, scores, times.

    python benchmarks/drop_in.py LOG_PROBS.npz LABELS.json LM.arpa --peer /path/to/python [--wide]

LOG_PROBS.npz holds an array (frames, labels) an utterance, LABELS.json the labels, the blank first; --peer is a Python
with pyctcdecode and NumPy 1. --wide adds a search with little pruning, on which pyctcdecode takes minutes.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CASES: dict[str, dict[str, Any]] = {
    "no language model": {},
    "defaults": {},
    "hotwords": {"hotwords": ["seven", "rubout"]},
    "wide": {"beam_width": 200, "beam_prune_logp": -30.0, "token_min_logp": -20.0},
}


def decode_all(name: str, arguments: list[str]) -> None:
    """Decode with one of the two, and print the results and times as JSON."""
    if name == "pyctcdecode":
        from pyctcdecode import build_ctcdecoder
    else:
        from asr.decoder.pyctcdecode import build_ctcdecoder
    log_probs, labels, lm, wide = arguments
    with np.load(log_probs) as arrays:
        utterances = [arrays[key] for key in sorted(arrays.files)]
    # pyctcdecode knows the blank by its empty name.
    names = ["", *json.loads(Path(labels).read_text())[1:]]
    plain, fused = build_ctcdecoder(names), build_ctcdecoder(names, lm)
    results = {}
    for case, options in CASES.items():
        if case == "wide" and wide != "True":
            continue
        decoder = plain if case == "no language model" else fused
        decoder.decode(utterances[0])
        start = time.perf_counter()
        for utterance in utterances:
            decoder.decode(utterance, **options)
        seconds = time.perf_counter() - start
        beams = [decoder.decode_beams(utterance, **options)[0] for utterance in utterances]
        results[case] = {
            "seconds": seconds,
            "beams": [(b[0], [frames for _, frames in b[2]], float(b[3]), float(b[4])) for b in beams],
        }
    print(json.dumps(results))


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        decode_all(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("log_probs", "labels", "lm"):
        parser.add_argument(name)
    parser.add_argument("--peer", required=True, help="a Python that has pyctcdecode")
    parser.add_argument("--wide", action="store_true")
    given = parser.parse_args()
    arguments = [given.log_probs, given.labels, given.lm, str(given.wide)]
    found = {}
    for name, python in (("pyctcdecode", given.peer), ("ours", sys.executable)):
        command = [python, __file__, "--run", name, *arguments]
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        found[name] = json.loads(ran.stdout.splitlines()[-1])
    for case, theirs in found["pyctcdecode"].items():
        ours = found["ours"][case]
        pairs = [(a, b) for a, b in zip(theirs["beams"], ours["beams"], strict=True) if a[0] == b[0]]
        frames = [(x, y) for a, b in pairs for x, y in zip(a[1], b[1], strict=True)]
        near = sum(max(abs(x[0] - y[0]), abs(x[1] - y[1])) <= 1 for x, y in frames)
        median = statistics.median(abs(a[3] - b[3]) for a, b in pairs) if pairs else float("nan")
        print(
            f"{case}: same text {len(pairs)} of {len(ours['beams'])}, word frames within 1 {near} of {len(frames)}, "
            f"median difference of scores {median:.3f}, decode {theirs['seconds']:.2f} s and {ours['seconds']:.2f} s, "
            f"ratio {theirs['seconds'] / ours['seconds']:.1f}"
        )


if __name__ == "__main__":
    main()
