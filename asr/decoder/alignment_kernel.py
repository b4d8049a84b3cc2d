"""Viterbi's best path of one transcript, in little memory.

The path runs through the states of the extended label sequence of Graves et al. (2006, section 4.1): a blank before,
between and after the tokens, so state 2j is a blank and state 2j + 1 is token j. Scores are kept at checkpoints only,
every so many frames; the way back computes the frames between anew, and only the states from which it can have come.
"""

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled


@compiled
def best_path(
    log_probs: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int32],
    blank: int,
    skip_costs: npt.NDArray[np.float64],
    spacing: int,
    path: npt.NDArray[np.int64],
) -> float:
    """Write the best path's state at each frame and return its log-probability.

    Parameters
    ----------
    log_probs
        float32 ``(T, V)``, T >= 1.
    tokens
        int32 ``(L,)``.
    blank
        The blank's label.
    skip_costs
        float64 ``(L,)``, 0 for each token that may follow the one before without a blank, else -inf.
    spacing
        Frames between two checkpoints.
    path
        int64 ``(T,)``, written.
    """
    num_frames, num_tokens = len(log_probs), len(tokens)
    # Paths that are on the blank before token j, and on the token before it; all begin before the first blank.
    on_blank = np.full(num_tokens + 1, -np.inf)
    on_token = np.full(num_tokens + 1, -np.inf)
    on_blank[0] = 0.0
    checkpoints = np.empty(((num_frames + spacing - 1) // spacing, 2, num_tokens + 1))
    for t in range(num_frames):
        if t % spacing == 0:
            checkpoints[t // spacing, 0] = on_blank
            checkpoints[t // spacing, 1] = on_token
        # Tokens that no path reaches so early, or from which none comes to the end in time, are left out.
        begin = max(0, num_tokens - (num_frames - t))
        end = min(num_tokens, t + 1)
        frame = log_probs[t]
        blank_log_prob = np.float64(frame[blank])
        before = on_token[begin]
        for j in range(begin, end):
            stay = on_token[j + 1]
            on_token[j + 1] = max(max(stay, on_blank[j]), before + skip_costs[j]) + frame[tokens[j]]
            on_blank[j] = max(on_blank[j], before) + blank_log_prob
            before = stay
        on_blank[end] = max(on_blank[end], before) + blank_log_prob
    score = max(on_blank[num_tokens], on_token[num_tokens])
    state = 2 * num_tokens if on_blank[num_tokens] >= on_token[num_tokens] else 2 * num_tokens - 1
    labels = np.full(2 * num_tokens + 1, blank, np.int32)
    labels[1::2] = tokens
    for block in range(len(checkpoints) - 1, -1, -1):
        frames = slice(block * spacing, min(num_frames, (block + 1) * spacing))
        state = _trace_block(log_probs[frames], labels, skip_costs, checkpoints[block], state, path[frames])
    return float(score)


@compiled
def _trace_block(
    log_probs: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int32],
    skip_costs: npt.NDArray[np.float64],
    checkpoint: npt.NDArray[np.float64],
    state: int,
    path: npt.NDArray[np.int64],
) -> int:
    """Write the path through some frames that ends at `state`, and return the state that it comes from.

    `labels` is that of each state; the checkpoint ``(2, L + 1)`` holds the scores of blanks and of tokens before
    these frames.
    """
    num_frames = len(log_probs)
    # A path rises by at most two states a frame, so lower ones cannot come to `state`.
    lowest = max(0, state - 2 * num_frames)
    size = state - lowest + 1
    # State s stands at s - lowest + 2.
    scores = np.full(size + 2, -np.inf)
    for s in range(lowest, state + 1):
        scores[s - lowest + 2] = checkpoint[s % 2, (s + 1) // 2]
    new_scores = np.full(size + 2, -np.inf)
    rises = np.empty((num_frames, size), np.uint8)
    for t in range(num_frames):
        for i in range(size):
            best, rise = scores[i + 2], 0
            if scores[i + 1] > best:
                best, rise = scores[i + 1], 1
            j, is_token = divmod(lowest + i, 2)
            if is_token and scores[i] + skip_costs[j] > best:
                best, rise = scores[i] + skip_costs[j], 2
            rises[t, i] = rise
            new_scores[i + 2] = best + log_probs[t, labels[lowest + i]]
        scores, new_scores = new_scores, scores
    for t in range(num_frames - 1, -1, -1):
        path[t] = state
        state -= int(rises[t, state - lowest])
    return state
