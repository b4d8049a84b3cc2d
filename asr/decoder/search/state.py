"""What a beam search remembers: prefixes, the best paths to them, and the hypotheses alive; all in flat arrays.

Prefixes form a trie: hypotheses that share a beginning share its nodes. A *backpointer* is a token on a best path,
with the backpointer before it; it holds the times, which differ between paths to one prefix. Both are collected when
the arrays are full: what no hypothesis alive comes from is forgotten.
"""

import functools
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled, compiled_in_place, part
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED
from asr.decoder.search.fusion import FusionState
from asr.decoder.search.trie import edge_slot, table_size

NONE = -1
# Indices into SearchState.counts.
HYPOTHESES, PREFIXES, BACKPOINTERS, FRAMES = range(4)

# One more token than its parent; `entry` is the word of the lexicon that ended before the token. The rest is where
# the automata stand, as in asr.decoder.search.fusion.FusionState, what is expected, and bounds for what may follow.
PREFIX = np.dtype(
    [
        *(("parent", "i4"), ("token", "i4"), ("entry", "i4"), ("slot", "i4")),
        *(("word", "i4"), ("hot", "i4"), ("lm_state", "i4"), ("unused", "i4")),
        *(("lm_score", "f8"), ("hot_score", "f8"), ("bonus", "f8"), ("look_ahead", "f8")),
        *(("end_ceiling", "f8"), ("letter_ceiling", "f8")),
    ]
)
# A token on a best path: it starts at frame `start`; the token before it ended before frame `previous_end`, and its
# log-posteriors sum to `previous_sum`.
BACKPOINTER = np.dtype(
    [("previous", "i4"), ("prefix", "i4"), ("start", "i4"), ("previous_end", "i4"), ("previous_sum", "f8")]
)
# Probabilities of all alignments so far that end in a blank, or in the prefix's last token; those of the best ones
# (Viterbi); and of these the last token's backpointer and, for a blank, that token's end and sum of log-posteriors.
# Linear, scaled.
HYPOTHESIS = np.dtype(
    [
        *(("prefix", "i4"), ("via", "i4"), ("blank_last", "i4"), ("token_last", "i4")),
        *(("p_blank", "f8"), ("p_token", "f8"), ("log_total", "f8"), ("best_blank", "f8"), ("best_token", "f8")),
        *(("blank_sum", "f8"), ("token_sum", "f8"), ("blank_end", "i8")),
    ]
)
# What there is before the first frame, all at place 0.
EMPTY_PREFIX = np.array([(NONE, NONE, NONE, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, np.inf, np.inf)], PREFIX)
NO_TOKEN = np.array([(NONE, 0, 0, 0, 0.0)], BACKPOINTER)
NOTHING_HEARD = np.array([(0, 0, 0, 0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0)], HYPOTHESIS)
# A hypothesis of the frame before, unchanged (token NONE) or with one more token; `order` breaks ties, `future` is the
# key of all that its future depends on.
CANDIDATE = np.dtype(
    [
        *(("score", "f8"), ("order", "i8"), ("future", "u8")),
        *(("slot", "i4"), ("token", "i4"), ("entry", "i4"), ("pad", "i4")),
    ]
)


class SearchState(NamedTuple):
    """The arrays of one search.

    Parameters
    ----------
    prefixes, backpointers
        PREFIX (N,), BACKPOINTER (M,).
    table
        int32, hash table from (parent, token, entry) to prefixes; 0 is empty: prefix 0 is nobody's child.
    beams
        HYPOTHESIS (3, beam_size): before a frame, without a new token, and after the frame.
    candidates
        CANDIDATE (C,), C > 2 × beam_size.
    futures
        int32, a hash table from the key of a future to the candidate that has it; empty where several may have one.
    tokens
        int32, room for the tokens tried in a frame.
    counts
        int64 (4,): hypotheses, prefixes, backpointers in use, frames decoded.
    log_scale
        float64 (1,): what to add to the logarithms of probabilities.
    """

    prefixes: npt.NDArray[Any]
    backpointers: npt.NDArray[Any]
    table: npt.NDArray[np.int32]
    beams: npt.NDArray[Any]
    candidates: npt.NDArray[Any]
    futures: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    log_scale: npt.NDArray[np.float64]


class _Spare(threading.local):
    """What the last search of this thread left; asking the system for memory takes longer than most searches."""

    state: SearchState | None = None


_spare = _Spare()


def new_search_state(beam_size: int, num_tokens: int, lm_state: int, *, recombines: bool) -> SearchState:
    """Return the memory of a search that has heard nothing: one hypothesis, the empty prefix."""
    sizes = _first_sizes(beam_size, num_tokens, recombines)
    state, _spare.state = _spare.state, None
    if state is None or sizes != _sizes_of(state):
        num_prefixes, num_backpointers, _, _, num_futures = sizes
        state = SearchState(
            prefixes=np.empty(num_prefixes, PREFIX),
            backpointers=np.empty(num_backpointers, BACKPOINTER),
            table=np.empty(table_size(num_prefixes), np.int32),
            beams=np.empty((3, beam_size), HYPOTHESIS),
            candidates=np.empty(4 * beam_size + 16, CANDIDATE),
            futures=np.empty(num_futures, np.int32),
            tokens=np.empty(num_tokens, np.int32),
            counts=np.zeros(4, np.int64),
            log_scale=np.zeros(1),
        )
    start_over(state, lm_state)
    return state


