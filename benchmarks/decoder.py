"""Beam search beside flashlight-text and pyctcdecode: the same log-probs, the same n-gram model, the same pruning.

    ASR_ARCHIVES=DIR python benchmarks/an4_log_probs.py FOLDER
    python benchmarks/decoder.py FOLDER [--peer-python PYTHON] [--lm MODEL.arpa] [--beams 10,100,500]

PYTHON has the peers: `pip install flashlight-text kenlm pyctcdecode 'numpy<2'`; without it only ours runs. Each decoder
runs in a process of its own, in turn, on one thread; times are CPU seconds of that thread, the best of up to three
rounds, so that a busy machine does not decide. Prunings are (token_threshold, beam_threshold) in nats; each decoder
has its own: (-5, 10) pyctcdecode, (-10, 14) this package, and (none, 25) flashlight, which takes no threshold for
tokens and tries all of them everywhere. Ratios are at equal pruning, and of each at its own. What ours alone has,
`empty_score`, is 0.

The score is not what each decoder reports but one objective for all, in nats an utterance: the exact CTC probability of
its labelling, plus alpha x the model's natural log-probability, beta a word and oov_score an unknown one.
"""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ALPHA, BETA, OOV_SCORE = 0.5, 1.5, -4.0
PRUNINGS = {"-5/10": (-5.0, 10.0), "-10/14": (-10.0, 14.0), "none/25": (-math.inf, 25.0)}
OWN_PRUNING = {"ours": "-10/14", "ours, forbid": "-10/14", "pyctcdecode": "-5/10", "flashlight": "none/25"}
LN10 = math.log(10.0)
ROUNDS, ENOUGH_SECONDS = 3, 6.0


def ours(labels, lm):
    from asr.decoder import BeamSearchDecoder

    decoder = BeamSearchDecoder(labels, lm=lm)
    weights = {"alpha": ALPHA, "beta": BETA, "oov_score": OOV_SCORE, "empty_score": 0.0}

    def prepare(beam_size, pruning, oov="penalise", threads=1):
        token_threshold, beam_threshold = PRUNINGS[pruning]
        options = {"token_threshold": token_threshold, "beam_threshold": beam_threshold, "oov": oov, "top_k": 0}
        search = decoder.with_options(beam_size=beam_size, **options, **weights)
        return lambda arrays: [best[0].tokens for best in search.decode_batch(arrays, threads)]

    return prepare


def ours_forbidding(labels, lm):
    """Say no unknown words, as flashlight's lexicon decoder does."""
    prepare = ours(labels, lm)
    return lambda beam_size, pruning: prepare(beam_size, pruning, "forbid")


def flashlight(labels, lm):
    from flashlight.lib.text import decoder as fl

    space = labels.index(" ")
    if lm:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        words = [word for word in words_of(lm) if set(word) <= set(labels)]
        model = KenLM(str(lm), Dictionary([*words, "<unk>"]))
        trie = fl.Trie(len(labels), space)
        start = model.start(False)
        for index, word in enumerate(words):
            _, score = model.score(start, index)
            trie.insert([*(labels.index(letter) for letter in word), space], index, score)
        trie.smear(fl.SmearingMode.MAX)
        # It drops a last word that no delimiter ends: one more frame gives it one.
        end = np.full((1, len(labels)), -30.0, np.float32)
        end[0, space] = 0.0

    def prepare(beam_size, pruning):
        common = {"beam_size": beam_size, "beam_size_token": len(labels), "beam_threshold": PRUNINGS[pruning][1]}
        common |= {"sil_score": 0, "log_add": True, "criterion_type": fl.CriterionType.CTC}
        if lm:
            # Its scores are log10.
            options = fl.LexiconDecoderOptions(lm_weight=ALPHA * LN10, word_score=BETA, unk_score=-np.inf, **common)
            search = fl.LexiconDecoder(options, trie, model, space, 0, len(words), [], False)
        else:
            options = fl.LexiconFreeDecoderOptions(lm_weight=0, **common)
            search = fl.LexiconFreeDecoder(options, fl.ZeroLM(), space, 0, [])

        def decode(arrays):
            if lm:
                arrays = [np.concatenate([array, end]) for array in arrays]
            results = [search.decode(array.ctypes.data, *array.shape)[0].tokens for array in arrays]
            # The first and the last are not the utterance's.
            return [collapse(tokens[1:-1]) for tokens in results]

        return decode

    return prepare


