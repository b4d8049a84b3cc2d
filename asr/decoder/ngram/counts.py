"""Counting the n-grams of a text by sorting packed integers, a part of the contexts at a time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.decoder.ngram.text import BOS, EOS, UNK, check_sentences
from asr.errors import DecodingError

SENTENCES_AT_ONCE = 20_000
# Sorted in one go: some 200 MB.
TOKENS_AT_ONCE = 1 << 23
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


@dataclass
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
        int32 (count,), occurrences in the text.
    starts_sentence
        bool (count,), whether the first word is ``<s>``.
    preceding
        int32 (count,), how many words precede it in the text; empty for the highest order.
    left_out
        int64 (rows of the order below,), the occurrences by context of n-grams that are not listed here, as they are
        too few; empty if all are listed.
    left_out_histogram
        int64 (6,), how many n-grams that are not listed occur 0, 1, … 4, and 5 or more times.
    """

    parents: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    suffixes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    starts_sentence: npt.NDArray[np.bool_]
    preceding: npt.NDArray[np.int32]
    left_out: npt.NDArray[np.int64]
    left_out_histogram: npt.NDArray[np.int64]


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
        raise DecodingError("the text has no words: expected normalised sentences, one per line")
    return Corpus(list(ids), np.concatenate(parts), num_sentences)


def count_ngrams(corpus: Corpus, order: int, cutoff: int = 0) -> list[NGramCounts]:
    """Return the distinct n-grams of each order from 1 to `order`; none of them crosses a sentence's bounds.

    Of the n-grams with ``<s>`` only those that start with it are counted, and of those with ``</s>`` those that
    end with it. Beside what is returned, this takes 9 bytes per token of the text, and what one sort needs.

    Parameters
    ----------
    corpus
        The text; its stream is not needed afterwards.
    order
        The highest order.
    cutoff
        N-grams of the highest order, above 1, that occur at most so often are counted, but not listed.
    """
    stream = corpus.stream
    num_words = len(corpus.words)
    every_word = np.arange(num_words, dtype=np.int32)
    none = np.empty(0, np.int64)
    levels = [
        NGramCounts(
            parents=np.zeros(num_words, np.int32),
            words=every_word,
            suffixes=np.zeros(num_words, np.int32),
            counts=np.bincount(stream, minlength=num_words).astype(np.int32),
            starts_sentence=every_word == BOS_ID,
            preceding=none.astype(np.int32),
            left_out=none,
            left_out_histogram=np.zeros(6, np.int64),
        )
    ]
    # For every token the row of the n-gram that ends there, and -1 if that n-gram crosses a sentence's bounds.
    rows = stream
    for n in range(2, order + 1):
        is_highest = n == order
        rows = _count_order(stream, rows, levels, cutoff if is_highest else 0, is_highest)
    return levels


