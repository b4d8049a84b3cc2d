"""The pronunciation of each word in a known transcript: forced alignment over alternatives."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.errors import DecodingError

# Scores are kept at every so many frames, and the frames between computed anew on the way back: an hour of speech takes
# half a gigabyte, and not fifty.
CHECKPOINT_FRAMES = 512


def choose(
    log_probs: npt.NDArray[np.float32],
    alternatives: Sequence[Sequence[Sequence[int]]],
    blank: int,
    between: Sequence[int] = (),
) -> list[int]:
    """Return the pronunciations on the best CTC path of a transcript.

    Parameters
    ----------
    log_probs
        Natural log-probabilities ``(T, V)``.
    alternatives
        For each word its pronunciations, as label ids; none empty.
    blank
        The blank's id.
    between
        The label ids between words: those of the word boundary, or none.

    Returns
    -------
    list of int
        For each word, which of its pronunciations; exact, the first of equal ones.

    Raises
    ------
    DecodingError
        If the frames are too few for the words, or the log-probs rule them out.
    """
    if not alternatives:
        return []
    labels: list[int] = []
    choices: list[tuple[int, int]] = []
    predecessors: list[list[int]] = []
    # The nodes that the next label may follow; -1 is the start.
    ends = [-1]
    for number, pronunciations in enumerate(alternatives):
        if number:
            for label in between:
                labels.append(label)
                choices.append((-1, -1))
                predecessors.append(ends)
                ends = [len(labels) - 1]
        new_ends = []
        for which, said in enumerate(pronunciations):
            before = ends
            for label in said:
                labels.append(label)
                choices.append((number, which))
                predecessors.append(before)
                before = [len(labels) - 1]
            new_ends += before
        ends = new_ends
    begins = np.cumsum([0, *map(len, predecessors)], dtype=np.int64)
    flat = np.array([node for before in predecessors for node in before], np.int64)
    graph = (np.array(labels, np.int64), begins, flat)
    path = np.zeros(len(log_probs), np.int64)
    frames = np.ascontiguousarray(log_probs, np.float32)
    score = _best_nodes(frames, graph, np.array(ends, np.int64), blank, CHECKPOINT_FRAMES, path)
    if score == -np.inf:
        raise DecodingError(
            f"the transcript's {len(alternatives)} words do not fit {len(log_probs)} frames, or the log-probs rule "
            "them out: does it belong to this recording?"
        )
    chosen = {choices[node] for node in path.tolist() if node >= 0}
    which_of = {number: which for number, which in chosen if number >= 0}
    return [which_of[number] for number in range(len(alternatives))]


@compiled
def _best_nodes(frames: Any, graph: Any, ends: Any, blank: int, spacing: int, path: Any) -> float:
    """Write the node of the best path in each frame into `path`, -1 for blanks; return its log-probability.

    State 0 is the blank before all; states 2 n + 1 and 2 n + 2 are node n, and the blank after it.
    """
    T, S = len(frames), 2 * len(graph[0]) + 1
    scores = np.full(S, -np.inf)
    checkpoints = np.empty(((T + spacing - 1) // spacing, S))
    came_from = np.zeros((min(spacing, T), S), np.int32)
    for block in range(len(checkpoints)):
        checkpoints[block] = scores
        scores = _advance(frames, block * spacing, graph, blank, scores, came_from)
    last, total = -1, -np.inf
    for n in ends:
        for state in range(2 * n + 1, 2 * n + 3):
            if scores[state] > total:
                last, total = state, scores[state]
    if last < 0:
        return total
    state = last
    for block in range(len(checkpoints) - 1, -1, -1):
        first = block * spacing
        # Those of the last block are there.
        if block < len(checkpoints) - 1:
            _advance(frames, first, graph, blank, checkpoints[block], came_from)
        for t in range(min(T, first + spacing) - 1, first - 1, -1):
            path[t] = (state - 1) // 2 if state % 2 else -1
            state = came_from[t - first, state]
    return total


@compiled
def _advance(frames: Any, first: int, graph: Any, blank: int, scores: Any, came_from: Any) -> Any:
    """Return the scores of states after the frames of a block; write the state before each one to `came_from`."""
    labels, begins, predecessors = graph
    scores, new = scores.copy(), np.full(len(scores), -np.inf)
    for t in range(first, min(len(frames), first + len(came_from))):
        sources = came_from[t - first]
        new[0] = frames[0, blank] if t == 0 else scores[0] + frames[t, blank]
        sources[0] = 0
        for n in range(len(labels)):
            best, source = scores[2 * n + 1], 2 * n + 1
            for k in range(begins[n], begins[n + 1]):
                before = predecessors[k]
                # From the blank before this label, or at the very beginning from nothing.
                state = 0 if before < 0 else 2 * before + 2
                score = 0.0 if t == 0 and before < 0 else scores[state]
                if score > best:
                    best, source = score, state
                if before >= 0 and labels[before] != labels[n] and scores[2 * before + 1] > best:
                    best, source = scores[2 * before + 1], 2 * before + 1
            new[2 * n + 1] = best + frames[t, labels[n]]
            sources[2 * n + 1] = source
            # In the first frame no blank can follow a node: its score stays -inf.
            if t > 0:
                stays = scores[2 * n + 2] > scores[2 * n + 1]
                sources[2 * n + 2] = 2 * n + 2 if stays else 2 * n + 1
                new[2 * n + 2] = max(scores[2 * n + 1], scores[2 * n + 2]) + frames[t, blank]
        scores, new = new, scores
    return scores
