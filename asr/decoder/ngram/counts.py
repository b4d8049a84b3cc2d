"""Counting the n-grams of a text by sorting packed integers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, count, islice

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.text import BOS, EOS, UNK, check_sentences
from asr.errors import DecodingError

SENTENCES_AT_ONCE = 20_000
UNK_ID, BOS_ID, EOS_ID = 0, 1, 2


@dataclass(frozen=True)
class Corpus:
    """A text as word ids.

    Parameters
    ----------
    words
        The vocabulary by id: ``<unk>``, ``<s>``, ``</s>``, then the text's words as they first occur.
    stream
        int32 (num_tokens,), the sentences one after the other, each from ``<s>`` to ``</s>``.
    num_sentences
        Sentences, that is non-blank lines.
    """

    words: list[str]
    stream: npt.NDArray[np.int32]
    num_sentences: int


@dataclass(frozen=True)
class NGramCounts:
    """The distinct n-grams of one order, sorted by ``(parents, words)``.

    Parameters
    ----------
    parents
        int32 (count,), the row of all words but the last among the n-grams of the order below; 0 for 1-grams.
    words
        int32 (count,), the last word.
    suffixes
        int32 (count,), the row of all words but the first among the n-grams of the order below; 0 for 1-grams.
    counts
        int64 (count,), occurrences in the text.
    starts_sentence
        bool (count,), whether the first word is ``<s>``.
    """

    parents: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    suffixes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    starts_sentence: npt.NDArray[np.bool_]


def read_corpus(sentences: Iterable[str]) -> Corpus:
    """Return a text's words as numbers; sentences are split at white space, blank ones left out.

    Raises
    ------
    DecodingError
        If there is no sentence, a word is ``<s>``, ``</s>`` or ``<unk>``, or one string was given instead of several.
    """
    check_sentences(sentences)
    ids: defaultdict[str, int] = defaultdict(count().__next__)
    for word in (UNK, BOS, EOS):
        ids[word]
    parts: list[npt.NDArray[np.int32]] = []
    num_sentences = 0
    remaining = iter(sentences)
    while lines := list(islice(remaining, SENTENCES_AT_ONCE)):
        split = [words for words in map(str.split, lines) if words]
        num_sentences += len(split)
        lengths = np.array([len(words) for words in split], np.int64)
        spoken = np.fromiter(map(ids.__getitem__, chain.from_iterable(split)), np.int32, lengths.sum())
        if len(spoken) and spoken.min() <= EOS_ID:
            word = (UNK, BOS, EOS)[spoken.min()]
            raise DecodingError(f"the text holds {word}, which the model adds itself: remove it from the text")
        ends = np.cumsum(lengths)
        parts.append(np.insert(spoken, np.stack([ends - lengths, ends], 1).ravel(), [BOS_ID, EOS_ID] * len(split)))
    if not num_sentences:
        raise DecodingError("the text has no words: expected normalised sentences, one a line")
    return Corpus(list(ids), np.concatenate(parts), num_sentences)


def count_ngrams(corpus: Corpus, order: int) -> list[NGramCounts]:
    """Return the distinct n-grams of each order from 1 to `order`; none of them crosses a sentence's bounds.

    Of the n-grams with ``<s>`` only those that start with it are counted, and of those with ``</s>`` those that
    end with it. Time and memory are those of sorting one 64-bit number a token for each order.
    """
    stream = corpus.stream
    num_words = len(corpus.words)
    unigram_counts = np.bincount(stream, minlength=num_words)
    every_word = np.arange(num_words, dtype=np.int32)
    zeros = np.zeros(num_words, np.int32)
    levels = [NGramCounts(zeros, every_word, zeros, unigram_counts, every_word == BOS_ID)]
    # For every token the row of the n-gram that ends there, and whether that n-gram lies within a sentence.
    rows = stream
    is_whole = np.ones(len(stream), np.bool_)
    for _ in range(2, order + 1):
        is_whole[1:] &= is_whole[:-1]
        is_whole[:1] = False
        is_whole &= stream != BOS_ID
        ends = np.flatnonzero(is_whole)
        # Row and word side by side sort as the pair does.
        keys = (rows[ends - 1].astype(np.int64) << 32) | stream[ends]
        ranks = np.argsort(keys)
        keys = keys[ranks]
        is_first = np.ones(len(keys), np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        firsts = np.flatnonzero(is_first)
        parents = (keys[firsts] >> 32).astype(np.int32)
        levels.append(
            NGramCounts(
                parents,
                (keys[firsts] & 0xFFFFFFFF).astype(np.int32),
                rows[ends[ranks[firsts]]],
                np.diff(firsts, append=len(keys)),
                levels[-1].starts_sentence[parents],
            )
        )
        rows = np.full(len(stream), -1, np.int32)
        rows[ends[ranks]] = np.cumsum(is_first, dtype=np.int32) - np.int32(1)
    return levels