@compiled_in_place
def start_over(state, lm_state):  # type: ignore[no-untyped-def]
    """Forget all that was heard: there is one hypothesis, the empty prefix."""
    state.table[:] = 0
    state.prefixes[0], state.backpointers[0], state.beams[0][0] = EMPTY_PREFIX[0], NO_TOKEN[0], NOTHING_HEARD[0]
    state.prefixes[0].lm_state = lm_state
    state.counts[:] = 1
    state.counts[FRAMES] = 0
    state.log_scale[0] = 0.0


def recycle(state: SearchState) -> None:
    """Let the next search of this thread have the memory of one that is over, unless it has grown."""
    beam_size, num_tokens = state.beams.shape[1], len(state.tokens)
    if _sizes_of(state) == _first_sizes(beam_size, num_tokens, len(state.futures) > 0):
        _spare.state = state


@functools.cache
def _first_sizes(beam_size: int, num_tokens: int, recombines: bool) -> tuple[int, ...]:
    # Enough for some ten seconds of most speech. What is never touched costs nothing, but the table is emptied.
    num_futures = table_size(4 * beam_size + 16) if recombines else 0
    return 32 * beam_size + 256, 128 * beam_size + 256, beam_size, num_tokens, num_futures


def _sizes_of(state: SearchState) -> tuple[int, ...]:
    return len(state.prefixes), len(state.backpointers), state.beams.shape[1], len(state.tokens), len(state.futures)


def make_room(state: SearchState) -> SearchState:
    """Forget what no hypothesis alive comes from; return the memory, in larger arrays if they are still half full."""
    collect(state)
    num_prefixes, num_backpointers = int(state.counts[PREFIXES]), int(state.counts[BACKPOINTERS])
    if 2 * num_backpointers > len(state.backpointers):
        backpointers = np.empty(2 * len(state.backpointers), BACKPOINTER)
        backpointers[:num_backpointers] = state.backpointers[:num_backpointers]
        state = state._replace(backpointers=backpointers)
    if 2 * num_prefixes > len(state.prefixes):
        prefixes = np.empty(2 * len(state.prefixes), PREFIX)
        prefixes[:num_prefixes] = state.prefixes[:num_prefixes]
        state = state._replace(prefixes=prefixes, table=np.zeros(table_size(len(prefixes)), np.int32))
        link_prefixes(state)
    return state


@part
def fusion_state_of(prefix):  # type: ignore[no-untyped-def]
    """Return where the automata stand after a prefix."""
    return FusionState(
        np.int64(prefix.word), np.int64(prefix.hot), np.int64(prefix.lm_state),
        prefix.lm_score, prefix.hot_score, prefix.bonus,
    )  # fmt: skip


@part
def find_prefix(prefixes, table, parent, token, entry):  # type: ignore[no-untyped-def]
    """Return the prefix with one more token, NONE if there is none."""
    slot = edge_slot(parent, token, len(table))
    while table[slot] != 0:
        prefix = np.int64(table[slot])
        if prefixes[prefix].parent == parent and prefixes[prefix].token == token and prefixes[prefix].entry == entry:
            return prefix
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(NONE)


@part
def link_prefix(prefixes, table, prefix):  # type: ignore[no-untyped-def]
    """Enter a prefix into the table."""
    slot = edge_slot(prefixes[prefix].parent, prefixes[prefix].token, len(table))
    while table[slot] != 0:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = prefix


@compiled_in_place
def link_prefixes(state):  # type: ignore[no-untyped-def]
    """Enter all prefixes but the root into the table, after emptying it."""
    state.table[:] = 0
    for prefix in range(1, state.counts[PREFIXES]):
        link_prefix(state.prefixes, state.table, prefix)


@part
def common_backpointer(state):  # type: ignore[no-untyped-def]
    """Return the last backpointer that all best paths have in common: what lies before it is decided."""
    beam, backpointers = state.beams[0], state.backpointers
    common = np.int64(NONE)
    for i in range(2 * state.counts[HYPOTHESES]):
        hypothesis = beam[i >> 1]
        # A path of probability zero is none.
        if i & 1 == 0:
            other = np.int64(hypothesis.blank_last if hypothesis.best_blank > 0 else NONE)
        else:
            other = np.int64(hypothesis.token_last if hypothesis.best_token > 0 else NONE)
        if other == NONE:
            continue
        if common == NONE:
            common = other
        # A backpointer is made after the one before it, so the higher number is never the common one.
        while common != other:
            if common > other:
                common = np.int64(backpointers[common].previous)
            else:
                other = np.int64(backpointers[other].previous)
    return common


