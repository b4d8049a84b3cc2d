"""A KenLM probing binary beside our own binary of the same model: ready in, words a second; and beside kenlm itself.

    python benchmarks/kenlm_binary.py LM.arpa LM.probing.bin TEXT

LM.probing.bin is KenLM's `build_binary probing LM.arpa LM.probing.bin`; TEXT has one normalised sentence per line. With
the `kenlm` package installed, its scores of the same sentences are held against ours. Prints the medians of one run,
turn by turn.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from asr.decoder.ngram import NGramModel
from asr.decoder.ngram.query import LN10, score_stream

TURNS = 5


def timed(work):
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("arpa", "probing", "text"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    sentences = [line for line in arguments.text.read_text(encoding="utf-8").splitlines() if line.strip()]
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.bin"
        NGramModel.read(arguments.arpa).write(own)
        paths = {"own binary": own, "KenLM probing": arguments.probing}
        print(", ".join(f"{name} {path.stat().st_size / 1e6:.1f} MB" for name, path in paths.items()))
        models = {name: NGramModel.read(path) for name, path in paths.items()}
        ready = {
            name: [timed(lambda path=path: NGramModel.read(path))[1] for _ in range(TURNS)]
            for name, path in paths.items()
        }
        for name, model in models.items():
            print(f"{name}: ready in {statistics.median(ready[name]) * 1000:.1f} ms, {model}")
        rates = compare_speed(models, sentences)
    print(f"KenLM probing / own binary: {rates['KenLM probing'] / rates['own binary']:.2f} of its words a second")
    beside_kenlm(models["KenLM probing"], arguments.probing, sentences)


def compare_speed(models, sentences):
    """Score all words of the text, in a compiled loop."""
    times: dict[str, list[float]] = {name: [] for name in models}
    totals = {}
    for _ in range(TURNS):
        for name, model in models.items():
            ids = np.array(
                [i for sentence in sentences for i in (*map(model.word_id, sentence.split()), model.end_id)], np.int32
            )
            result = np.empty(len(ids))
            start = model.start_state
            _, seconds = timed(
                lambda model=model, ids=ids, start=start, result=result: score_stream(
                    model.query_arrays, ids, start, start, model.end_id, result
                )
            )
            times[name].append(seconds / len(ids))
            totals[name] = result
    one, other = totals.values()
    print(f"{len(one):,} words and sentence ends; largest difference of log10 P {np.abs(one - other).max() / LN10:.1e}")
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds) * 1e6:.3f} us a word")
    return {name: 1 / statistics.median(seconds) for name, seconds in times.items()}


def beside_kenlm(model, path, sentences):
    try:
        import kenlm
    except ImportError:
        print("kenlm is not installed")
        return
    peer, seconds = timed(lambda: kenlm.Model(str(path)))
    ours, our_seconds = timed(lambda: [model.score(sentence) / LN10 for sentence in sentences])
    theirs, peer_seconds = timed(
        lambda: [sum(log10 for log10, _, _ in peer.full_scores(sentence)) for sentence in sentences]
    )
    difference = np.abs(np.array(ours) - np.array(theirs)).max()
    print(f"kenlm: ready in {seconds * 1000:.1f} ms; largest difference of a sentence's log10 P {difference:.1e}")
    print(f"sentences from Python: ours {our_seconds:.2f} s, kenlm {peer_seconds:.2f} s")


if __name__ == "__main__":
    main()
