"""Whole utterances, one after another, without Python between them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.search.ending import NUM_COLUMNS, SLOT, TOTAL, end_sentence
from asr.decoder.search.kernel import search
from asr.decoder.search.state import NONE, path_length, path_of, start_over, write_path


class Sentence(NamedTuple):
    """What begins and ends a sentence and its words.

    Parameters
    ----------
    lm_start
        The language model's state before each utterance.
    end_id, begins
        As of `end_sentence` and `trace_back`.
    """

    lm_start: int
    end_id: int
    begins: npt.NDArray[np.bool_]


class Found(NamedTuple):
    """The best hypotheses of N utterances of together T frames.

    Parameters
    ----------
    rows
        float64 (N + K, NUM_COLUMNS): row i is of utterance i, as `end_sentence` writes it; the last K are for work.
    columns, means
        int64 (4, T), float64 (T,): from an utterance's first frame on its tokens, as of `trace_back`.
    lengths
        int64 (N,): the number of tokens.
    """

    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.int64]
    means: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]


def make_found(num_utterances: int, num_frames: int, beam_size: int) -> Found:
    """Return room for the best hypotheses."""
    return Found(
        rows=np.empty((num_utterances + beam_size, NUM_COLUMNS)),
        columns=np.empty((4, num_frames), np.int64),
        means=np.empty(num_frames),
        lengths=np.empty(num_utterances, np.int64),
    )


@compiled_in_place
def search_each(frames, ends, first, limits, scorer, sentence, state, found):  # type: ignore[no-untyped-def]
    """Decode several utterances, one after another, and write the best hypothesis of each.

    Parameters
    ----------
    frames
        float32 (T, V), natural log-probabilities, one utterance behind the other.
    ends
        int64 (N,): where each utterance ends.
    first
        The first utterance to decode.
    limits, scorer, state
        As of `search`.
    sentence
        What begins and ends each (`Sentence`).
    found
        Written (`Found`).

    Returns
    -------
    utterances_done : int64
        Up to N; less if an utterance needs more memory, or has no best hypothesis alone: the state is that of its
        search so far.
    """
    rows, work = found.rows, found.rows[len(ends) :]
    for i in range(first, len(ends)):
        begin = ends[i - 1] if i else 0
        start_over(state, sentence.lm_start)
        if search(frames[begin : ends[i]], 0, limits, scorer, state) < ends[i] - begin:
            return i
        best = only_best(work, end_sentence(scorer, sentence.end_id, state, work))
        if best == NONE:
            return i
        for k in range(NUM_COLUMNS):
            rows[i, k] = work[best, k]
        path = path_of(state, np.int64(work[best, SLOT]))
        found.lengths[i] = path_length(state, path)
        end = begin + found.lengths[i]
        write_path(state, sentence.begins, path, found.columns[:, begin:end], found.means[begin:end])
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
