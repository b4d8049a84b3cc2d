"""Words and phones wrong of our grapheme-to-phoneme model and of g2p_en's network, on words of CMUdict held out.

    python benchmarks/g2p.py cmudict.dict          # from https://github.com/cmusphinx/cmudict; needs pip install g2p_en

Ours is trained on 95 % of the words, without stress, and judged on 5 %; a word is right if it is one of those listed,
and phone errors are counted against the nearest one listed. g2p_en's network (Park & Kim, a GRU encoder and decoder of
256 units) has been trained on CMUdict, and so has seen these very words: its figures flatter it. Its ``predict`` alone
is called, without the dictionary that it asks first; its imports of NLTK, which downloads data, are replaced by empty
modules.
"""

import argparse
import random
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from asr.lexicon import G2P, PronouncingDictionary, read_lexicon
from asr.lexicon.sources import fit_words
from asr.text import ENGLISH

SEED = 0
Phones = Sequence[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cmudict", type=Path)
    parser.add_argument("--peer-words", type=int, default=1000, help="words for g2p_en, which is slow")
    options = parser.parse_args()
    lexicon = fit_words(read_lexicon(options.cmudict), ENGLISH)[0].without_stress()
    words = list(lexicon)
    random.Random(SEED).shuffle(words)
    held_out = words[: len(words) // 20]
    started = time.perf_counter()
    model = G2P.train(lexicon.only(words[len(held_out) :]))
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g2p.npz"
        model.write(path)
        megabytes, model = path.stat().st_size / 1e6, G2P.read(path)
    print(f"trained on {len(words) - len(held_out):,} words in {seconds:.1f} s; {megabytes:.1f} MB")
    model.pronounce("compiled")
    judge("ours", lambda word: model.pronounce(word)[0].phones, held_out, lexicon)
    judge("ours", lambda word: model.pronounce(word)[0].phones, held_out[: options.peer_words], lexicon)
    try:
        predict = peer()
    except ImportError as error:
        print(f"g2p_en: {error}")
        return
    judge("g2p_en", lambda word: [p.rstrip("012") for p in predict(word)], held_out[: options.peer_words], lexicon)


def peer() -> Callable[[str], Phones]:
    """Return the ``predict`` of g2p_en's class, the libraries that it does not need replaced by nothing."""
    stubs: dict[str, dict[str, Any]] = {
        "nltk": {"pos_tag": None, "data": types.SimpleNamespace(find=lambda path: path)},
        "nltk.corpus": {"cmudict": types.SimpleNamespace(dict=dict)},
        "nltk.tokenize": {"TweetTokenizer": lambda: types.SimpleNamespace(tokenize=None)},
        "inflect": {"engine": lambda: None},
    }
    for name, contents in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(contents)
    from g2p_en.g2p import G2p

    predict: Callable[[str], Phones] = G2p().predict
    return predict


def judge(name: str, pronounce: Callable[[str], Phones], words: list[str], lexicon: PronouncingDictionary) -> None:
    wrong = errors = phones = 0
    started = time.perf_counter()
    said = [pronounce(word) for word in words]
    seconds = time.perf_counter() - started
    for word, guess in zip(words, said, strict=True):
        distance, length = min((edits(guess, known.phones), len(known.phones)) for known in lexicon[word])
        wrong, errors, phones = wrong + (distance > 0), errors + distance, phones + length
    print(
        f"{name:8} {len(words):,} words: {100 * wrong / len(words):.2f} % of words wrong, "
        f"{100 * errors / phones:.2f} % of phones, {len(words) / seconds:,.0f} words/s"
    )


def edits(a: Phones, b: Phones) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (x != y))
    return row[-1]


if __name__ == "__main__":
    main()
