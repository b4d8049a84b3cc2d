"""Estimating interpolated modified Kneser-Ney models, as KenLM's lmplz does (Heafield et al. 2013).

Chen & Goodman (1998), "An empirical study of smoothing techniques for language modeling", TR-10-98, section 4.1.6.
"""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.decoder.ngram.counts import BOS_ID, UNK_ID, NGramCounts, count_ngrams, read_corpus
from asr.decoder.ngram.model import NGramModel
from asr.decoder.ngram.text import differing_in_case
from asr.decoder.ngram.trie import Level, keep_rows
from asr.errors import DecodingError

# KenLM's `--discount_fallback`: what is taken off a count of 1, of 2, and of 3 or more.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
ROWS_AT_ONCE = 1 << 22

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def estimate(sentences: Iterable[str], order: int = 3, cutoffs: Sequence[int] = ()) -> NGramModel:
    """Estimate an interpolated modified Kneser-Ney model from text.

    Parameters
    ----------
    sentences
        Normalised sentences, one per string, words separated by white space; blank ones are left out.
    order
        The length of the longest n-grams, at least 1.
    cutoffs
        N-grams of order k that occur at most ``cutoffs[k - 1]`` times in the text are left out, like KenLM's
        ``--prune``: the first is 0, none is smaller than the one before, the last holds for all higher orders.

    Returns
    -------
    NGramModel
        Its vocabulary is the text's words, ``<unk>``, ``<s>`` and ``</s>``; ``<unk>`` has its share of the
        uniform distribution that 1-grams are interpolated with.

    Raises
    ------
    DecodingError
        If the order or the cut-offs are invalid, or the text has no words or holds ``<s>``, ``</s>`` or
        ``<unk>``.

    Warns
    -----
    UserWarning
        If the counts of some order are too few to give its discounts; then 0.5, 1 and 1.5 are taken for it. If
        words differ in letter case only: then the text is hardly normalised.
    """
    thresholds = _thresholds(order, cutoffs)
    corpus = read_corpus(sentences)
    words = corpus.words
    pair = differing_in_case(words)
    if pair:
        warnings.warn(
            f"the text mixes letter case: {pair[0]!r} and {pair[1]!r} are two words to the model; normalise the text "
            "like the acoustic model's transcripts, or most words will be unknown",
            stacklevel=2,
        )
    levels = count_ngrams(corpus, order, thresholds[-1])
    del corpus
    return NGramModel.from_levels(words, _smooth(levels, thresholds))


def _thresholds(order: int, cutoffs: Sequence[int]) -> list[int]:
    if order < 1:
        raise DecodingError(f"the order of an n-gram model is {order}, expected at least 1")
    if len(cutoffs) > order:
        raise DecodingError(f"{len(cutoffs)} cut-offs for a model of order {order}: expected at most one per order")
    thresholds = list(cutoffs) or [0]
    thresholds += thresholds[-1:] * (order - len(thresholds))
    if thresholds[0] != 0 or sorted(thresholds) != thresholds:
        raise DecodingError(
            f"cut-offs {list(cutoffs)}: expected 0 for 1-grams (the vocabulary stays whole) and no cut-off smaller "
            "than the one before, for instance 0 0 1"
        )
    return thresholds


def _smooth(levels: list[NGramCounts], thresholds: list[int]) -> list[Level]:
    """Turn counts into probabilities and back-off weights, order by order, and leave out what is cut off."""
    smoothed: list[Level] = []
    is_kept: list[npt.NDArray[np.bool_]] = []
    # Below the 1-grams stands the uniform distribution over all words but <s>.
    lower = np.full(1, 1.0 / (len(levels[0].words) - 1), np.float32)
    for order, level in enumerate(levels, start=1):
        counts = _adjusted_counts(levels, order)
        threshold = thresholds[order - 1] if order > 1 else -1
        discounts = _discounts(np.bincount(np.minimum(counts, 5), minlength=6) + level.left_out_histogram, order)
        totals = np.zeros(len(lower), np.float64)
        left_over = np.zeros(len(lower), np.float64)
        if len(level.left_out):
            # What is cut off leaves its whole count to the back-off (KenLM, initial_probabilities.cc).
            totals += level.left_out
            left_over += level.left_out
        probs = np.empty(len(counts), np.float32)
        masses = (totals, left_over)
        smooth_level((level.parents, level.suffixes, level.counts, counts), threshold, discounts, masses, lower, probs)
        if order == 1:
            # <s> is never predicted; its probability is written as 1, as KenLM does.
            probs[BOS_ID] = 1.0
        else:
            smoothed[-1].log10_backoffs[:] = np.log10(left_over)
            _to_log10(lower)
        smoothed.append(Level(level.parents, level.words, probs, np.zeros(len(probs), np.float32)))
        is_kept.append(level.counts > threshold if order > 1 else np.ones(len(counts), np.bool_))
        lower = probs
    _to_log10(lower)
    return keep_rows(smoothed, is_kept)


