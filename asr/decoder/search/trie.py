"""A trie in flat arrays, its edges in one hash table: words can be added, and a lookup is one or two memory accesses.

Node 0 is the root. The table holds node numbers, 0 where it is empty; its size is a power of two.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled_in_place, part

# best: the highest log-probability (natural, by the 1-grams) among the words below that count as known; has_oov:
# whether there are others below; entry: first word that ends here; children: bit u % 64 is set if there may be a child
# by unit u, so that most failing lookups touch no other memory.
TRIE_NODE = np.dtype(
    [
        *(("parent", "i4"), ("unit", "i4"), ("best", "f4"), ("entry", "i4")),
        *(("children", "u8"), ("has_oov", "i4"), ("pad", "i4")),
    ]
)
# Where no word below counts as known; finite, so that it can be weighted by 0.
NOTHING = -1e30
# A word that ends at a node: its id in the language model, the next word that ends there (-1 for none), the natural
# logarithm of this pronunciation's weight, and the node.
TRIE_ENTRY = np.dtype(
    [("word_id", "i4"), ("next", "i4"), ("is_oov", "i4"), ("log_weight", "f4"), ("node", "i4"), ("pad", "i4")]
)


def table_size(num_nodes: int) -> int:
    """Return the size of a hash table that is at most half full with so many nodes."""
    return 1 << (2 * num_nodes + 1).bit_length()


@part
def edge_slot(node, unit, size):  # type: ignore[no-untyped-def]
    """Return where the search for an edge begins in a table of `size`: Fibonacci hashing (Knuth, vol. 3, 6.4)."""
    key = np.uint64(node) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(unit) * np.uint64(0xD1B54A32D192ED03)
    return np.int64((key ^ (key >> np.uint64(29))) & np.uint64(size - 1))


@part
def find_child(nodes, table, node, unit):  # type: ignore[no-untyped-def]
    """Return the child of a node by a unit, -1 if there is none."""
    if not (nodes[node].children >> np.uint64(unit & 63)) & np.uint64(1):
        return np.int64(-1)
    slot = edge_slot(node, unit, len(table))
    while table[slot] != 0:
        child = np.int64(table[slot])
        if nodes[child].parent == node and nodes[child].unit == unit:
            return child
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(-1)


@part
def enter_edge(nodes, table, child):  # type: ignore[no-untyped-def]
    """Enter the edge to a node into the table."""
    parent, unit = np.int64(nodes[child].parent), np.int64(nodes[child].unit)
    nodes[parent].children |= np.uint64(1) << np.uint64(unit & 63)
    slot = edge_slot(parent, unit, len(table))
    while table[slot] != 0:
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = child


@compiled_in_place
def link_nodes(nodes, table, num_nodes):  # type: ignore[no-untyped-def]
    """Enter the edges to all nodes but the root into an empty table."""
    for node in range(1, num_nodes):
        enter_edge(nodes, table, node)


@part
def expect(node, log_prob, is_oov):  # type: ignore[no-untyped-def]
    """Note a word below a node."""
    if is_oov:
        node.has_oov = 1
    else:
        node.best = max(node.best, log_prob)


@compiled_in_place
def insert_words(trie, num_nodes, units, begins, first_entry, log_probs):  # type: ignore[no-untyped-def]
    """Insert words into a trie.

    Parameters
    ----------
    trie
        Its nodes, table and entries, with room for what is inserted.
    num_nodes
        Nodes in use.
    units, begins
        int32; word i is spelled ``units[begins[i]:begins[i + 1]]``.
    first_entry
        The entry of the first word; those of the others follow.
    log_probs
        float32 (num_words,), natural log-probability of each word by itself; not read of entries that are `is_oov`.

    Returns
    -------
    num_nodes : int64
    """
    nodes, table, entries = trie
    for i in range(len(begins) - 1):
        node = np.int64(0)
        is_oov = entries[first_entry + i].is_oov
        expect(nodes[0], log_probs[i], is_oov)
        for k in range(begins[i], begins[i + 1]):
            child = find_child(nodes, table, node, units[k])
            if child < 0:
                child = num_nodes
                num_nodes += 1
                nodes[child].parent = node
                nodes[child].unit = units[k]
                nodes[child].best = NOTHING
                nodes[child].entry = -1
                enter_edge(nodes, table, child)
            node = child
            expect(nodes[node], log_probs[i], is_oov)
        entries[first_entry + i].next = nodes[node].entry
        entries[first_entry + i].node = node
        nodes[node].entry = first_entry + i
    return num_nodes


def empty_trie() -> tuple[npt.NDArray[Any], npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Return the nodes, table and entries of a trie without words."""
    nodes = np.zeros(1, TRIE_NODE)
    nodes["entry"] = -1
    nodes["best"] = NOTHING
    return nodes, np.zeros(2, np.int32), np.zeros(0, TRIE_ENTRY)
