"""Words and phones that our G2P, g2p_en's network and espeak-ng get wrong, on words of CMUdict held out.

    python benchmarks/g2p.py cmudict.dict     # from https://github.com/cmusphinx/cmudict; pip install g2p_en
                                              # apt-get install espeak-ng

Ours is trained on 95 % of the words, without stress, and judged on 5 %; a word is right if it is one of those listed,
and phone errors are counted against the nearest one listed. g2p_en's network (Park & Kim, a GRU encoder and decoder of
256 units) has been trained on CMUdict, and so has seen these very words: its figures flatter it. Its ``predict`` alone
is called, without the dictionary that it asks first; its imports of NLTK, which downloads data, are replaced by empty
modules.

espeak-ng (voice en-us) has a dictionary and rules of its own, in other phones than CMUdict's. It and ours are compared
once more by classes of phones: AA with AO, and the reduced vowels AH with IH, which dictionaries write differently.
Some of its differences remain matters of taste, so its figures are an upper bound of its errors.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from asr.lexicon import G2P, PronouncingDictionary, read_lexicon
from asr.lexicon.sources import fit_words
from asr.text import ENGLISH

SEED = 0
Phones = Sequence[str]
# What dictionaries of American English do not agree on.
FOLDED = {"AO": "AA", "IH": "AH"}
# The phones of espeak-ng's voice en-us, as it writes them in IPA.
SYMBOLS = """
    dʒ=JH tʃ=CH eɪ=EY aɪ=AY ɔɪ=OY aʊ=AW oʊ=OW ɜː=ER ɚ=ER iː=IY i=IY uː=UW u=UW ʊ=UH ɪ=IH ᵻ=IH ə=AH ʌ=AH ɐ=AH
    ɑː=AA ɑ=AA ɔː=AO ɔ=AO oː=AO o=OW e=EY a=AA æ=AE ɛ=EH p=P b=B t=T ɾ=T ʔ=T d=D k=K x=K ɡ=G f=F v=V θ=TH ð=DH
    s=S z=Z ʃ=SH ʒ=ZH h=HH m=M n=N ŋ=NG l=L ɬ=L ɹ=R r=R j=Y w=W
"""
IPA = dict(pair.split("=") for pair in SYMBOLS.split())


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
    if shutil.which("espeak-ng"):
        judge("ours, by classes", lambda word: model.pronounce(word)[0].phones, held_out, lexicon, FOLDED)
        spoken = espeak(held_out)
        judge("espeak-ng, by classes", spoken.__getitem__, held_out, lexicon, FOLDED)
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


def espeak(words: list[str]) -> dict[str, Phones]:
    """Return the phones of espeak-ng's American English; its time is not measured."""
    spoken = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-q", "--ipa"], input="\n".join(words), text=True, capture_output=True, check=True
    ).stdout.splitlines()
    symbols = re.compile("|".join(sorted(IPA, key=len, reverse=True)))
    return {
        word: [IPA[s] for s in symbols.findall(re.sub("[ˈˌ]", "", ipa))]
        for word, ipa in zip(words, spoken, strict=True)
    }


def judge(
    name: str,
    pronounce: Callable[[str], Phones],
    words: list[str],
    lexicon: PronouncingDictionary,
    classes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    wrong = errors = total = 0
    started = time.perf_counter()
    said = [pronounce(word) for word in words]
    seconds = time.perf_counter() - started
    for word, guess in zip(words, said, strict=True):
        guess = [classes.get(phone, phone) for phone in guess]
        known = [[classes.get(phone, phone) for phone in entry.phones] for entry in lexicon[word]]
        distance, length = min((edits(guess, phones), len(phones)) for phones in known)
        wrong, errors, total = wrong + (distance > 0), errors + distance, total + length
    print(
        f"{name:21} {len(words):,} words: {100 * wrong / len(words):.2f} % of words wrong, "
        f"{100 * errors / total:.2f} % of phones, {len(words) / seconds:,.0f} words/s"
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
