"""A lexicon of 100,000 words and more: getting ready, and decoding, beside flashlight-text's LexiconDecoder.

    python benchmarks/lexicon.py DICTIONARY TEXT LM.arpa [--peer-python PYTHON]
    python benchmarks/lexicon.py LEXICON STORE LM.arpa --model BUNDLE [--alpha 1.0] [--beta 0] [--utterances 60]

With a model of phones the log-probs are its own, of utterances drawn from a store, less 0.3 times its label priors if
it has them (and normalised again); LEXICON may be the bundle's own, and `asr lm convert lm.bin lm.arpa` makes ARPA of a
binary. Without one:

DICTIONARY has a line ``WORD PH ON ES`` a pronunciation (cmudict.dict); TEXT is lower-case prose, LM.arpa a model of its
words. PYTHON has `pip install flashlight-text kenlm numpy`. The log-probs are made of lines of TEXT, an utterance each:
a phone holds one or two frames, blanks lie between, there is noise, and one frame in six says another phone. Each
decoder runs in a process of its own, in turn, on one thread: CPU seconds, the best of three rounds of decoding, at the
same beam and the same distance to the best hypothesis; flashlight has no threshold for tokens. Errors are word
errors of the text.
"""

import argparse
import gzip
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ALPHA, BETA, BEAM_SIZE, UTTERANCES = 1.0, 0.0, 100, 30
# Of log-probs that are made up.
FRAME_SECONDS = 0.04
# token_threshold, beam_threshold
PRUNINGS = {"-5/10": (-5.0, 10.0), "-10/10": (-10.0, 10.0), "-10/14": (-10.0, 14.0)}


def read_dictionary(path):
    """Return word → pronunciations without stress, and the labels: blank, phones, delimiter."""
    words: dict[str, list[tuple[str, ...]]] = {}
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    for line in content.decode().splitlines():
        word, *phones = re.sub(r"\d", "", line.split(" #")[0]).split()
        spellings = words.setdefault(word.replace("()", ""), [])
        if tuple(phones) not in spellings:
            spellings.append(tuple(phones))
    return words, ["<blank>", *sorted({phone for found in words.values() for s in found for phone in s}), "|"]


def make_inputs(words, labels, text):
    """Return log-probs and the texts they are made of."""
    rng = np.random.default_rng(0)
    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if 8 <= len(line.split()) <= 25]
    drawn = (lines[i] for i in rng.permutation(len(lines)))
    chosen = [
        line for line, _ in zip(drawn, range(20 * UTTERANCES), strict=False) if set(line.split()) <= words.keys()
    ][:UTTERANCES]
    arrays = []
    for line in chosen:
        rows = [0]
        for phone in (phone for word in line.split() for phone in (*words[word][0], "|")):
            rows += [labels.index(phone)] * rng.integers(1, 3) + [0] * rng.integers(1, 3)
        values = rng.normal(size=(len(rows), len(labels))) * 1.5
        values[np.arange(len(rows)), rows] += 6
        confused = np.flatnonzero(rng.random(len(rows)) < 1 / 6)
        values[confused, rng.integers(1, len(labels), len(confused))] += 5
        values -= values.max(axis=1, keepdims=True)
        arrays.append((values - np.log(np.exp(values).sum(axis=1, keepdims=True))).astype(np.float32))
    return arrays, chosen


def model_inputs(bundle, store, count):
    """Return the labels of a model, log-probs and texts of some utterances of a store, and the seconds of a frame."""
    from asr.bundle.bundle import Bundle
    from asr.bundle.runtime import make_runtime
    from asr.decoder import log_softmax
    from asr.store.store import open_store

    bundle, store = Bundle.load(bundle), open_store(store)
    runtime, priors = make_runtime(bundle, "cpu", 1), bundle.label_priors()
    chosen = np.sort(np.random.default_rng(0).choice(len(store), min(count, len(store)), replace=False)).tolist()
    arrays = [runtime([bundle.front_end.stored(store, index)])[0] for index in chosen]
    if priors is not None:
        arrays = [log_softmax((array - 0.3 * priors).astype(np.float32)) for array in arrays]
    return list(bundle.tokenizer.tokens), arrays, [store.texts[index] for index in chosen], bundle.frame_seconds


def ours(words, labels, lm, weights):
    from asr.decoder import BeamSearchDecoder, Lexicon, NGramModel

    model = NGramModel.read(lm)
    BeamSearchDecoder(labels, lexicon=Lexicon({"a": [(labels[2],)]}))
    start = time.process_time()
    decoder = BeamSearchDecoder(labels, lm=model, lexicon=Lexicon(words))
    ready = time.process_time() - start
    weights = {**weights, "beam_size": BEAM_SIZE, "empty_score": 0.0, "oov": "forbid", "recombine": True}

    def prepare(token_threshold, beam_threshold):
        search = decoder.with_options(token_threshold=token_threshold, beam_threshold=beam_threshold, **weights)
        return search.decode

    return ready, prepare