def _to_log10(probs: npt.NDArray[np.float32]) -> None:
    """Turn probabilities into their logarithms, a few million at a time."""
    for begin in range(0, len(probs), ROWS_AT_ONCE):
        part = probs[begin : begin + ROWS_AT_ONCE]
        part[:] = np.log10(part.astype(np.float64))


@compiled
def smooth_level(
    level: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]],
    threshold: int,
    discounts: Floats,
    masses: tuple[Floats, Floats],
    lower: npt.NDArray[np.float32],
    probs: npt.NDArray[np.float32],
) -> None:
    """Write the interpolated probabilities of one order, and the share of each context that is left to the back-off.

    Parameters
    ----------
    level
        int32 (count,) each: contexts, rows without the first word, occurrences, adjusted counts.
    threshold
        N-grams that occur at most so often are cut off.
    discounts
        float64 (4,), what is taken off a count of 0, 1, 2, and 3 or more.
    masses
        float64 (rows of the order below,) each: counts by context, and what is taken off them; at first those of
        n-grams that are not listed, on return the whole of the first, and the second's share of it.
    lower
        float32 (rows of the order below,), their probabilities.
    probs
        float32 (count,), written.
    """
    parents, suffixes, occurrences, counts = level
    totals, left_over = masses
    for i in range(len(parents)):
        taken_off = discounts[min(counts[i], 3)] if occurrences[i] > threshold else np.float64(counts[i])
        totals[parents[i]] += counts[i]
        left_over[parents[i]] += taken_off
    for context in range(len(totals)):
        # A context that is never followed by a word backs off for free.
        left_over[context] = left_over[context] / totals[context] if totals[context] > 0 else 1.0
    for i in range(len(parents)):
        context = parents[i]
        taken_off = discounts[min(counts[i], 3)] if occurrences[i] > threshold else np.float64(counts[i])
        probs[i] = (counts[i] - taken_off) / totals[context] + left_over[context] * np.float64(lower[suffixes[i]])


def _adjusted_counts(levels: list[NGramCounts], order: int) -> npt.NDArray[np.int32]:
    """Return the counts that order is estimated from: how many words precede each n-gram.

    N-grams of the highest order, and those that start a sentence, which nothing precedes, have their occurrences.
    """
    level = levels[order - 1]
    if order == len(levels):
        counts = level.counts.copy() if order == 1 else level.counts
    else:
        counts = np.where(level.starts_sentence, level.counts, level.preceding)
    if order == 1:
        counts[[UNK_ID, BOS_ID]] = 0
    return counts


def _discounts(histogram: Counts, order: int) -> Floats:
    """Return what is taken off a count of 0, 1, 2, and 3 or more: equation 26 of Chen & Goodman (1998).

    `histogram` holds how many n-grams have a count of 0, 1, … 4, and 5 or more.
    """
    n = histogram.astype(np.float64)
    if n[1:4].all():
        y = n[1] / (n[1] + 2 * n[2])
        discounts = np.array([0.0, *(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))])
        # A discount of 0 would leave nothing to the back-off.
        if (discounts[1:] > 0).all():
            return discounts
        why = f"they come out as not positive ({', '.join(f'{d:.3g}' for d in discounts[1:])})"
    else:
        j = int(np.argmin(n[1:4])) + 1
        why = f"no {order}-gram has an (adjusted) count of {j}"
    warnings.warn(
        f"the text is too small or too regular to estimate the {order}-grams' discounts: {why}; "
        f"took {', '.join(map(str, FALLBACK_DISCOUNTS))} for counts of 1, 2, 3 and more",
        stacklevel=4,
    )
    return np.array([0.0, *FALLBACK_DISCOUNTS])
