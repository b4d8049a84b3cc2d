"""Small models and second implementations that the n-gram tests share."""

import itertools
import math
import os
import tarfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from asr.decoder.ngram import NGramModel

# A trigram model by hand. "b c" is no context and has no weight: the state after "a b c" must fall back to "c".
# "c a b" is listed while its suffix "a b" is too; "b b" is missing, so "a b b" backs off twice.
TINY_ARPA = """\\data\\
ngram 1=6
ngram 2=4
ngram 3=2

\\1-grams:
-1.5\t<unk>\t-0.1
-99\t<s>\t-0.2
-0.8\t</s>
-0.6\ta\t-0.3
-0.7\tb\t-0.4
-0.9\tc\t-0.5

\\2-grams:
-0.25\t<s> a\t-0.05
-0.35\ta b\t-0.15
-0.45\tb c
-0.55\tc a\t-0.22

\\3-grams:
-0.11\t<s> a b
-0.12\tc a b

\\end\\
"""


def archive_dir() -> Path:
    return Path(os.environ.get("ASR_ARCHIVES", Path(__file__).parents[4] / "shared" / "data"))


def reference_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the reference text and KenLM's models of it."""
    archive = archive_dir() / "lm_reference.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set ASR_ARCHIVES to the folder that holds it")
    folder = tmp_path_factory.mktemp("lm")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / "lm_reference"


def ngrams_of(model: NGramModel) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return every n-gram with its log10 probability and back-off weight."""
    table = {}
    words = np.array(model.words, dtype=object)
    columns: list[np.ndarray] = []
    for level in model.levels():
        columns = [column[level.parents] for column in columns] + [level.words]
        ngrams = zip(*(words[column].tolist() for column in columns), strict=True)
        numbers = zip(level.log10_probs.tolist(), level.log10_backoffs.tolist(), strict=True)
        table.update(zip(ngrams, numbers, strict=True))
    return table


def backed_off(table: dict[tuple[str, ...], tuple[float, float]], history: tuple[str, ...], word: str) -> float:
    """Return natural log P(word | history) by the definition of a back-off model, from its n-grams."""
    order = max(map(len, table))
    history = history[max(0, len(history) - order + 1) :]
    total = 0.0
    while (*history, word) not in table:
        total += table.get(history, (0.0, 0.0))[1]
        history = history[1:]
    return (total + table[(*history, word)][0]) * math.log(10)


def kneser_ney(sentences: list[str], order: int, cutoffs: list[int]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Estimate modified Kneser-Ney the slow way: Chen & Goodman's sums over dictionaries, read off the paper."""
    raw: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        words = ("<s>", *sentence.split(), "</s>")
        for n in range(1, order + 1):
            raw.update(words[i : i + n] for i in range(len(words) - n + 1))
    vocabulary = {gram[0] for gram in raw if len(gram) == 1} | {"<unk>"}
    probs: dict[tuple[str, ...], float] = {}
    backoffs: dict[tuple[str, ...], float] = {}
    for n in range(1, order + 1):
        if n == order:
            counts = {gram: c for gram, c in raw.items() if len(gram) == n}
        else:
            preceding = Counter(gram[1:] for gram in raw if len(gram) == n + 1)
            counts = {gram: raw[gram] if gram[0] == "<s>" else preceding[gram] for gram in raw if len(gram) == n}
        if n == 1:
            counts["<s>",] = counts["<unk>",] = 0
        discounts = _discounts(Counter(counts.values()))
        followers = defaultdict(list)
        for gram in counts:
            followers[gram[:-1]].append(gram)
        for context, grams in followers.items():
            total = sum(counts[gram] for gram in grams)
            taken = {
                gram: discounts[min(counts[gram], 3)] if n == 1 or raw[gram] > cutoffs[n - 1] else counts[gram]
                for gram in grams
            }
            backoffs[context] = sum(taken.values()) / total
            for gram in grams:
                lower = probs[gram[1:]] if n > 1 else 1 / (len(vocabulary) - 1)
                probs[gram] = (counts[gram] - taken[gram]) / total + backoffs[context] * lower
    probs["<s>",] = 1.0
    return {
        gram: (math.log10(prob), math.log10(backoffs.get(gram, 1.0)))
        for gram, prob in probs.items()
        if len(gram) == 1 or raw[gram] > cutoffs[len(gram) - 1]
    }


def _discounts(n: Counter[int]) -> list[float]:
    fallback = [0.0, 0.5, 1.0, 1.5]
    if not (n[1] and n[2] and n[3]):
        return fallback
    y = n[1] / (n[1] + 2 * n[2])
    discounts = [0.0, 1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
    return discounts if min(discounts[1:]) > 0 else fallback


def totals_of(model: NGramModel) -> list[float]:
    """Return the sum of P(word | state) over all words but ``<s>``, for every node below the highest order."""
    words = [i for i, word in enumerate(model.words) if word != "<s>"]
    states = range(len(model.query_arrays[3]))
    return [math.fsum(math.exp(model.advance(state, word)[0]) for word in words) for state in states]


def random_sentences(count: int, seed: int, num_words: int = 300) -> list[str]:
    """Return sentences with words by Zipf's law, each said once to five times: all counts occur, at all orders."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, num_words + 1)
    lengths = rng.integers(1, 9, count)
    stream = iter(rng.choice([f"w{i}" for i in range(num_words)], size=lengths.sum(), p=weights / weights.sum()))
    sentences = [" ".join(itertools.islice(stream, int(length))) for length in lengths]
    repeats = rng.choice([1, 2, 3, 4, 5], size=count, p=[0.7, 0.15, 0.07, 0.05, 0.03])
    return list(itertools.chain.from_iterable(map(itertools.repeat, sentences, repeats.tolist())))