def flashlight(words, labels, lm, weights):
    from flashlight.lib.text import decoder as fl
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    model = KenLM(str(lm), Dictionary([*words, "<unk>"]))
    start = time.process_time()
    names, unknown, trie = list(words), len(words), fl.Trie(len(labels), labels.index("|"))
    ids = {label: index for index, label in enumerate(labels)}
    begin = model.start(False)
    # It has no cost for words that the model does not know: they are left out, as ours does by oov="forbid".
    listed = known_words(lm)
    for index, word in enumerate(names):
        if word in listed:
            _, score = model.score(begin, index)
            for phones in words[word]:
                trie.insert([*(ids[phone] for phone in phones), ids["|"]], index, score)
    trie.smear(fl.SmearingMode.MAX)
    ready = time.process_time() - start

    def prepare(_token_threshold, beam_threshold):
        options = fl.LexiconDecoderOptions(
            beam_size=BEAM_SIZE, beam_size_token=len(labels), beam_threshold=beam_threshold,
            lm_weight=weights["alpha"] * math.log(10), word_score=weights["beta"],
            unk_score=-math.inf, sil_score=0, log_add=True,
            criterion_type=fl.CriterionType.CTC,
        )  # fmt: skip
        search = fl.LexiconDecoder(options, trie, model, ids["|"], 0, unknown, [], False)

        def decode(array):
            best = search.decode(array.ctypes.data, *array.shape)[0]
            return " ".join(names[word] for word in best.words if word >= 0)

        return decode

    return ready, prepare


def known_words(arpa):
    words = set()
    with arpa.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("\\2-grams"):
                break
            if line.count("\t"):
                words.add(line.split("\t")[1].strip())
    return words


def measure(arguments):
    """Print what one decoder takes and finds, as JSON."""
    words, _ = read_dictionary(arguments.dictionary)
    with np.load(arguments.inputs) as stored:
        arrays = [stored[name] for name in sorted(stored.files) if name != "labels"]
        labels = stored["labels"].tolist()
    weights = {"alpha": arguments.alpha, "beta": arguments.beta}
    ready, prepare = {"ours": ours, "flashlight": flashlight}[arguments.decoder](words, labels, arguments.lm, weights)
    results = {}
    for name, pruning in PRUNINGS.items():
        decode = prepare(*pruning)
        decode(arrays[0])
        seconds = []
        for _ in range(3):
            start = time.thread_time()
            texts = [decode(array) for array in arrays]
            seconds.append(time.thread_time() - start)
        results[name] = {"seconds": min(seconds), "texts": texts}
    print(json.dumps({"ready": ready, "results": results}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dictionary", "text", "lm"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--model", type=Path, help="a bundle of phones; TEXT is then a store")
    parser.add_argument("--utterances", type=int, default=60, help="of the store, with --model")
    parser.add_argument("--alpha", type=float, default=ALPHA)
    parser.add_argument("--beta", type=float, default=BETA)
    parser.add_argument("--decoder", choices=["ours", "flashlight"], help=argparse.SUPPRESS)
    parser.add_argument("--inputs", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.decoder:
        measure(arguments)
        return
    from asr.wer import word_errors

    words, labels = read_dictionary(arguments.dictionary)
    if arguments.model:
        labels, arrays, texts, frame_seconds = model_inputs(arguments.model, arguments.text, arguments.utterances)
    else:
        (arrays, texts), frame_seconds = make_inputs(words, labels, arguments.text), FRAME_SECONDS
    frames = sum(map(len, arrays))
    print(f"{len(words)} words, {sum(map(len, words.values()))} pronunciations, {len(labels)} labels, {frames} frames")
    pythons = {"ours": sys.executable, "flashlight": arguments.peer_python}
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, labels=labels, **{f"{i:03d}": array for i, array in enumerate(arrays)})
        for name, python in pythons.items():
            if python is None:
                continue
            command = [python, __file__, *map(str, (arguments.dictionary, arguments.text, arguments.lm))]
            command += ["--decoder", name, "--inputs", str(inputs)]
            command += ["--alpha", str(arguments.alpha), "--beta", str(arguments.beta)]
            ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(ran.stdout.splitlines()[-1])
            print(f"{name}: ready after {found['ready']:.2f} s")
            for pruning, result in found["results"].items():
                errors = word_errors(texts, result["texts"])
                print(
                    f"  {pruning:7} {1e6 * result['seconds'] / frames:7.1f} us a frame, "
                    f"{frame_seconds * frames / result['seconds']:.0f} x real time, {errors.errors} errors of "
                    f"{errors.reference_length} words"
                )


if __name__ == "__main__":
    main()
