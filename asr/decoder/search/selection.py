"""The best of a frame's candidates."""

from asr.decoder.compiling import part


@part
def set_candidate(candidate, score, order, slot, token, entry):  # type: ignore[no-untyped-def]
    """Fill in a candidate."""
    candidate.score = score
    candidate.order = order
    candidate.slot = slot
    candidate.token = token
    candidate.entry = entry


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
    a.slot, b.slot = b.slot, a.slot
    a.token, b.token = b.token, a.token
    a.entry, b.entry = b.entry, a.entry