def collapse(path):
    return [token for i, token in enumerate(path) if token > 0 and (i == 0 or token != path[i - 1])]


def words_of(arpa):
    words = []
    with Path(arpa).open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("\\2-grams"):
                break
            if line.count("\t"):
                words.append(line.split("\t")[1].strip())
    return [word for word in words if not word.startswith("<")]


def pyctcdecode(labels, lm):
    from pyctcdecode import build_ctcdecoder

    model = {"kenlm_model_path": str(lm), "unigrams": words_of(lm)} if lm else {}
    # Its offset is a log10 and weighted by alpha.
    weights = {"alpha": ALPHA, "beta": BETA, "unk_score_offset": OOV_SCORE / ALPHA / LN10}
    decoder = build_ctcdecoder(["", *labels[1:]], **model, **weights)

    def prepare(beam_size, pruning):
        token_threshold, beam_threshold = PRUNINGS[pruning]
        options = {"token_min_logp": max(token_threshold, -1e9), "beam_prune_logp": -beam_threshold}

        def decode(arrays):
            texts = [decoder.decode(array, beam_width=beam_size, **options) for array in arrays]
            return [[labels.index(character) for character in text] for text in texts]

        return decode

    return prepare


DECODERS = {"ours": ours, "ours, forbid": ours_forbidding, "pyctcdecode": pyctcdecode, "flashlight": flashlight}
PEERS = {"pyctcdecode": "ours", "flashlight": "ours, forbid"}


def measure(name, folder, lm, beam_size, skip):
    """Return for each pruning the CPU seconds and the labellings."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    arrays = read_arrays(folder)
    prepare = DECODERS[name](labels, lm)
    results = {}
    for pruning in PRUNINGS:
        if pruning in skip:
            continue
        decode = prepare(beam_size, pruning)
        decode(arrays[:1])
        seconds: list[float] = []
        while len(seconds) < ROUNDS and sum(seconds) < ENOUGH_SECONDS:
            start = time.thread_time()
            tokens = decode(arrays)
            seconds.append(time.thread_time() - start)
        results[pruning] = {"seconds": min(seconds), "tokens": [list(map(int, row)) for row in tokens]}
    return results


def read_arrays(folder):
    with np.load(folder / "log_probs.npz") as arrays:
        return [np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays.files)]


def ctc_log_prob(log_probs, tokens):
    """Return the exact log-probability of a labelling (Graves et al. 2006, eq. 6)."""
    states = np.zeros(2 * len(tokens) + 1, int)
    states[1::2] = tokens
    can_skip = np.zeros(len(states), bool)
    can_skip[3::2] = states[3::2] != states[1:-2:2]
    totals = np.full(len(states), -np.inf)
    totals[:2] = log_probs[0, states[:2]]
    for frame in log_probs[1:].astype(np.float64):
        before = np.concatenate([[-np.inf, -np.inf], totals])
        totals = np.logaddexp(before[2:], before[1:-1])
        totals = np.logaddexp(totals, np.where(can_skip, before[:-2], -np.inf)) + frame[states]
    return float(np.logaddexp.reduce(totals[-2:]))


class Judge:
    """Word errors and the objective of labellings."""

    def __init__(self, folder, lm):
        from asr.decoder import NGramModel

        self.labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.references = (folder / "texts.txt").read_text(encoding="utf-8").splitlines()
        self.arrays = read_arrays(folder)
        self.model = NGramModel.read(lm) if lm else None

    def __call__(self, tokens):
        """Return the word errors of all labellings, and the mean objective."""
        from asr.wer import word_errors

        texts = [" ".join("".join(self.labels[token] for token in row).split()) for row in tokens]
        scores = map(self.objective, self.arrays, tokens, texts)
        return word_errors(self.references, texts).errors, sum(scores) / len(texts)

    def objective(self, log_probs, row, text):
        """Return what a labelling is worth in nats."""
        space = self.labels.index(" ")
        while row and row[-1] == space:
            row = row[:-1]
        total = max(ctc_log_prob(log_probs, row), ctc_log_prob(log_probs, [*row, space]))
        if self.model is not None:
            words = text.split()
            unknown = sum(word not in self.model for word in words)
            total += ALPHA * self.model.score(words) + BETA * len(words) + OOV_SCORE * unknown
        return total


def run(name, python, arguments, lm, beam_size):
    """Run this script's part of one decoder in a process of its own; None if that does not work."""
    command = [str(python), __file__, str(arguments.folder), "--decoder", name, "--beams", str(beam_size)]
    command += ["--lm", str(lm)] if lm else []
    # Without pruning pyctcdecode takes minutes.
    command += ["--skip", "none/25"] if name == "pyctcdecode" else []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        print(f"{name}: left out, for it failed: {ran.stderr.strip().splitlines()[-1:]}")
        return {}
    return json.loads(ran.stdout.splitlines()[-1])