def _count_order(
    stream: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    levels: list[NGramCounts],
    cutoff: int,
    is_highest: bool,
) -> npt.NDArray[np.int32]:
    """Append the n-grams of the next order, and return the row of the n-gram that ends at each token."""
    below = levels[-1]
    num_contexts = len(below.words)
    below.preceding = np.zeros(num_contexts, np.int32)
    left_out = np.zeros(num_contexts if cutoff else 0, np.int64)
    histogram = np.zeros(6, np.int64)
    next_rows = np.empty(0, np.int32) if is_highest else np.full(len(stream), -1, np.int32)
    parts: list[tuple[npt.NDArray[np.int32], ...]] = []
    done = 0
    for begin, end, most in _spans(below.counts):
        keys, ends = np.empty(most, np.int64), np.empty(most, np.int32)
        size = collect_keys(stream, rows, begin, end, keys, ends)
        ranks = np.argsort(keys[:size])
        keys, ends = keys[ranks], ends[ranks]
        is_first = np.ones(size, np.bool_)
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        firsts = np.flatnonzero(is_first)
        counts = np.diff(firsts, append=size).astype(np.int32)
        suffixes = rows[ends[firsts]]
        add_one(below.preceding, suffixes)
        if not is_highest:
            next_rows[ends] = np.cumsum(is_first, dtype=np.int32) + np.int32(done - 1)
            done += len(firsts)
        keys = keys[firsts]
        kept = counts > cutoff
        if not kept.all():
            dropped = counts[~kept]
            np.add.at(left_out, (keys[~kept] >> 32), dropped)
            histogram += np.bincount(np.minimum(dropped, 5), minlength=6)
            keys, suffixes, counts = keys[kept], suffixes[kept], counts[kept]
        parts.append(((keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), suffixes, counts))
    parents, words, suffixes, counts = (_joined(parts, field) for field in range(4))
    levels.append(
        NGramCounts(
            parents=parents,
            words=words,
            suffixes=suffixes,
            counts=counts,
            starts_sentence=below.starts_sentence[parents],
            preceding=np.empty(0, np.int32),
            left_out=left_out,
            left_out_histogram=histogram,
        )
    )
    return next_rows


def _joined(parts: list[tuple[npt.NDArray[np.int32], ...]], field: int) -> npt.NDArray[np.int32]:
    """Return one field of all parts, which forget it, so that no more than one field is held twice."""
    joined = np.concatenate([np.empty(0, np.int32), *(part[field] for part in parts)])
    nothing = np.empty(0, np.int32)
    parts[:] = [(*part[:field], nothing, *part[field + 1 :]) for part in parts]
    return joined


def _spans(counts: npt.NDArray[np.int32]) -> Iterator[tuple[int, int, int]]:
    """Yield parts of the contexts as (first row, row behind the last, most tokens), few enough to be sorted at once."""
    room = 2 * (int(counts.sum(dtype=np.int64)) // TOKENS_AT_ONCE + 1)
    ends = np.empty(room, np.int64)
    begin = 0
    for end in ends[: cut_spans(counts, TOKENS_AT_ONCE, ends)].tolist():
        yield begin, end, int(counts[begin:end].sum(dtype=np.int64))
        begin = end


@compiled
def cut_spans(counts: npt.NDArray[np.int32], most: int, ends: npt.NDArray[np.int64]) -> int:
    """Write where to end the parts of a row of counts so that each part sums to `most` at most, or is one count alone.

    Two parts that follow each other sum to more than `most`, so there are at most ``2 * (total // most + 1)``.
    """
    size = 0
    num_parts = 0
    for i in range(len(counts)):
        if size and size + counts[i] > most:
            ends[num_parts] = i
            num_parts += 1
            size = 0
        size += counts[i]
    if len(counts):
        ends[num_parts] = len(counts)
        num_parts += 1
    return num_parts


@compiled
def collect_keys(
    stream: npt.NDArray[np.int32],
    rows: npt.NDArray[np.int32],
    begin: int,
    end: int,
    keys: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int32],
) -> int:
    """Write the key and the last token's place of every n-gram whose context is one of some rows; return how many.

    Parameters
    ----------
    stream
        int32 (num_tokens,), the text.
    rows
        int32 (num_tokens,), the row of the n-gram of the order below that ends at each token; -1 if there is none.
    begin, end
        The rows of contexts.
    keys
        int64, written: the context's row and the word, which side by side sort as the pair does.
    ends
        int32, written.
    """
    size = 0
    for i in range(1, len(stream)):
        row = rows[i - 1]
        if begin <= row < end and stream[i] != BOS_ID and rows[i] >= 0:
            keys[size] = (np.int64(row) << 32) | np.int64(stream[i])
            ends[size] = i
            size += 1
    return size


@compiled
def add_one(totals: npt.NDArray[np.int32], places: npt.NDArray[np.int32]) -> None:
    """Add 1 at each of some places, which may repeat."""
    for place in places:
        totals[place] += 1
