"""Words and phrases that are expected, each with a bonus for being said."""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from asr.decoder.search.fusion import HOT_PLACE, link_places
from asr.decoder.search.trie import TRIE_NODE, link_nodes, table_size
from asr.decoder.vocabulary import Vocabulary
from asr.errors import DecodingError

# A state of the hotwords' automaton, which moves on where a word ends. unit: the word that leads here, by its number;
# fallback: the longest proper suffix that begins a hotword; weight: of all hotwords that end here.
HOT_NODE = np.dtype([*TRIE_NODE.descr, ("fallback", "i4"), ("unused", "i4"), ("weight", "f8")])

DEFAULT_WEIGHT = 5.0
HotwordsLike = Union["Hotwords", Iterable[str], Mapping[str, float], None]


class Hotwords:
    """Phrases with weights.

    Each time that a hypothesis contains a phrase, word for word, the weight is added to the score. While
    a phrase is unfinished, a part of its weight helps the hypothesis to stay in the beam; if the phrase breaks off,
    that part is removed. The words of a phrase get nothing by themselves.

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
        pairs: Iterable[tuple[Any, Any]]
        pairs = phrases.items() if isinstance(phrases, Mapping) else ((phrase, weight) for phrase in phrases)
        self.weights: dict[tuple[str, ...], float] = {}
        for phrase, value in pairs:
            words = tuple(phrase.split()) if isinstance(phrase, str) else ()
            is_number = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
            if not words or not is_number:
                raise DecodingError(f"hotword {phrase!r} with weight {value!r}; expected words and a finite number")
            # A weight of zero changes nothing, so such a phrase is none.
            if value != 0:
                self.weights[words] = float(value)

    @classmethod
    def of(cls, hotwords: HotwordsLike) -> "Hotwords":
        """Return `hotwords` as they are, or make them of phrases; none of None."""
        if hotwords is not None and not isinstance(hotwords, Iterable | Hotwords):
            raise DecodingError(f"the hotwords are {hotwords!r:.60}; expected phrases, or phrase: weight")
        return hotwords if isinstance(hotwords, Hotwords) else cls(() if hotwords is None else hotwords)

    def divided(self, split: Callable[[str], list[str]]) -> "Hotwords":
        """Return the phrases divided into words by `split`."""
        result = Hotwords(())
        result.weights = {tuple(split(" ".join(words))): weight for words, weight in self.weights.items()}
        return result

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the phrases with positive weights, each once."""
        return tuple(dict.fromkeys(word for words, weight in self.weights.items() if weight > 0 for word in words))

    @property
    def unwanted(self) -> tuple[str, ...]:
        """The words of the phrases with negative weights alone, each once."""
        wanted = set(self.words)
        return tuple(dict.fromkeys(word for words in self.weights for word in words if word not in wanted))


class HotArrays(NamedTuple):
    """The automaton of hotwords over words (Aho & Corasick 1975).

    Parameters
    ----------
    nodes, table
        HOT_NODE and int32: the states, and the hash table of their edges (see `asr.decoder.search.trie`).
    places, place_table
        HOT_PLACE and int32: what is credited within words, and a hash table from (hot, word) to places; 0 is empty,
        place 0 is nobody's.
    numbers
        int32, for each entry of the vocabulary its number as a word of hotwords; -1 for none.
    """

    nodes: npt.NDArray[Any]
    table: npt.NDArray[np.int32]
    places: npt.NDArray[Any]
    place_table: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int32]


def build_automaton(hotwords: Hotwords, vocabulary: Vocabulary) -> HotArrays:
    """Return the automaton of hotwords; all their words are in the vocabulary."""
    children: dict[tuple[int, int], int] = {}
    numbers = {
        word: number for number, word in enumerate(dict.fromkeys(w for words in hotwords.weights for w in words))
    }
    paths = []
    for words in hotwords.weights:
        path = [0]
        for word in words:
            path.append(children.setdefault((path[-1], numbers[word]), len(children) + 1))
        paths.append(path)
    nodes = np.zeros(1 + len(children), HOT_NODE)
    for (parent, unit), node in children.items():
        nodes["parent"][node], nodes["unit"][node] = parent, unit
    for path, weight in zip(paths, hotwords.weights.values(), strict=True):
        nodes["weight"][path[-1]] += weight
    _link(nodes, children)
    table = np.zeros(table_size(len(nodes)), np.int32)
    trie = np.zeros(len(nodes), TRIE_NODE)
    trie["parent"], trie["unit"] = nodes["parent"], nodes["unit"]
    link_nodes(trie, table, len(trie))
    nodes["children"] = trie["children"]
    of_entries = np.full(len(vocabulary.entries), -1, np.int32)
    ends: dict[str, list[int]] = {word: [] for word in numbers}
    for word, number in numbers.items():
        for entry in vocabulary.index[word]:
            of_entries[entry] = number
            ends[word].append(int(vocabulary.entries["node"][entry]))
    places, place_table = _places(hotwords, paths, ends, vocabulary.nodes)
    return HotArrays(nodes, table, places, place_table, of_entries)


def _link(nodes: npt.NDArray[Any], children: dict[tuple[int, int], int]) -> None:
    """Write each node's fallback, and add its weight: the hotwords that end there end here too."""
    depths = {0: 0}
    # Nodes are numbered as they are made, parents first.
    for (parent, _), node in children.items():
        depths[node] = depths[parent] + 1
    for (parent, unit), node in sorted(children.items(), key=lambda edge: depths[edge[1]]):
        suffix = int(nodes["fallback"][parent])
        while suffix and (suffix, unit) not in children:
            suffix = int(nodes["fallback"][suffix])
        nodes["fallback"][node] = children.get((suffix, unit), 0) if parent else 0
        nodes["weight"][node] += nodes["weight"][nodes["fallback"][node]]


def _places(
    hotwords: Hotwords, paths: list[list[int]], ends: dict[str, list[int]], trie: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return what is credited within words, by the automaton's state before the word and the node in the trie."""
    potentials: dict[tuple[int, int], float] = {}
    gains: dict[tuple[int, int], float] = {}
    for path, (words, weight) in zip(paths, hotwords.weights.items(), strict=True):
        if weight <= 0:
            continue
        for done, (hot, word) in enumerate(zip(path, words, strict=False)):
            for end in ends[word]:
                spelled = [end]
                while spelled[-1]:
                    spelled.append(int(trie["parent"][spelled[-1]]))
                spelled.reverse()
                # Of the steps of a phrase, letters and ends of words, it is credited with those that are made.
                credits = [weight * (done + k / len(spelled)) / len(words) for k in range(len(spelled))]
                for k, node in enumerate(spelled):
                    key = (hot, node)
                    potentials[key] = max(potentials.get(key, 0.0), credits[k])
                    gains[key] = max(gains.get(key, 0.0), *credits[k + 1 :], 0.0)
    places = np.zeros(1 + len(potentials), HOT_PLACE)
    table = np.zeros(table_size(len(places)), np.int32)
    for place, (key, potential) in enumerate(potentials.items(), start=1):
        places[place] = (*key, potential, gains[key])
    link_places(places, table)
    return places, table
