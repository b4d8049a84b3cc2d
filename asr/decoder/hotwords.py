"""Words and phrases that are expected, each with a bonus for being said."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.trie import TRIE_NODE, link_nodes, table_size
from asr.decoder.vocabulary import Alphabet, check_letters
from asr.errors import DecodingError

# fallback: the longest proper suffix that begins a hotword; weight: of all hotwords that end here; potential: the
# part of its weight that the best unfinished hotword is credited with while it goes on; letter_gain and end_gain: the
# most that weight and potential can come to after one more label that is within the word, or that ends it.
HOT_NODE = np.dtype(
    [
        *(*TRIE_NODE.descr, ("fallback", "i4"), ("unused", "i4"), ("weight", "f8"), ("potential", "f8")),
        *(("letter_gain", "f8"), ("end_gain", "f8")),
    ]
)

DEFAULT_WEIGHT = 5.0


class Hotwords:
    """Phrases with weights.

    Each time that a phrase stands in a hypothesis, as whole words in a row, its weight is added to the score. While
    a phrase is unfinished, a part of its weight helps the hypothesis to stay in the beam; if the phrase breaks off,
    nothing of it remains. A phrase is said as one: its words by themselves get nothing.

    Parameters
    ----------
    phrases
        Phrases, all of one weight; or phrase → weight. Words are separated by spaces.
    weight
        In nats, added to the natural logarithms of the other scores; used where a phrase has no weight of its own. A
        positive weight makes the phrase's words known: neither penalised nor forbidden as out of the vocabulary.
        A negative one makes the phrase less likely.

    Raises
    ------
    DecodingError
        If a phrase is empty or a weight is not finite.
    """

    def __init__(self, phrases: Iterable[str] | Mapping[str, float], weight: float = DEFAULT_WEIGHT) -> None:
        if isinstance(phrases, str):
            raise DecodingError(f"the hotwords are one string, {phrases!r:.40}; expected a list of phrases")
        pairs = phrases.items() if isinstance(phrases, Mapping) else ((phrase, weight) for phrase in phrases)
        self.weights: dict[tuple[str, ...], float] = {}
        for phrase, value in pairs:
            words = tuple(phrase.split()) if isinstance(phrase, str) else ()
            if not words or not isinstance(value, int | float) or not math.isfinite(value):
                raise DecodingError(f"hotword {phrase!r} with weight {value}; expected words and a finite number")
            # A weight of zero changes nothing, so such a phrase is none.
            if value != 0:
                self.weights[words] = float(value)

    @classmethod
    def of(cls, hotwords: "Hotwords | Iterable[str] | Mapping[str, float] | None") -> "Hotwords":
        """Return `hotwords` as they are, or make them of phrases; none of None."""
        return hotwords if isinstance(hotwords, Hotwords) else cls(hotwords or ())

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the phrases with positive weights, each once."""
        return tuple(dict.fromkeys(word for words, weight in self.weights.items() if weight > 0 for word in words))


def build_automaton(hotwords: Hotwords, alphabet: Alphabet) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32], int]:
    """Return the automaton of hotwords over the letters and the boundary between words (Aho & Corasick 1975).

    A phrase is found as ``boundary word boundary word boundary``, so never within a longer word.

    Returns
    -------
    nodes : HOT_NODE (N,)
    table : int32
    start : int
        The state at the start of an utterance: after a boundary.

    Raises
    ------
    DecodingError
        If a hotword has characters that no label writes.
    """
    check_letters((word for words in hotwords.weights for word in words), alphabet, "the hotwords")
    children: dict[tuple[int, int], int] = {}
    start = _insert(children, [alphabet.boundary])[-1]
    paths = []
    for words in hotwords.weights:
        units, begins = alphabet.units(words)
        pattern = [alphabet.boundary]
        for i in range(len(words)):
            pattern += [*units[begins[i] : begins[i + 1]].tolist(), alphabet.boundary]
        paths.append(_insert(children, pattern))
    nodes = np.zeros(1 + len(children), HOT_NODE)
    for (parent, unit), node in children.items():
        nodes["parent"][node], nodes["unit"][node] = parent, unit
    for path, weight in zip(paths, hotwords.weights.values(), strict=True):
        nodes["weight"][path[-1]] += weight
        # Of its n steps after the boundary, the phrase is credited with those that are made.
        credits = weight * np.arange(1, len(path) - 1) / (len(path) - 1)
        nodes["potential"][path[1:-1]] = np.maximum(nodes["potential"][path[1:-1]], credits)
    _link(nodes, children)
    _bound(nodes, children, alphabet.boundary)
    table = np.zeros(table_size(len(nodes)), np.int32)
    trie = np.zeros(len(nodes), TRIE_NODE)
    trie["parent"], trie["unit"] = nodes["parent"], nodes["unit"]
    link_nodes(trie, table, len(trie))
    nodes["children"] = trie["children"]
    return nodes, table, start


def _insert(children: dict[tuple[int, int], int], pattern: list[int]) -> list[int]:
    """Insert a pattern and return its nodes."""
    path = [0]
    for unit in pattern:
        path.append(children.setdefault((path[-1], unit), len(children) + 1))
    return path[1:]


def _link(nodes: npt.NDArray[Any], children: dict[tuple[int, int], int]) -> None:
    """Write each node's fallback, and add its weight: the hotwords that end there end here too."""
    for parent, unit, node in _by_depth(children):
        suffix = int(nodes["fallback"][parent])
        while suffix and (suffix, unit) not in children:
            suffix = int(nodes["fallback"][suffix])
        nodes["fallback"][node] = children.get((suffix, unit), 0) if parent else 0
        nodes["weight"][node] += nodes["weight"][nodes["fallback"][node]]
        # Within an unfinished hotword another may have begun that is worth more.
        potential, fallback = nodes["potential"], nodes["fallback"][node]
        potential[node] = max(potential[node], potential[fallback])


def _bound(nodes: npt.NDArray[Any], children: dict[tuple[int, int], int], boundary: int) -> None:
    """Write the gains: the best along all letters that may follow, here or after falling back."""
    letter_gain, end_gain, potential = nodes["letter_gain"], nodes["end_gain"], nodes["potential"]
    edges = _by_depth(children)
    for parent, unit, node in reversed(edges):
        if unit != boundary:
            letter_gain[parent] = max(letter_gain[parent], potential[node], letter_gain[node])
    for _, _, node in edges:
        letter_gain[node] = max(letter_gain[node], letter_gain[nodes["fallback"][node]])
    for parent, unit, node in edges:
        if unit == boundary:
            end_gain[parent] = max(0.0, nodes["weight"][node] + max(potential[node], letter_gain[node]))
    for _, _, node in edges:
        end_gain[node] = max(end_gain[node], end_gain[nodes["fallback"][node]])


def _by_depth(children: dict[tuple[int, int], int]) -> list[tuple[int, int, int]]:
    """Return (parent, unit, node) of all edges, those nearer to the root first."""
    depths = {0: 0}
    # Nodes are numbered as they are made, parents first.
    for (parent, _), node in children.items():
        depths[node] = depths[parent] + 1
    return sorted(((parent, unit, node) for (parent, unit), node in children.items()), key=lambda edge: depths[edge[2]])
