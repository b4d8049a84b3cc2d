"""Beam search beside flashlight-text and pyctcdecode: the same log-probs, the same n-gram model, one run.

    python benchmarks/decoder.py --text TEXT --lm MODEL.arpa [--log-probs FILE.npz]
        [--flashlight-python PATH] [--pyctcdecode-python PATH]

Each peer runs under a Python of its own: `pip install flashlight-text kenlm`, and `pip install pyctcdecode kenlm
'numpy<2'`; one that is not given or does not work is left out. Log-probs are made from lines of TEXT, peaky as a
trained model's (with a sixth of the frames confused) and flat; `--log-probs` takes real ones, arrays (T, 29) with the
labels blank, space, a to z, apostrophe. Times are CPU seconds of one thread, the best of several rounds, so that a
busy machine does not decide. Scores are not what each decoder reports but one objective for all: the exact CTC
probability of its labelling, plus 0.5 x the model's natural log-probability and 1.5 a word where there is a model.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

LABELS = ["<blank>", " ", *"abcdefghijklmnopqrstuvwxyz", "'"]
ALPHA, BETA, OOV_SCORE, BEAM_SIZE = 0.5, 1.5, -10.0, 100
LN10 = float(np.log(10.0))
ROUNDS = 5


def log_softmax(values):
    values = values - values.max(axis=1, keepdims=True)
    return (values - np.log(np.exp(values).sum(axis=1, keepdims=True))).astype(np.float32)


def spoken(text, height, rng):
    """Log-probs of a text: each letter one or two frames, blanks between, noise, and one frame in six confused."""
    rows = [0]
    for character in text:
        rows += [LABELS.index(character)] * rng.integers(1, 3) + [0] * rng.integers(1, 4)
    values = rng.normal(size=(len(rows), len(LABELS))) * (1.5 if height > 5 else 1.0)
    values[np.arange(len(rows)), rows] += height
    confused = np.flatnonzero(rng.random(len(rows)) < 1 / 6)
    values[confused, rng.integers(1, len(LABELS), len(confused))] += height - 1
    return log_softmax(values)


def make_inputs(arguments):
    if arguments.log_probs:
        with np.load(arguments.log_probs) as arrays:
            return {"given": [arrays[name] for name in arrays]}
    lines = arguments.text.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if 60 <= len(line) <= 130 and set(line) <= set(LABELS[1:])][: arguments.utterances]
    rng = np.random.default_rng(0)
    return {name: [spoken(line, height, rng) for line in lines] for name, height in (("peaky", 7.5), ("flat", 3.0))}


def ours(lm, oov, threads=1):
    from asr.decoder import BeamOptions, BeamSearchDecoder, NGramModel

    options = BeamOptions(beam_size=BEAM_SIZE, alpha=ALPHA, beta=BETA, oov=oov, oov_score=OOV_SCORE)
    decoder = BeamSearchDecoder(LABELS, options=options, lm=NGramModel.read(lm) if lm else None)
    return lambda arrays: [hypotheses[0].tokens for hypotheses in decoder.decode_batch(arrays, threads)]


def flashlight(lm):
    from flashlight.lib.text import decoder as fl

    common = {"beam_size": BEAM_SIZE, "beam_size_token": len(LABELS), "beam_threshold": 25, "sil_score": 0}
    common |= {"log_add": True, "criterion_type": fl.CriterionType.CTC}
    if not lm:
        options = fl.LexiconFreeDecoderOptions(lm_weight=0, **common)
        search = fl.LexiconFreeDecoder(options, fl.ZeroLM(), 1, 0, [])
    else:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        words = [word for word in words_of(lm) if set(word) <= set(LABELS[2:])]
        dictionary = Dictionary([*words, "<unk>"])
        model = KenLM(str(lm), dictionary)
        trie = fl.Trie(len(LABELS), 1)
        start = model.start(False)
        for index, word in enumerate(words):
            _, score = model.score(start, index)
            trie.insert([*(LABELS.index(letter) for letter in word), 1], index, score)
        trie.smear(fl.SmearingMode.MAX)
        # Its scores are log10.
        options = fl.LexiconDecoderOptions(lm_weight=ALPHA * LN10, word_score=BETA, unk_score=-np.inf, **common)
        search = fl.LexiconDecoder(options, trie, model, 1, 0, len(words), [], False)

    def decode(arrays):
        results = [search.decode(array.ctypes.data, *array.shape)[0].tokens for array in arrays]
        # The first and the last are not the utterance's.
        return [collapse(tokens[1:-1]) for tokens in results]

    return decode


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


def pyctcdecode(lm):
    from pyctcdecode import build_ctcdecoder

    options = {"alpha": ALPHA, "beta": BETA, "unk_score_offset": OOV_SCORE}
    model = {"kenlm_model_path": str(lm), "unigrams": words_of(lm)} if lm else {}
    decoder = build_ctcdecoder(["", *LABELS[1:]], **model, **options)

    def decode(arrays):
        texts = [decoder.decode(array, beam_width=BEAM_SIZE) for array in arrays]
        return [[LABELS.index(character) for character in text] for text in texts]

    return decode


def measure(make, arrays_by_name, lm):
    """Return for each set of inputs the CPU seconds and the labellings."""
    decode = make(lm)
    results = {}
    for name, arrays in arrays_by_name.items():
        tokens = decode(arrays)
        seconds = []
        for _ in range(ROUNDS):
            start = time.thread_time()
            decode(arrays)
            seconds.append(time.thread_time() - start)
        results[name] = {"seconds": min(seconds), "tokens": [list(map(int, row)) for row in tokens]}
    return results


def ctc_log_prob(log_probs, tokens):
    """Return the exact log-probability of a labelling (Graves et al. 2006, eq. 6)."""
    states = [0]
    for token in tokens:
        states += [token, 0]
    states = np.array(states)
    can_skip = np.zeros(len(states), bool)
    can_skip[3::2] = states[3::2] != states[1:-2:2]
    totals = np.full(len(states), -np.inf)
    totals[:2] = log_probs[0, states[:2]]
    for frame in log_probs[1:].astype(np.float64):
        before = np.concatenate([[-np.inf, -np.inf], totals])
        totals = np.logaddexp(before[2:], before[1:-1])
        totals = np.logaddexp(totals, np.where(can_skip, before[:-2], -np.inf)) + frame[states]
    return float(np.logaddexp.reduce(totals[-2:]))


def objective(arrays, tokens, model):
    total = 0.0
    for log_probs, row in zip(arrays, tokens, strict=True):
        words = "".join(LABELS[token] for token in row).split()
        while row and row[-1] == 1:
            row = row[:-1]
        total += max(ctc_log_prob(log_probs, row), ctc_log_prob(log_probs, [*row, 1]))
        if model is not None:
            unknown = sum(word not in model for word in words)
            total += ALPHA * model.score(words) + BETA * len(words) + OOV_SCORE * unknown
    return total / len(arrays)


def run_peer(name, python, inputs, lm):
    """Run this script's peer part under another Python; None if that does not work."""
    if python is None:
        print(f"{name}: left out, for no Python is given that has it")
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inputs.npz"
        np.savez(path, **{f"{kind}-{i}": array for kind, arrays in inputs.items() for i, array in enumerate(arrays)})
        command = [str(python), __file__, "--peer", name, "--log-probs", str(path), *(["--lm", str(lm)] if lm else [])]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode:
        print(f"{name}: left out, for it failed: {ran.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(ran.stdout.splitlines()[-1])


def peer_main(arguments):
    inputs = {}
    with np.load(arguments.log_probs) as arrays:
        for name in arrays:
            inputs.setdefault(name.split("-")[0], []).append(np.ascontiguousarray(arrays[name]))
    make = {"flashlight": flashlight, "pyctcdecode": pyctcdecode}[arguments.peer]
    print(json.dumps(measure(make, inputs, arguments.lm)))


def compare(inputs, lm, pythons):
    from asr.decoder import NGramModel

    model = NGramModel.read(lm) if lm else None
    # flashlight's lexicon decoder says no unknown words.
    rivals = (("flashlight", "forbid"), ("pyctcdecode", "penalise"))
    for name, oov in rivals:
        theirs = run_peer(name, pythons[name], inputs, lm)
        mine = measure(lambda lm, oov=oov: ours(lm, oov), inputs, lm)
        for kind, arrays in inputs.items():
            frames = sum(map(len, arrays))
            line = f"  {kind:6} ours {1e6 * mine[kind]['seconds'] / frames:7.1f} us a frame, "
            line += f"score {objective(arrays, mine[kind]['tokens'], model):9.3f}"
            if theirs:
                line += f" | {name} {1e6 * theirs[kind]['seconds'] / frames:8.1f} us, score "
                line += f"{objective(arrays, theirs[kind]['tokens'], model):9.3f}"
                line += f" | {theirs[kind]['seconds'] / mine[kind]['seconds']:.1f} x as fast"
            print(line, flush=True)


def time_threads(inputs, lm):
    """Time batches on one thread and on two, beside hashing on as many: what the machine has to give just now."""
    arrays = [array for arrays in inputs.values() for array in arrays] * 4
    data = bytes(60_000_000)
    works = {"hashing": lambda threads: on_threads(lambda: hashlib.sha256(data), threads)}
    for name, model in (("no model", None), ("model", lm)):
        decoders = {threads: ours(model, "penalise", threads) for threads in (1, 2)}
        works[name] = lambda threads, decoders=decoders: decoders[threads](arrays)
    seconds = {}
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
    parser.add_argument("--text", type=Path, help="lines of lower-case text to make log-probs of")
    parser.add_argument("--log-probs", type=Path, help="a .npz of real log-probs instead")
    parser.add_argument("--lm", type=Path, help="an ARPA model of words")
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--flashlight-python", type=Path)
    parser.add_argument("--pyctcdecode-python", type=Path)
    parser.add_argument("--peer", choices=["flashlight", "pyctcdecode"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        peer_main(arguments)
        return
    if not arguments.text and not arguments.log_probs:
        parser.error("give --text or --log-probs")
    inputs = make_inputs(arguments)
    print({kind: f"{len(arrays)} utterances, {sum(map(len, arrays))} frames" for kind, arrays in inputs.items()})
    pythons = {"flashlight": arguments.flashlight_python, "pyctcdecode": arguments.pyctcdecode_python}
    print("without a language model")
    compare(inputs, None, pythons)
    if arguments.lm:
        print(f"with {arguments.lm.name}")
        compare(inputs, arguments.lm, pythons)
    print("threads")
    time_threads(inputs, arguments.lm)
    print("first use")
    time_start()


if __name__ == "__main__":
    main()