def compare(arguments, lm):
    judge = Judge(arguments.folder, lm)
    frames = sum(map(len, judge.arrays))
    for beam_size in map(int, arguments.beams.split(",")):
        found = {}
        for name in DECODERS:
            if name in PEERS and not arguments.peer_python:
                continue
            found[name] = run(
                name, arguments.peer_python if name in PEERS else sys.executable, arguments, lm, beam_size
            )
        for name, results in found.items():
            for pruning, result in results.items():
                errors, score = judge(result["tokens"])
                line = (
                    f"  beam {beam_size:3}, {pruning:7}  {name:12} {1e6 * result['seconds'] / frames:9.1f} us a frame"
                )
                line += f", {errors:3} errors, score {score:8.3f}"
                if name in PEERS:
                    mine = found[PEERS[name]]
                    line += f", {result['seconds'] / mine[pruning]['seconds']:.1f} x the time of {PEERS[name]}"
                    if pruning == OWN_PRUNING[name]:
                        own = mine[OWN_PRUNING[PEERS[name]]]
                        line += f", {result['seconds'] / own['seconds']:.1f} x with each at its own pruning"
                print(line, flush=True)


def time_threads(arguments, lm):
    """Time batches on one thread and on two, beside hashing on as many: what the machine has to give just now."""
    arrays = read_arrays(arguments.folder) * 4
    labels = json.loads((arguments.folder / "labels.json").read_text(encoding="utf-8"))
    data = bytes(60_000_000)
    works: dict[str, Any] = {"hashing": lambda threads: on_threads(lambda: hashlib.sha256(data), threads)}
    for name, model in (("no model", None), ("model", lm)):
        prepare = ours(labels, model)
        decoders = {threads: prepare(100, "-10/14", threads=threads) for threads in (1, 2)}
        works[name] = lambda threads, decoders=decoders: decoders[threads](arrays)
    seconds: dict[tuple[str, int], float] = {}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for threads in (1, 2):
                start = time.perf_counter()
                work(threads)
                taken = time.perf_counter() - start
                seconds[name, threads] = min(seconds.get((name, threads), np.inf), taken)
    for name in works:
        one, two = seconds[name, 1], seconds[name, 2]
        print(f"  {name}: {one:.3f} s on one thread, {two:.3f} s on two, {one / two:.2f} x as fast")


def on_threads(work, threads):
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()


def time_start():
    """Time the first use of a fresh cache and of a filled one, each in a process of its own."""
    code = (
        "import time; start = time.perf_counter(); import numpy as np; began = time.perf_counter();"
        "from asr.decoder import BeamSearchDecoder;"
        "BeamSearchDecoder(['_', ' ', 'a'])(np.log(np.full((9, 3), 1 / 3)));"
        "print(time.perf_counter() - began, time.process_time())"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder, "PYTHONPATH": str(Path(__file__).parent.parent)}
        for name in ("fresh cache", "filled cache", "filled cache"):
            ran = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            wall, cpu = map(float, ran.stdout.split())
            print(f"  {name}: {wall:.2f} s ({cpu:.2f} s of CPU in the whole process)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="written by an4_log_probs.py")
    parser.add_argument("--lm", type=Path, help="an ARPA model of words, in place of the folder's lm.arpa")
    parser.add_argument("--beams", default="10,100,500")
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--decoder", choices=list(DECODERS), help=argparse.SUPPRESS)
    parser.add_argument("--skip", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decoder:
        beam_size = int(arguments.beams)
        print(json.dumps(measure(arguments.decoder, arguments.folder, arguments.lm, beam_size, arguments.skip)))
        return
    lm = arguments.lm or arguments.folder / "lm.arpa"
    print("without a language model")
    compare(arguments, None)
    print(f"with {lm.name}")
    compare(arguments, lm)
    print("threads")
    time_threads(arguments, lm)
    print("first use")
    time_start()


if __name__ == "__main__":
    main()
