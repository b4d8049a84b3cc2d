"""What a beam search remembers: prefixes, the best paths to them, and the hypotheses alive; all in flat arrays.

Prefixes form a trie: hypotheses that share a beginning share its nodes. A *trace* is a token on a best path, with the
trace before it; it holds the times, which differ between paths to one prefix. Both are collected when the arrays
are full: what no hypothesis alive comes from is forgotten.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled, compiled_in_place, part
from asr.decoder.fusion import Standing
from asr.decoder.trie import edge_slot, table_size

NONE = -1
# Indices into Memory.counts.
HYPOTHESES, PREFIXES, TRACES, FRAMES = range(4)

# One more token than its parent; `entry` is the word of the lexicon that ended before the token. The rest is where
# the automata stand, as in asr.decoder.fusion.Standing, what is expected, and bounds for what may follow.
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
TRACE = np.dtype(
    [("previous", "i4"), ("prefix", "i4"), ("start", "i4"), ("previous_end", "i4"), ("previous_sum", "f8")]
)
# Probabilities of all alignments so far that end in a blank, or in the prefix's last token; those of the best ones
# (Viterbi); and of these the trace and, for a blank, the last token's end and sum of log-posteriors. Linear, scaled.
HYPOTHESIS = np.dtype(
    [
        *(("prefix", "i4"), ("via", "i4"), ("blank_trace", "i4"), ("token_trace", "i4")),
        *(("p_blank", "f8"), ("p_token", "f8"), ("log_total", "f8"), ("best_blank", "f8"), ("best_token", "f8")),
        *(("blank_sum", "f8"), ("token_sum", "f8"), ("blank_end", "i8")),
    ]
)
# A hypothesis of the frame before, unchanged (token NONE) or with one more token; `order` breaks ties.
CANDIDATE = np.dtype(
    [("score", "f8"), ("order", "i8"), ("slot", "i4"), ("token", "i4"), ("entry", "i4"), ("pad", "i4")]
)


class Memory(NamedTuple):
    """The arrays of one search.

    Parameters
    ----------
    prefixes, traces
        PREFIX (N,), TRACE (M,).
    table
        int32, hash table from (parent, token, entry) to prefixes; 0 is empty: prefix 0 is nobody's child.
    beams
        HYPOTHESIS (3, beam_size): before a frame, without a new token, and after the frame.
    candidates
        CANDIDATE (C,), C > 2 × beam_size.
    tokens
        int32, room for the tokens tried in a frame.
    counts
        int64 (4,): hypotheses, prefixes, traces in use, frames decoded.
    log_scale
        float64 (1,): what to add to the logarithms of probabilities.
    """

    prefixes: npt.NDArray[Any]
    traces: npt.NDArray[Any]
    table: npt.NDArray[np.int32]
    beams: npt.NDArray[Any]
    candidates: npt.NDArray[Any]
    tokens: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]
    log_scale: npt.NDArray[np.float64]


def new_memory(beam_size: int, num_tokens: int, hot_state: int, lm_state: int) -> Memory:
    """Return the memory of a search that has heard nothing: one hypothesis, the empty prefix."""
    # Enough for some ten seconds; pages that are never touched cost nothing.
    num_prefixes, num_traces = 128 * beam_size + 256, 512 * beam_size + 256
    memory = Memory(
        prefixes=np.empty(num_prefixes, PREFIX),
        traces=np.empty(num_traces, TRACE),
        table=np.zeros(table_size(num_prefixes), np.int32),
        beams=np.zeros((3, beam_size), HYPOTHESIS),
        candidates=np.empty(4 * beam_size + 16, CANDIDATE),
        tokens=np.empty(num_tokens, np.int32),
        counts=np.zeros(4, np.int64),
        log_scale=np.zeros(1),
    )
    memory.prefixes[0] = (NONE, NONE, NONE, 0, 0, hot_state, lm_state, 0, 0.0, 0.0, 0.0, 0.0, np.inf, np.inf)
    memory.traces[0] = (NONE, 0, 0, 0, 0.0)
    first = memory.beams[0, :1]
    first["p_blank"] = first["best_blank"] = 1.0
    memory.counts[:3] = 1
    return memory


def make_room(memory: Memory) -> Memory:
    """Forget what no hypothesis alive comes from; return the memory, in larger arrays if they are still half full."""
    collect(memory)
    num_prefixes, num_traces = int(memory.counts[PREFIXES]), int(memory.counts[TRACES])
    if 2 * num_traces > len(memory.traces):
        traces = np.empty(2 * len(memory.traces), TRACE)
        traces[:num_traces] = memory.traces[:num_traces]
        memory = memory._replace(traces=traces)
    if 2 * num_prefixes > len(memory.prefixes):
        prefixes = np.empty(2 * len(memory.prefixes), PREFIX)
        prefixes[:num_prefixes] = memory.prefixes[:num_prefixes]
        memory = memory._replace(prefixes=prefixes, table=np.zeros(table_size(len(prefixes)), np.int32))
        link_prefixes(memory)
    return memory


@part
def standing_of(prefix):  # type: ignore[no-untyped-def]
    """Return where the automata stand after a prefix."""
    return Standing(
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
def link_prefixes(memory):  # type: ignore[no-untyped-def]
    """Enter all prefixes but the root into the table, after emptying it."""
    memory.table[:] = 0
    for prefix in range(1, memory.counts[PREFIXES]):
        link_prefix(memory.prefixes, memory.table, prefix)


@compiled_in_place
def common_trace(memory):  # type: ignore[no-untyped-def]
    """Return the last trace that all best paths have in common: what lies before it is decided."""
    beam, traces = memory.beams[0], memory.traces
    common = np.int64(NONE)
    for i in range(2 * memory.counts[HYPOTHESES]):
        hypothesis = beam[i >> 1]
        # A path of probability zero is none.
        if i & 1 == 0:
            other = np.int64(hypothesis.blank_trace if hypothesis.best_blank > 0 else NONE)
        else:
            other = np.int64(hypothesis.token_trace if hypothesis.best_token > 0 else NONE)
        if other == NONE:
            continue
        if common == NONE:
            common = other
        # A trace is made after the one before it, so the higher number is never the common one.
        while common != other:
            if common > other:
                common = np.int64(traces[common].previous)
            else:
                other = np.int64(traces[other].previous)
    return common


@compiled
def collect(memory: Memory) -> None:
    """Forget prefixes and traces that no hypothesis alive comes from, and those before the common trace."""
    prefixes, traces, beam = memory.prefixes, memory.traces, memory.beams[0]
    num_prefixes, num_traces = memory.counts[PREFIXES], memory.counts[TRACES]
    base = common_trace(memory)
    new_trace = np.full(num_traces, NONE, np.int32)
    new_prefix = np.full(num_prefixes, NONE, np.int32)
    new_trace[base] = 0
    new_prefix[traces[base].prefix] = 0
    for i in range(memory.counts[HYPOTHESES]):
        prefix = np.int64(beam[i].prefix)
        while new_prefix[prefix] == NONE:
            new_prefix[prefix] = 0
            prefix = np.int64(prefixes[prefix].parent)
        for trace in (np.int64(beam[i].blank_trace), np.int64(beam[i].token_trace)):
            # Paths of probability zero may lead anywhere: they go to the base.
            while trace > base and new_trace[trace] == NONE:
                new_trace[trace] = 0
                trace = np.int64(traces[trace].previous)
    memory.counts[PREFIXES] = 0
    for i in range(num_prefixes):
        if new_prefix[i] != NONE:
            k = memory.counts[PREFIXES]
            new_prefix[i] = k
            prefixes[k] = prefixes[i]
            prefixes[k].parent = new_prefix[prefixes[i].parent] if k else NONE
            memory.counts[PREFIXES] += 1
    memory.counts[TRACES] = 0
    for i in range(num_traces):
        if new_trace[i] != NONE:
            k = memory.counts[TRACES]
            new_trace[i] = k
            traces[k] = traces[i]
            traces[k].previous = new_trace[traces[i].previous] if k else NONE
            traces[k].prefix = new_prefix[traces[i].prefix]
            memory.counts[TRACES] += 1
    for i in range(memory.counts[HYPOTHESES]):
        beam[i].prefix = new_prefix[beam[i].prefix]
        beam[i].blank_trace = max(0, new_trace[beam[i].blank_trace])
        beam[i].token_trace = max(0, new_trace[beam[i].token_trace])
    link_prefixes(memory)


@compiled
def trace_back(
    memory: Memory, trace: int, end: int, total: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the tokens on a best path, from the first trace in memory on.

    Parameters
    ----------
    memory
        As of the search.
    trace
        Of the last token; NONE for no path.
    end, total
        The frame before which that token ends, and the sum of its log-posteriors.

    Returns
    -------
    rows : int64 (num_tokens, 4)
        Token, entry of the word that ended before it, first frame, end.
    means : float64 (num_tokens,)
        Mean log-posterior of each token over its frames.
    """
    traces, prefixes = memory.traces, memory.prefixes
    count, last = 0, np.int64(trace)
    # The first trace of all, before any token, has none.
    while last != NONE and prefixes[traces[last].prefix].token != NONE:
        count += 1
        last = np.int64(traces[last].previous)
    rows, means = np.empty((count, 4), np.int64), np.empty(count)
    last = np.int64(trace)
    for k in range(count - 1, -1, -1):
        node = traces[last]
        prefix = prefixes[node.prefix]
        rows[k, 0], rows[k, 1], rows[k, 2], rows[k, 3] = prefix.token, prefix.entry, node.start, end
        means[k] = total / (end - node.start)
        end, total = node.previous_end, node.previous_sum
        last = np.int64(node.previous)
    return rows, means
