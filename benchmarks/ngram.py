"""Estimating a trigram model beside `collections.Counter` counting the same trigrams; loading and size of models.

    python benchmarks/ngram.py TEXT [--order 3]

TEXT is prose, plain or .gz or .xz; it is cut into sentences of lower-case letters and apostrophes here, of which 5,000
are held out. With the `kenlm` package installed, loading the ARPA file and scoring sentences are timed beside it.
Prints ratios of one run.
"""

import argparse
import collections
import gzip
import lzma
import random
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from asr.decoder.ngram import NGramModel
from asr.decoder.ngram.estimation import estimate


def sentences_of(path: Path) -> list[str]:
    opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read().lower().replace("’", "'").replace("‘", "'").replace("\n", ".")
    sentences = []
    for part in re.split(r"[.!?;:]+", text):
        words = (word.strip("'") for word in re.sub(r"[^a-z']+", " ", part).split())
        sentence = " ".join(word for word in words if word)
        if len(sentence) > 3:
            sentences.append(sentence)
    random.Random(0).shuffle(sentences)
    return sentences


def timed(work, *arguments, repeats=1, **options):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work(*arguments, **options)
        times.append(time.perf_counter() - start)
    return result, min(times)


def count_with_counter(sentences: list[str], order: int) -> collections.Counter[tuple[str, ...]]:
    counts: collections.Counter[tuple[str, ...]] = collections.Counter()
    for sentence in sentences:
        words = ["<s>", *sentence.split(), "</s>"]
        counts.update(zip(*(words[i:] for i in range(order)), strict=False))
    return counts


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--order", type=int, default=3)
    arguments = parser.parse_args()
    sentences = sentences_of(arguments.text)
    held_out, training = sentences[:5000], sentences[5000:]
    words = sum(len(sentence.split()) for sentence in training)
    print(f"{len(training):,} sentences, {words:,} words")
    # Compiled and loaded from the cache before anything is timed; the first run ever takes a few seconds more.
    estimate(training[:1000], order=arguments.order)
    before = peak_gb()
    model, seconds = timed(estimate, training, order=arguments.order, repeats=2)
    print(f"{model}\nestimated in {seconds:.2f} s; peak memory {peak_gb():.2f} GB, of which {before:.2f} before")
    counts, counter_seconds = timed(count_with_counter, training, arguments.order)
    print(f"Counter: {len(counts):,} n-grams in {counter_seconds:.2f} s; ratio {seconds / counter_seconds:.2f}")
    del counts
    print(model.perplexity(held_out))
    time_files(model, held_out)


def time_files(model: NGramModel, held_out: list[str]) -> None:
    total = sum(model.counts)
    with tempfile.TemporaryDirectory() as folder:
        arpa, binary = Path(folder) / "lm.arpa", Path(folder) / "lm.bin"
        _, seconds = timed(model.write_arpa, arpa)
        print(f"ARPA: {arpa.stat().st_size / 1e6:.1f} MB, written in {seconds:.2f} s", end=", ")
        read, seconds = timed(NGramModel.read, arpa)
        print(f"read in {seconds:.2f} s")
        model.write_binary(binary)
        size = binary.stat().st_size
        print(f"binary: {size / 1e6:.1f} MB, {size / total:.1f} bytes per n-gram", end=", ")
        mapped, seconds = timed(NGramModel.read, binary)
        _, first_seconds = timed(mapped.score, held_out[0])
        print(f"mapped in {seconds * 1000:.1f} ms, first sentence scored after {first_seconds * 1000:.0f} ms more")
        ours, seconds = timed(lambda: [read.score(sentence) for sentence in held_out], repeats=3)
        print(f"{len(held_out)} sentences scored in {seconds * 1000:.0f} ms", end="")
        try:
            import kenlm
        except ImportError:
            print("; kenlm is not installed")
            return
        peer, kenlm_load = timed(kenlm.Model, str(arpa))
        _, kenlm_seconds = timed(lambda: [peer.score(sentence) for sentence in held_out], repeats=3)
        # KenLM adds in single precision; its words' scores are added in double here.
        exact = [sum(log10 for log10, _, _ in peer.full_scores(sentence)) for sentence in held_out]
        difference = np.abs(np.array(ours) / np.log(10) - exact).max()
        print(f", by kenlm in {kenlm_seconds * 1000:.0f} ms; ratio {seconds / kenlm_seconds:.2f}")
        print(f"kenlm reads the ARPA file in {kenlm_load:.2f} s; largest difference of log10 scores {difference:.1e}")


if __name__ == "__main__":
    main()
