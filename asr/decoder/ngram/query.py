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

A *hashed* model (KenLM's probing binary, see `asr.decoder.ngram.kenlm`) comes in arrays of the same types, told apart
by the first number of array 4, HASHED where a trie has 1:

0. the file as int32, up to the end of its tables
1. the same bytes as float32
2. for each entry of the tables of orders 2 to N - 1: the state of the n-gram without its first word, its length, and
   its words, the last one first; written when a query comes there, always the same numbers, so threads may share it
3. nothing
4. HASHED, N, the first node above the 1-grams, the number of nodes; then for each order: offset in array 0 and number
   of entries, each as two halves of 31 bits, and the first node

Its nodes are the empty n-gram, the 1-grams (word ``w`` is node ``w + 1``), and the entries of the tables above.
"""

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled, part

LN10 = 2.302585092994046
HASHED = 0
# Numbers of an order in array 4, and of a node in array 2 beside its words, in hashed models.
TABLE, LINKS_OF_NODE = 5, 2
# Of KenLM's hash of an n-gram (lm/search_hashed.hh), as signed numbers.
KEY_FACTOR, WORD_FACTOR = 8978948897894561157, 17894857484156487943 - 2**64
NO_EXTENSION = np.int32(-(2**31))

Int = int | np.int64

QueryArrays = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int32],
]


@part
def table_of(shape, order):  # type: ignore[no-untyped-def]
    """Return offset, number of entries and first node of an order's table in a hashed model."""
    at = 4 + TABLE * (order - 1)
    offset = np.int64(shape[at]) | (np.int64(shape[at + 1]) << 31)
    return offset, np.int64(shape[at + 2]) | (np.int64(shape[at + 3]) << 31), np.int64(shape[at + 4])


@part
def find_entry(content, offset, num_entries, width, key):  # type: ignore[no-untyped-def]
    """Return the place of a key in a hash table whose entries have `width` int32, -1 if it is not there."""
    entry = np.int64(np.uint64(key) % np.uint64(num_entries))
    for _ in range(num_entries):
        at = offset + entry * width
        found = (np.int64(content[at]) & 0xFFFFFFFF) | (np.int64(content[at + 1]) << 32)
        if found == key:
            return entry
        if found == 0:
            return np.int64(-1)
        entry += 1
        if entry == num_entries:
            entry = np.int64(0)
    return np.int64(-1)


@part
def advance_hashed(query_arrays, state, word_id):  # type: ignore[no-untyped-def]
    """Do what `advance` does in a hashed model.

    The n-grams that end in the word are looked up from the shortest to the longest, as far as the sign of a probability
    says that longer ones are listed; the back-off weights of all longer contexts are then charged.
    """
    content, numbers, links, _, shape = query_arrays
    order, above = np.int64(shape[1]), np.int64(shape[2])
    width = LINKS_OF_NODE + order
    here = (state - above) * width
    length = np.int64(0 if state == 0 else 1 if state < above else links[here + 1])
    offset, _, _ = table_of(shape, 1)
    at = offset + 2 * word_id
    log10_prob = -abs(np.float64(numbers[at]))
    node = np.int64(word_id + 1)
    next_state = node if content[at + 1] != NO_EXTENSION else np.int64(0)
    key, found = np.int64(word_id), np.int64(1)
    while content[at] >= 0 and found <= length:
        word = state - 1 if length == 1 else np.int64(links[here + LINKS_OF_NODE + found - 1])
        key = (key * KEY_FACTOR) ^ ((word + 1) * WORD_FACTOR)
        offset, num_entries, first_node = table_of(shape, found + 1)
        size = 4 if found + 1 < order else 3
        entry = find_entry(content, offset, num_entries, size, key)
        if entry < 0:
            break
        found += 1
        at = offset + entry * size + 2
        log10_prob = -abs(np.float64(numbers[at]))
        if found == order:
            break
        there = (first_node + entry - above) * width
        links[there], links[there + 1], links[there + LINKS_OF_NODE] = node, found, word_id
        for k in range(found - 1):
            earlier = state - 1 if length == 1 else np.int64(links[here + LINKS_OF_NODE + k])
            links[there + LINKS_OF_NODE + 1 + k] = earlier
        node = first_node + entry
        if content[at + 1] != NO_EXTENSION:
            next_state = node
    while length >= found:
        offset, _, first_node = table_of(shape, length)
        if length == 1:
            log10_prob += numbers[offset + 2 * (state - 1) + 1]
        else:
            log10_prob += numbers[offset + 4 * (state - first_node) + 3]
            state = np.int64(links[(state - above) * width])
        length -= 1
    return log10_prob * LN10, next_state


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
    if child_begins[0] == HASHED:
        return advance_hashed(query_arrays, state, word_id)  # type: ignore[no-any-return]
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


@compiled
def score_unigrams(
    query_arrays: QueryArrays, word_ids: npt.NDArray[np.int32], log_probs: npt.NDArray[np.float64]
) -> None:
    """Write the natural log-probability, float64 (num_words,), of words without a context, int32 (num_words,)."""
    for i in range(len(word_ids)):
        log_probs[i], _ = advance(query_arrays, np.int64(0), np.int64(word_ids[i]))
