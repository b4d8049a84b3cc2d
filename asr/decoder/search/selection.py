"""The best of a frame's candidates."""

import numpy as np

from asr.decoder.compiling import part

EMPTY = -1


@part
def set_candidate(candidate, score_and_order, step):  # type: ignore[no-untyped-def]
    """Fill in all but the future of a candidate; `step` is its slot, its token and the word that ends before it."""
    candidate.score, candidate.order = score_and_order
    candidate.slot, candidate.token, candidate.entry = step


@part
def future_key(fusion, token):  # type: ignore[no-untyped-def]
    """Return 64 bits for all that the future of a hypothesis depends on: where the automata stand, and its last token.

    Two futures among the thousands of a frame have the same key by chance once in 1e12 frames.
    """
    key = np.uint64(0)
    for part_of_state in (fusion.word, fusion.lm_state, fusion.hot, token):
        key = (key ^ np.uint64(part_of_state)) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    return key


@part
def shorten(candidates, count, wanted, futures):  # type: ignore[no-untyped-def]
    """Bring the best candidates to the front, at most `wanted`, the worst of so many last; return how many.

    Of candidates with one future only the best is kept, unless there is no room for `futures`.
    """
    if len(futures) > 0:
        count = recombine(candidates, count, futures)
    if count >= wanted:
        select(candidates, count, wanted)
        count = wanted
    return count


@part
def recombine(candidates, count, futures):  # type: ignore[no-untyped-def]
    """Leave the best candidate of each future, and return how many these are; `futures` is a table to work in."""
    futures[:] = EMPTY
    kept, mask = 0, np.int64(len(futures) - 1)
    for i in range(count):
        slot = np.int64(candidates[i].future) & mask
        while futures[slot] != EMPTY and candidates[futures[slot]].future != candidates[i].future:
            slot = (slot + 1) & mask
        if futures[slot] == EMPTY:
            futures[slot] = kept
            candidates[kept] = candidates[i]
            kept += 1
        elif is_better(candidates[i], candidates[futures[slot]].score, candidates[futures[slot]].order):
            candidates[futures[slot]] = candidates[i]
    return kept


@part
def is_better(candidate, score, order):  # type: ignore[no-untyped-def]
    """Tell whether a candidate comes before another: by score, then by age in the beam, then by token."""
    return candidate.score > score or (candidate.score == score and candidate.order < order)


@part
def select(candidates, count, wanted):  # type: ignore[no-untyped-def]
    """Bring the best candidates to the front, the worst of them last among them (Hoare 1961)."""
    low, high, k = 0, count - 1, wanted - 1
    while low < high:
        middle = candidates[(low + high) >> 1]
        score, order = middle.score, middle.order
        i, j = low, high
        while i <= j:
            while is_better(candidates[i], score, order):
                i += 1
            while candidates[j].order != order and not is_better(candidates[j], score, order):
                j -= 1
            if i <= j:
                swap(candidates, i, j)
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return


@part
def swap(candidates, i, j):  # type: ignore[no-untyped-def]
    """Exchange two candidates."""
    a, b = candidates[i], candidates[j]
    a.score, b.score = b.score, a.score
    a.order, b.order = b.order, a.order
    a.future, b.future = b.future, a.future
    a.slot, b.slot = b.slot, a.slot
    a.token, b.token = b.token, a.token
    a.entry, b.entry = b.entry, a.entry