@compiled
def collect(state: SearchState) -> None:
    """Forget prefixes and backpointers that no hypothesis alive comes from, and those before the common backpointer."""
    prefixes, backpointers, beam = state.prefixes, state.backpointers, state.beams[0]
    num_prefixes, num_backpointers = state.counts[PREFIXES], state.counts[BACKPOINTERS]
    base = common_backpointer(state)
    new_backpointer = np.full(num_backpointers, NONE, np.int32)
    new_prefix = np.full(num_prefixes, NONE, np.int32)
    new_backpointer[base] = 0
    new_prefix[backpointers[base].prefix] = 0
    for i in range(state.counts[HYPOTHESES]):
        prefix = np.int64(beam[i].prefix)
        while new_prefix[prefix] == NONE:
            new_prefix[prefix] = 0
            prefix = np.int64(prefixes[prefix].parent)
        for backpointer in (np.int64(beam[i].blank_last), np.int64(beam[i].token_last)):
            # Paths of probability zero may lead anywhere: they go to the base.
            while backpointer > base and new_backpointer[backpointer] == NONE:
                new_backpointer[backpointer] = 0
                backpointer = np.int64(backpointers[backpointer].previous)
    state.counts[PREFIXES] = 0
    for i in range(num_prefixes):
        if new_prefix[i] != NONE:
            k = state.counts[PREFIXES]
            new_prefix[i] = k
            prefixes[k] = prefixes[i]
            prefixes[k].parent = new_prefix[prefixes[i].parent] if k else NONE
            state.counts[PREFIXES] += 1
    state.counts[BACKPOINTERS] = 0
    for i in range(num_backpointers):
        if new_backpointer[i] != NONE:
            k = state.counts[BACKPOINTERS]
            new_backpointer[i] = k
            backpointers[k] = backpointers[i]
            backpointers[k].previous = new_backpointer[backpointers[i].previous] if k else NONE
            backpointers[k].prefix = new_prefix[backpointers[i].prefix]
            state.counts[BACKPOINTERS] += 1
    for i in range(state.counts[HYPOTHESES]):
        beam[i].prefix = new_prefix[beam[i].prefix]
        beam[i].blank_last = max(0, new_backpointer[beam[i].blank_last])
        beam[i].token_last = max(0, new_backpointer[beam[i].token_last])
    link_prefixes(state)


@compiled
def trace_back(
    state: SearchState, begins: npt.NDArray[np.bool_], slot: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the tokens on the best path of a hypothesis, from the first backpointer in memory on.

    Parameters
    ----------
    state
        As of the search.
    begins
        bool (V,): whether each label ends the word before it; a search that scores no words does not say so.
    slot
        Of the hypothesis; NONE for what all have in common, but for the last of these tokens.

    Returns
    -------
    columns : int64 (4, num_tokens)
        Token, first frame, end, entry of the word that ended before it.
    means : float64 (num_tokens,)
        Mean log-posterior of each token over its frames.
    """
    path = path_of(state, slot)
    num_tokens = path_length(state, path)
    columns, means = np.empty((4, num_tokens), np.int64), np.empty(num_tokens)
    write_path(state, begins, path, columns, means)
    return columns, means


@part
def path_of(state, slot):  # type: ignore[no-untyped-def]
    """Return the last backpointer of a path as for `trace_back`, its end, and the sum of its log-posteriors."""
    if slot == NONE:
        common = state.backpointers[common_backpointer(state)]
        return np.int64(common.previous), np.int64(common.previous_end), common.previous_sum
    best = state.beams[0][slot]
    if best.best_token > best.best_blank:
        return np.int64(best.token_last), state.counts[FRAMES], best.token_sum
    return np.int64(best.blank_last), best.blank_end, best.blank_sum


@part
def path_length(state, path):  # type: ignore[no-untyped-def]
    """Return the number of tokens of a path."""
    backpointers, prefixes = state.backpointers, state.prefixes
    num_tokens, last = 0, path[0]
    # The first backpointer of all, before any token, has none.
    while last != NONE and prefixes[backpointers[last].prefix].token != NONE:
        num_tokens += 1
        last = np.int64(backpointers[last].previous)
    return num_tokens


@part
def write_path(state, begins, path, columns, means):  # type: ignore[no-untyped-def]
    """Write the tokens of a path, as many as the arrays hold."""
    last, end, total = path
    for k in range(len(means) - 1, -1, -1):
        node = state.backpointers[last]
        prefix = state.prefixes[node.prefix]
        entry = np.int64(UNLISTED) if prefix.entry == NOT_ENDED and begins[prefix.token] else np.int64(prefix.entry)
        columns[0, k], columns[1, k], columns[2, k], columns[3, k] = prefix.token, node.start, end, entry
        means[k] = total / (end - node.start)
        end, total = np.int64(node.previous_end), node.previous_sum
        last = np.int64(node.previous)
