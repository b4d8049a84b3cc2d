"""The words that a beam search knows, as a trie over the letters of the labels."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.labels import Labels
from asr.decoder.lexicon import Lexicon
from asr.decoder.ngram import NGramModel
from asr.decoder.trie import TRIE_ENTRY, TRIE_NODE, empty_trie, insert_words, link_nodes, table_size
from asr.errors import DecodingError

LN10 = float(np.log(10.0))
# Below this share of words that the labels can write, something is wrong with the choice of the model.
LEAST_COVERAGE = 0.5


@dataclass(frozen=True)
class Alphabet:
    """The characters that the labels can write, numbered; the number after the last stands for a word boundary."""

    characters: tuple[str, ...]

    @classmethod
    def of(cls, labels: Labels) -> "Alphabet":
        """Return the characters of the labels, in the order of their code points."""
        return cls(tuple(sorted(set("".join(labels.letters)))))

    @property
    def boundary(self) -> int:
        """The unit between words."""
        return len(self.characters)

    def units(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the characters of all texts as numbers, -1 for those outside, and where each text begins (and ends).

        Returns
        -------
        units : int32 (total length,)
        begins : int32 (len(texts) + 1,)
        """
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        known = np.array([ord(character) for character in self.characters] or [0], np.uint32)
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        units = np.where(known[places] == codes, places, -1).astype(np.int32)
        begins = np.zeros(len(texts) + 1, np.int32)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=begins[1:], dtype=np.int32)
        return units, begins

    def missing(self, text: str) -> str:
        """Return the characters of `text` that no label writes."""
        return "".join(sorted(set(text) - set(self.characters)))


@dataclass(frozen=True)
class Vocabulary:
    """Words in a trie; adding some makes a new one, so searches under way keep theirs.

    Parameters
    ----------
    alphabet
        Of the labels.
    nodes, table, entries
        The trie (see `asr.decoder.trie`).
    written
        How each entry is written.
    is_closed
        Whether other words cannot be said at all (a lexicon), whatever the options.
    """

    alphabet: Alphabet
    nodes: npt.NDArray[Any]
    table: npt.NDArray[np.int32]
    entries: npt.NDArray[Any]
    written: tuple[str, ...] = ()
    is_closed: bool = False

    @classmethod
    def of(cls, labels: Labels, model: NGramModel | None, lexicon: Lexicon | None) -> "Vocabulary":
        """Return the words of a lexicon; without one, the words of a model that the labels can write.

        Raises
        ------
        DecodingError
            If a word of the lexicon has characters that no label writes.
        """
        alphabet = Alphabet.of(labels)
        empty = cls(alphabet, *empty_trie(), is_closed=lexicon is not None)
        if lexicon is not None:
            pairs = [(word, spelling) for word, spellings in lexicon.spellings.items() for spelling in spellings]
            written, spelled = zip(*pairs, strict=True)
            check_letters(spelled, alphabet, "the lexicon")
            return empty._with(written, spelled, model, is_known=False)
        if model is None:
            return empty
        return empty._with(*(2 * (_writable(model, alphabet),)), model, is_known=False)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.written)

    def with_words(self, words: Iterable[str], model: NGramModel | None) -> "Vocabulary":
        """Return the vocabulary with more words, which count as known even if the model does not know them.

        Raises
        ------
        DecodingError
            If a word has characters that no label writes, or is none.
        """
        if isinstance(words, str):
            raise DecodingError(f"the words to add are one string, {words!r:.40}; expected a list, as in words.split()")
        asked = dict.fromkeys(words)
        new = tuple(word for word in asked if word not in self._known)
        check_letters(new, self.alphabet, "the added words")
        entries = self.entries.copy()
        # Words of a lexicon that the model does not list are known from now on, too.
        entries["is_oov"][[index for index, word in enumerate(self.written) if word in asked]] = False
        known = replace(self, entries=entries)
        return known._with(new, new, model, is_known=True) if new else known

    def _with(
        self, written: Sequence[str], spelled: Sequence[str], model: NGramModel | None, is_known: bool
    ) -> "Vocabulary":
        units, begins = self.alphabet.units(spelled)
        word_ids = np.zeros(len(written), np.int32)
        log_probs = np.zeros(len(written), np.float32)
        if model is not None:
            word_ids[:] = [model.word_id(word) for word in written]
            log_probs[:] = model.query_arrays[1][word_ids + 1] * LN10
        room = len(self.nodes) + len(units)
        nodes, table = np.zeros(room, TRIE_NODE), np.zeros(table_size(room), np.int32)
        entries = np.zeros(len(self.entries) + len(written), TRIE_ENTRY)
        entries[: len(self.entries)] = self.entries
        nodes[: len(self.nodes)] = self.nodes
        added = entries[len(self.entries) :]
        added["word_id"] = word_ids
        added["is_oov"] = (word_ids == 0) & (model is not None) & (not is_known)
        link_nodes(nodes, table, len(self.nodes))
        trie = (nodes, table, entries)
        count = insert_words(trie, len(self.nodes), units, begins, len(self.entries), log_probs)
        return replace(
            self, nodes=nodes[:count].copy(), table=table, entries=entries, written=(*self.written, *written)
        )


def check_letters(words: Iterable[str], alphabet: Alphabet, what: str) -> None:
    """Refuse words that the labels cannot write.

    Raises
    ------
    DecodingError
        Naming words and characters.
    """
    wrong = [(word, alphabet.missing(word)) for word in words if not word or alphabet.missing(word)]
    if wrong:
        shown = ", ".join(f"{word!r} ({', '.join(map(repr, missing)) or 'empty'})" for word, missing in wrong[:5])
        raise DecodingError(
            f"{what} hold characters that no label writes: {shown}{', …' if len(wrong) > 5 else ''}; expected only "
            f"{''.join(alphabet.characters)!r}: normalise them, letter case included, as the model's transcripts were"
        )


def _writable(model: NGramModel, alphabet: Alphabet) -> list[str]:
    """Return the model's words that the labels can write; warn if these are few."""
    words = [word for word in model.words if word not in ("<unk>", "<s>", "</s>")]
    units, begins = alphabet.units(words)
    bad_before = np.concatenate([[0], np.cumsum(units < 0)])
    is_writable = bad_before[begins[1:]] == bad_before[begins[:-1]]
    result = [word for word, writable in zip(words, is_writable.tolist(), strict=True) if writable]
    if len(result) < LEAST_COVERAGE * len(words):
        misses = [word for word, writable in zip(words, is_writable.tolist(), strict=True) if not writable][:5]
        shown = ", ".join(f"{word!r} ({', '.join(map(repr, alphabet.missing(word)))})" for word in misses)
        warnings.warn(
            f"the labels can write {len(result):,} of the language model's {len(words):,} words: no label writes the "
            f"letters of {shown}; the labels hold {''.join(alphabet.characters)!r}: does the letter case differ?",
            stacklevel=2,
        )
    return result
