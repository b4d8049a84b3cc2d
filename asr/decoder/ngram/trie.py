"""Building the arrays of a back-off model from its n-grams, order by order."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.query import LN10, QueryArrays, score_suffixes
from asr.errors import DecodingError

Floats = npt.NDArray[np.float64]

# Probability mass that is left to back-off is kept above rounding error, so that its logarithm exists.
SMALLEST_MASS = 1e-9
# The n-grams of an order are looked up on several threads, so many at a time.
NGRAMS_PER_THREAD = 200_000
MOST_THREADS = 4


@dataclass(frozen=True)
class Level:
    """The n-grams of one order, sorted by ``(parents, words)`` and without duplicates.

    Parameters
    ----------
    parents
        int32 (count,), the row of each n-gram's context (all but its last word) in the level below; 0 for
        1-grams.
    words
        int32 (count,), the id of the last word; for 1-grams ``0 .. count - 1``.
    log10_probs
        float32 (count,).
    log10_backoffs
        float32 (count,); not read for the highest order.
    """

    parents: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    log10_probs: npt.NDArray[np.float32]
    log10_backoffs: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of n-grams."""
        return len(self.words)


def level_offsets(counts: tuple[int, ...]) -> list[int]:
    """Return the first node of each order and, last, the number of nodes; node 0 is the empty n-gram."""
    return [1, *(1 + np.cumsum(counts, dtype=np.int64)).tolist()]


def build_trie(levels: list[Level]) -> QueryArrays:
    """Join the levels, lowest order first, to the arrays that `asr.decoder.ngram.query` reads.

    Raises
    ------
    DecodingError
        If the n-grams are too many for 32-bit node numbers.
    """
    offsets = level_offsets(tuple(map(len, levels)))
    if offsets[-1] >= 2**31:
        raise DecodingError(f"the model has {offsets[-1] - 1:,} n-grams, expected fewer than {2**31:,}: prune it")
    words = np.concatenate([np.array([-1], np.int32), *(level.words for level in levels)])
    log10_probs = np.concatenate([np.zeros(1, np.float32), *(level.log10_probs for level in levels)])
    log10_backoffs = np.concatenate([np.zeros(1, np.float32), *(level.log10_backoffs for level in levels[:-1])])
    num_children = np.concatenate(
        [
            [len(levels[0])],
            *(np.bincount(above.parents, minlength=len(below)) for below, above in pairwise(levels)),
        ]
    )
    child_begins = np.ones(len(num_children) + 1, np.int32)
    child_begins[1:] += np.cumsum(num_children).astype(np.int32)
    links = np.zeros(offsets[-1], np.int32)
    arrays = (words, log10_probs, links, log10_backoffs, child_begins)
    for order in range(2, len(levels) + 1):
        _, links[offsets[order - 1] : offsets[order]] = suffix_scores(arrays, offsets, order, levels[order - 1])
    return arrays


