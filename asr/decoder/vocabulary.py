"""The words that a beam search knows, as a tree over letters or labels."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.labels import Labels, whole_characters
from asr.decoder.lexicon import Lexicon, Spelling
from asr.decoder.ngram import NGramModel
from asr.decoder.search.trie import TRIE_ENTRY, TRIE_NODE, empty_trie, insert_words, link_nodes, table_size
from asr.errors import DecodingError

# Below this share of words that the labels can write, something is wrong with the choice of the model.
LEAST_COVERAGE = 0.5


@dataclass(frozen=True)
class Alphabet:
    """What words are spelled in, numbered: the characters that the labels add to them, or the labels themselves.

    Characters leave it open how a word is divided into labels (subwords); sequences of labels tell ``S IH NG`` from
    ``S IH N G``.

    Parameters
    ----------
    labels
        Of the model.
    by_label
        Whether the units are labels.
    """

    labels: Labels
    by_label: bool

    @classmethod
    def of(cls, labels: Labels, lexicon: Lexicon | None) -> "Alphabet":
        """Return the labels where a lexicon is spelled in them, else their characters."""
        alphabet = cls(labels, by_label=True)
        if lexicon is None:
            return replace(alphabet, by_label=not labels.has_words)
        if labels.are_subwords and not lexicon.is_of_labels:
            return replace(alphabet, by_label=False)
        fits = lexicon.inventory[0].keys() <= alphabet._ids.keys()
        return alphabet if fits else replace(alphabet, by_label=False)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: i for i, text in enumerate(self.labels.texts) if self.labels.letters[i]}

    @cached_property
    def characters(self) -> tuple[str, ...]:
        """The characters that the labels add to words, in the order of their code points."""
        return tuple(sorted(set("".join(self.labels.spelled))))

    @cached_property
    def _has_bytes(self) -> bool:
        return any("\udc80" <= character <= "\udcff" for character in self.characters)

    def of_labels(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the units of all labels, and where those of each begin (and end): see `units`."""
        if not self.by_label:
            return self._characters_of(self.labels.spelled)
        adds = np.array([bool(letters) for letters in self.labels.letters])
        return np.flatnonzero(adds).astype(np.int32), np.concatenate([[0], np.cumsum(adds)]).astype(np.int32)

    def units(self, spellings: Sequence[Spelling]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the units of all spellings as numbers, -1 for those outside, and where each begins (and ends).

        Returns
        -------
        units : int32 (total length,)
        begins : int32 (len(spellings) + 1,)
        """
        if self.by_label:
            ids = self._ids.get
            units = np.array([ids(piece, -1) for spelling in spellings for piece in spelling], np.int32)
            return units, _begins(spellings)
        return self._characters_of([self._letters(spelling) for spelling in spellings])

    def units_of(self, lexicon: Lexicon) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the units of a lexicon's spellings: see `units`."""
        if not self.by_label:
            return self.units(lexicon.spellings)
        numbers, codes = lexicon.inventory
        return np.array([self._ids.get(piece, -1) for piece in numbers], np.int32)[codes], lexicon.begins

    def _letters(self, spelling: Spelling) -> str:
        if not isinstance(spelling, str):
            ids = self._ids
            spelling = "".join(self.labels.spelled[ids[text]] if text in ids else text for text in spelling)
        if not self._has_bytes or spelling.isascii():
            return spelling
        known = set(self.characters)
        return "".join(
            character if character in known else character.encode("utf-8", "surrogateescape").decode(
                "ascii", "surrogateescape"
            )
            for character in spelling
        )  # fmt: skip

    def _characters_of(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        known = np.array([ord(character) for character in self.characters] or [0], np.uint32)
        places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        return np.where(known[places] == codes, places, -1).astype(np.int32), _begins(texts)

    def check(self, lexicon: Lexicon, what: str) -> None:
        """Refuse words that the labels cannot write.

        Raises
        ------
        DecodingError
            Naming words and what they are spelled with.
        """
        bad = np.flatnonzero(~_fits(*self.units_of(lexicon)))
        if not len(bad):
            return
        wrong = [(lexicon.words[i], self.missing(lexicon.spellings[i])) for i in bad.tolist()]
        shown = ", ".join(f"{word!r} ({', '.join(map(repr, missing)) or 'empty'})" for word, missing in wrong[:5])
        more = f", … ({len(wrong)} in all)" if len(wrong) > 5 else ""
        if self.by_label and not self._is_of_characters:
            raise DecodingError(
                f"{what} are spelled with symbols that are not labels: {shown}{more}; expected labels, such as "
                f"{' '.join(list(self._ids)[:8])}: give words with their spellings, "
                "{'word': [('LABEL', 'LABEL', …)]}"
            )
        raise DecodingError(
            f"{what} have characters that no label contains: {shown}{more}; expected only "
            f"{whole_characters(''.join(self.characters))!r}: normalise them like the model's transcripts, letter case "
            "included"
        )

    @property
    def _is_of_characters(self) -> bool:
        return all(len(letters) <= 1 for letters in self.labels.letters)

    def missing(self, spelling: Spelling) -> tuple[str, ...]:
        """Return the characters or labels of a spelling that the labels do not have."""
        known = self._ids if self.by_label else set(self.characters)
        return tuple(sorted(set(spelling if self.by_label else self._letters(spelling)) - set(known)))


def _fits(units: npt.NDArray[np.int32], begins: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return whether each spelling holds something, and only what the labels have."""
    bad_before = np.concatenate([[0], np.cumsum(units < 0)])
    is_clean = bad_before[begins[1:]] == bad_before[begins[:-1]]
    return np.asarray(is_clean & (begins[1:] > begins[:-1]))


def _begins(spellings: Sequence[Spelling]) -> npt.NDArray[np.int32]:
    begins = np.zeros(len(spellings) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, spellings), np.int64, len(spellings)), out=begins[1:], dtype=np.int32)
    return begins


@dataclass(frozen=True)
class Vocabulary:
    """Words in a trie; adding some makes a new one, so searches under way keep theirs.

    Parameters
    ----------
    alphabet
        Of the labels.
    nodes, table, entries
        The trie (see `asr.decoder.search.trie`).
    written
        How each entry is written.
    is_closed
        Whether other words cannot be said at all (a lexicon), whatever the language model knows.
    """

    alphabet: Alphabet
    nodes: npt.NDArray[Any]
    table: npt.NDArray[np.int32]
    entries: npt.NDArray[Any]
    written: tuple[str, ...] = ()
    is_closed: bool = False

    @cached_property
    def index(self) -> dict[str, list[int]]:
        """The entries of each word."""
        index: dict[str, list[int]] = {}
        _enter(index, self.written, 0)
        return index

    @classmethod
    def of(cls, labels: Labels, model: NGramModel | None, lexicon: Lexicon | None) -> "Vocabulary":
        """Return the words of a lexicon; without one, the words of a model that the labels can write.

        Raises
        ------
        DecodingError
            If a word of the lexicon has a spelling that the labels do not have.
        """
        alphabet = Alphabet.of(labels, lexicon)
        empty = cls(alphabet, *empty_trie(), is_closed=lexicon is not None)
        if lexicon is not None:
            alphabet.check(lexicon, "words of the lexicon")
        elif model is not None:
            lexicon = _writable(model, alphabet)
        return empty if lexicon is None else empty._with(lexicon, model, is_known=False)

    def spelled(self, words: Iterable[str]) -> Lexicon:
        """Return words spelled as they are written; without a lexicon or delimiters, each label is a word."""
        if self.is_closed or self.alphabet.labels.has_words:
            return Lexicon(words)
        return Lexicon({word: [(word,)] for word in words})

    def with_words(
        self, words: Lexicon, model: NGramModel | None, *, what: str = "the added words", is_known: bool = True
    ) -> "Vocabulary":
        """Return the vocabulary with more words; if `is_known`, they count as known whatever the model knows.

        Raises
        ------
        DecodingError
            If a word has a spelling that the labels do not have.
        """
        known = [word for word in words if word in self.index]
        vocabulary = self
        if is_known and known:
            vocabulary = self._with_known([entry for word in known for entry in self.index[word]], model)
        new = [entry for entry in words.entries if entry.spelling != entry.word or entry.word not in self.index]
        if not new:
            return vocabulary
        lexicon = Lexicon.from_entries(new)
        self.alphabet.check(lexicon, what)
        return vocabulary._with(lexicon, model, is_known)

    def _with_known(self, chosen: list[int], model: NGramModel | None) -> "Vocabulary":
        """Return the vocabulary in which some entries count as known."""
        entries, nodes = self.entries.copy(), self.nodes
        chosen = [entry for entry in chosen if entries["is_oov"][entry]]
        if chosen and model is not None:
            nodes = nodes.copy()
            log_prob = model.unigram_log_probs(np.zeros(1, np.int32))[0]
            for node in entries["node"][chosen].tolist():
                while node >= 0:
                    nodes["best"][node] = max(nodes["best"][node], log_prob)
                    node = nodes["parent"][node] if node else -1
        entries["is_oov"][chosen] = False
        result = replace(self, entries=entries, nodes=nodes)
        result.__dict__["index"] = self.index
        return result

    def _with(self, words: Lexicon, model: NGramModel | None, is_known: bool) -> "Vocabulary":
        units, begins = self.alphabet.units_of(words)
        count, num_words = len(words.words), len(self.written)
        word_ids = np.zeros(count, np.int32)
        log_probs = np.zeros(count, np.float32)
        if model is not None:
            word_ids[:] = model.word_ids(words.words)
            log_probs[:] = model.unigram_log_probs(word_ids)
        entries = np.zeros(num_words + count, TRIE_ENTRY)
        entries[:num_words] = self.entries
        added = entries[num_words:]
        added["word_id"] = word_ids
        added["is_oov"] = (word_ids == 0) & (model is not None) & (not is_known)
        added["log_weight"] = words.log_weights
        nodes, table = self._room_for(len(units))
        num_nodes = insert_words((nodes, table, entries), len(self.nodes), units, begins, num_words, log_probs)
        written = (*self.written, *words.words)
        result = replace(self, nodes=nodes[:num_nodes].copy(), table=table, entries=entries, written=written)
        if "index" in self.__dict__:
            index = {**self.index, **{word: [*self.index[word]] for word in words if word in self.index}}
            _enter(index, words.words, num_words)
            result.__dict__["index"] = index
        return result

    def _room_for(self, num_units: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
        """Return copies of the nodes, with room for more, and of their table."""
        nodes = np.zeros(len(self.nodes) + num_units, TRIE_NODE)
        nodes[: len(self.nodes)] = self.nodes
        if table_size(len(nodes)) <= len(self.table):
            return nodes, self.table.copy()
        table = np.zeros(table_size(len(nodes)), np.int32)
        link_nodes(nodes, table, len(self.nodes))
        return nodes, table


def _enter(index: dict[str, list[int]], words: Sequence[str], first_entry: int) -> None:
    for entry, word in enumerate(words, start=first_entry):
        index.setdefault(word, []).append(entry)


def _writable(model: NGramModel, alphabet: Alphabet) -> Lexicon | None:
    """Return the model's words that the labels can write; warn if these are few."""
    words = [word for word in model.words if word not in ("<unk>", "<s>", "</s>")]
    spellings: list[Spelling] = [(word,) for word in words] if alphabet.by_label else list(words)
    fits = _fits(*alphabet.units(spellings)).tolist()
    pairs = list(zip(words, spellings, fits, strict=True))
    result = [(word, spelling, 0.0) for word, spelling, writable in pairs if writable]
    if len(result) < LEAST_COVERAGE * len(words):
        misses = [(word, spelling) for word, spelling, writable in pairs if not writable][:5]
        shown = ", ".join(f"{word!r} ({', '.join(map(repr, alphabet.missing(text)))})" for word, text in misses)
        hint = "each label is a word here" if alphabet.by_label else "does the letter case differ?"
        warnings.warn(
            f"the labels can write {len(result):,} of the language model's {len(words):,} words: no label contains the "
            f"letters of {shown}; the labels have {whole_characters(''.join(alphabet.characters))!r}: {hint}",
            stacklevel=2,
        )
    return Lexicon.from_entries(result) if result else None
