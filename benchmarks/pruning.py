"""What pruning costs and saves: beam search on real log-probs under several thresholds.

    ASR_ARCHIVES=DIR python benchmarks/an4_log_probs.py FOLDER --split dev
    python benchmarks/pruning.py FOLDER [--lm MODEL.arpa] [--alpha 0.5] [--beta 0] [--flatten 0.5]

Each row changes one option of the defaults. Times are CPU seconds of one thread, the best of three rounds, taken in
turn; the score is that of decoder.py, of the labellings found. `--flatten` multiplies the log-probs by a number below
1 and normalises them again: a model that is less sure.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import decoder as comparison
import numpy as np

from asr.decoder import BeamOptions, BeamSearchDecoder, log_softmax

ROWS: list[dict[str, Any]] = [
    {},
    *({"token_threshold": value} for value in (-3.0, -5.0, -7.0, -15.0)),
    *({"beam_threshold": value} for value in (6.0, 8.0, 12.0, 14.0, 20.0)),
    *({"top_k": value} for value in (5, 10, 20)),
    *({"beam_size": value} for value in (10, 30, 300)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by an4_log_probs.py")
    parser.add_argument("--lm", type=Path, help="a model of words, in place of the folder's lm.arpa")
    parser.add_argument("--alpha", type=float, default=BeamOptions().alpha)
    parser.add_argument("--beta", type=float, default=BeamOptions().beta)
    parser.add_argument("--flatten", type=float, default=1.0)
    arguments = parser.parse_args()
    comparison.ALPHA, comparison.BETA = arguments.alpha, arguments.beta
    judge = comparison.Judge(arguments.folder, arguments.lm or arguments.folder / "lm.arpa")
    if arguments.flatten != 1.0:
        judge.arrays = [log_softmax(array * np.float32(arguments.flatten)) for array in judge.arrays]
    options: dict[str, Any] = {"alpha": arguments.alpha, "beta": arguments.beta, "empty_score": 0.0}
    decoder = BeamSearchDecoder(judge.labels, lm=judge.model, options=options)
    decoders = [decoder.with_options(**row) for row in ROWS]
    seconds = [np.inf] * len(ROWS)
    tokens: list[list[Any]] = [[] for _ in ROWS]
    for _ in range(3):
        for i, search in enumerate(decoders):
            start = time.thread_time()
            tokens[i] = [best[0].tokens for best in search.decode_batch(judge.arrays)]
            seconds[i] = min(seconds[i], time.thread_time() - start)
    frames = sum(map(len, judge.arrays))
    print("| changed | µs a frame | errors | score |\n|---|---|---|---|")
    for row, taken, found in zip(ROWS, seconds, tokens, strict=True):
        errors, score = judge([list(map(int, labelling)) for labelling in found])
        name = ", ".join(f"`{name}={value:g}`" for name, value in row.items()) or "nothing"
        print(f"| {name} | {1e6 * taken / frames:.1f} | {errors} | {score:.3f} |")


if __name__ == "__main__":
    main()