def suffix_scores(
    arrays: QueryArrays, offsets: list[int], order: int, level: Level
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return what the model says of the n-grams of an order above 1 without their first words.

    Returns
    -------
    log_probs : float64 (count,)
        Natural log P(last word | context without its first word).
    states : int32 (count,)
        The state after the n-gram without its first word.
    """
    log_probs = np.empty(len(level))
    states = np.empty(len(level), np.int32)
    contexts = level.parents + np.int32(offsets[order - 2])

    def score(first: int) -> None:
        part = slice(first, first + NGRAMS_PER_THREAD)
        score_suffixes(arrays, offsets[order - 1] + first, contexts[part], log_probs[part], states[part])

    # Most of the time in which a model is read is spent here; a single part is computed without a thread.
    firsts = range(0, len(level), NGRAMS_PER_THREAD)
    if len(firsts) > 1:
        with ThreadPoolExecutor(MOST_THREADS) as pool:
            list(pool.map(score, firsts))
    else:
        score(0)
    return log_probs, states


def split_trie(arrays: QueryArrays, counts: tuple[int, ...]) -> list[Level]:
    """Return the levels of a model's arrays, undoing `build_trie`; the last level's back-offs are 0."""
    words, log10_probs, _, log10_backoffs, child_begins = arrays
    offsets = level_offsets(counts)
    levels = []
    for order, (begin, end) in enumerate(pairwise(offsets), start=1):
        if order == 1:
            parents = np.zeros(end - begin, np.int32)
        else:
            first, last = offsets[order - 2], offsets[order - 1]
            parents = np.repeat(np.arange(last - first, dtype=np.int32), np.diff(child_begins[first : last + 1]))
        backoffs = np.zeros(end - begin, np.float32) if order == len(counts) else log10_backoffs[begin:end]
        levels.append(Level(parents, words[begin:end], log10_probs[begin:end], backoffs))
    return levels


def keep_rows(levels: list[Level], is_kept: Sequence[npt.NDArray[np.bool_]]) -> list[Level]:
    """Return the levels with the chosen n-grams only, their contexts' rows counted anew.

    Parameters
    ----------
    levels
        Lowest order first.
    is_kept
        bool (count,) for each level; the context of an n-gram that is kept must be kept.
    """
    result = []
    rows_below = np.zeros(1, np.int32)
    for level, kept in zip(levels, is_kept, strict=True):
        if kept.all() and len(rows_below) == (rows_below[-1] + 1 if len(rows_below) else 0):
            # Nothing to leave out, here and below: of the largest models no second copy is made.
            result.append(level)
            rows_below = np.arange(len(level), dtype=np.int32)
            continue
        result.append(
            Level(
                rows_below[level.parents[kept]],
                level.words[kept],
                level.log10_probs[kept],
                level.log10_backoffs[kept],
            )
        )
        rows_below = np.cumsum(kept, dtype=np.int32) - np.int32(1)
    return result


def renormalise(levels: list[Level]) -> QueryArrays:
    """Return the arrays of a model whose back-off weights make every context's probabilities sum to one.

    The levels' own weights only tell the states: contexts that nothing follows must have weight 0, which is seen to.
    """
    # The levels may be views of another model's arrays.
    levels = [replace(level, log10_backoffs=level.log10_backoffs.copy()) for level in levels]
    counts = tuple(map(len, levels))
    offsets = level_offsets(counts)
    for below, above in pairwise(levels):
        # Contexts that nothing follows any more have no say in the states, which are fixed when the trie is built.
        below.log10_backoffs[np.bincount(above.parents, minlength=len(below)) == 0] = 0.0
    arrays = build_trie(levels)
    for order, (below, above) in enumerate(pairwise(levels), start=2):
        # This reads the weights of the orders below, which are new already.
        lower, _ = suffix_scores(arrays, offsets, order, above)
        free, lower_free = free_mass(above, len(below), natural(above.log10_probs), lower)
        followed = np.bincount(above.parents, minlength=len(below)) > 0
        weights = np.where(followed, np.log10(free / lower_free), 0.0)
        arrays[3][offsets[order - 2] : offsets[order - 1]] = weights
    return arrays


def free_mass(level: Level, num_contexts: int, log_probs: Floats, lower: Floats) -> tuple[Floats, Floats]:
    """Return, for each context, the probability of all words not listed after it: by itself, and one order lower."""
    free = 1.0 - np.bincount(level.parents, np.exp(log_probs), num_contexts)
    lower_free = 1.0 - np.bincount(level.parents, np.exp(lower), num_contexts)
    return np.maximum(free, SMALLEST_MASS), np.maximum(lower_free, SMALLEST_MASS)


def natural(log10: npt.NDArray[np.float32]) -> Floats:
    """Return natural logarithms; in double precision, because sums of probabilities are taken from 1."""
    return log10.astype(np.float64) * LN10
