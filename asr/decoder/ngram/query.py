"""Querying a back-off n-gram model: the compiled inner loops, shared with the beam search.

The model is a trie over n-grams read left to right, in one numbering of its nodes: node 0 is the empty
n-gram, then all 1-grams (word ``w`` is node ``w + 1``), all 2-grams and so on, sorted within an order by their
context's node and then by their last word. The children of a node are therefore neighbours, sorted by word. A
*state* is the node of the longest context that can still matter to the words that follow (KenLM calls this the
minimal state).

``query_arrays`` is the tuple, with these dtypes and ranks for every model of any order or origin
(C-contiguous, aligned, native byte order and writeable in NumPy's sense, so that Numba sees one signature;
never write to them):

0. ``words``         int32   (N,)      last word id of each node; -1 for node 0
1. ``log10_probs``   float32 (N,)      log10 P(last word | the words before it); 0 for node 0
2. ``links``         int32   (N,)      state of the longest proper suffix that can be extended (0: none)
3. ``log10_backoffs`` float32 (M,)     back-off weight of each node below the highest order (M of them)
4. ``child_begins``  int32   (M + 1,)  ``child_begins[i]:child_begins[i + 1]`` are the children of node ``i``
"""

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled

LN10 = 2.302585092994046

Int = int | np.int64

QueryArrays = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int32],
]


@compiled
def advance(query_arrays: QueryArrays, state: Int, word_id: Int) -> tuple[float, Int]:
    """Return the log-probability of a word after a state, and the state after the word.

    P(w | h) = p(h w) where the model lists ``h w``, else backoff(h) P(w | h without its first word)
    (Katz 1987).

    Parameters
    ----------
    query_arrays
        As the module describes.
    state
        int64, a node: the model's start state, its empty state, or one that an earlier call returned.
    word_id
        int64 in ``0 <= word_id < number of words``; not checked.

    Returns
    -------
    log_prob : float64, natural logarithm
    next_state : int64
    """
    words, log10_probs, links, log10_backoffs, child_begins = query_arrays
    log10_prob = 0.0
    node = np.int64(word_id + 1)
    while state != 0:
        low = np.int64(child_begins[state])
        end = np.int64(child_begins[state + 1])
        high = end
        while low < high:
            middle = (low + high) >> 1
            if words[middle] < word_id:
                low = middle + 1
            else:
                high = middle
        if low < end and words[low] == word_id:
            node = low
            break
        log10_prob += log10_backoffs[state]
        state = np.int64(links[state])
    log10_prob += log10_probs[node]
    # A context is worth remembering if words are listed after it, or if its back-off weight would be charged.
    if node < len(log10_backoffs) and (child_begins[node] != child_begins[node + 1] or log10_backoffs[node] != 0.0):
        return log10_prob * LN10, node
    return log10_prob * LN10, np.int64(links[node])


@compiled
def score_stream(
    query_arrays: QueryArrays,
    word_ids: npt.NDArray[np.int32],
    state: Int,
    start_state: int,
    end_id: int,
    log_probs: npt.NDArray[np.float64],
) -> None:
    """Write the log-probability of each of a stream of words; each sentence end restores the start state.

    Parameters
    ----------
    query_arrays
        As the module describes.
    word_ids
        int32 (num_words,).
    state
        The state before the first word.
    start_state, end_id
        The state at the start of a sentence, and the id of ``</s>``.
    log_probs
        float64 (num_words,), written: natural logarithms.
    """
    for i in range(len(word_ids)):
        word_id = np.int64(word_ids[i])
        log_probs[i], state = advance(query_arrays, state, word_id)
        if word_id == end_id:
            state = start_state


@compiled
def score_suffixes(
    query_arrays: QueryArrays,
    begin: int,
    contexts: npt.NDArray[np.int32],
    log_probs: npt.NDArray[np.float64],
    states: npt.NDArray[np.int32],
) -> None:
    """Write what the model says of the nodes of one order without their first words.

    Only the links of the orders below are read.

    Parameters
    ----------
    query_arrays
        As the module describes.
    begin
        The first node of an order above 1.
    contexts
        int32 (count,), the node of each one's context.
    log_probs
        float64 (count,), written: natural log P(last word | context without its first word).
    states
        int32 (count,), written: the state after the node without its first word, which is the node's link.
    """
    words = query_arrays[0]
    links = query_arrays[2]
    for i in range(len(contexts)):
        # The context's link stands for the context without its first word: what lies between cannot be extended.
        log_probs[i], states[i] = advance(query_arrays, np.int64(links[contexts[i]]), np.int64(words[begin + i]))
