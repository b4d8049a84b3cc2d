"""Whole utterances, one after another, without Python between them."""

import numpy as np

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.search.ending import end_sentence
from asr.decoder.search.kernel import search
from asr.decoder.search.state import NONE, path_length, path_of, start_over, write_path

# A row of `end_sentence`.
SLOT, TOTAL = 0, 5


@compiled_in_place
def search_each(frames, ends, first, limits, scorer, state, lm_start, end_id, begins, rows, columns, means, lengths):  # type: ignore[no-untyped-def]
    """Decode several utterances, one after another, and write the best hypothesis of each.

    Parameters
    ----------
    frames
        float32 (T, V), natural log-probabilities, one utterance behind the other.
    ends
        int64 (N,): where each utterance ends.
    first
        The first utterance to decode.
    limits, scorer, state, end_id, begins
        As of `search`, `end_sentence` and `trace_back`.
    lm_start
        The language model's state before each utterance.
    rows
        float64 (N + K, 6): row i is written, as by `end_sentence`, for utterance i; the last K are for work.
    columns, means
        int64 (4, T), float64 (T,): from an utterance's first frame on its tokens are written, as by `trace_back`.
    lengths
        int64 (N,), written: the number of tokens.

    Returns
    -------
    utterances_done : int64
        Up to N; less if an utterance needs more memory, or has no best hypothesis alone: the state is that of its
        search so far.
    """
    work = rows[len(ends) :]
    for i in range(first, len(ends)):
        begin = ends[i - 1] if i else 0
        start_over(state, lm_start)
        if search(frames[begin : ends[i]], 0, limits, scorer, state) < ends[i] - begin:
            return i
        best = only_best(work, end_sentence(scorer, end_id, state, work))
        if best == NONE:
            return i
        for k in range(rows.shape[1]):
            rows[i, k] = work[best, k]
        path = path_of(state, np.int64(work[best, SLOT]))
        lengths[i] = path_length(state, path)
        end = begin + lengths[i]
        write_path(state, begins, path, columns[:, begin:end], means[begin:end])
    return len(ends)


@part
def only_best(rows, count):  # type: ignore[no-untyped-def]
    """Return which of `count` rows has the highest total; NONE if several have, all are -inf, or some are missing."""
    best, ties = NONE, 0
    for i in range(min(count, len(rows))):
        if best == NONE or rows[i, TOTAL] > rows[best, TOTAL]:
            best, ties = i, 0
        elif rows[i, TOTAL] == rows[best, TOTAL]:
            ties += 1
    if best == NONE or ties or count > len(rows) or rows[best, TOTAL] == -np.inf:
        return NONE
    return best
