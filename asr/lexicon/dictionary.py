"""Words and their pronunciations."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from operator import eq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asr.errors import DataError, UsageError
from asr.lexicon.coding import CodedPhones, code_phones

# CMUdict writes the stress of a vowel after it: AH0, EY1, OW2.
STRESSED = re.compile(r"(?<=[A-Z])[012](?= |$)")


class Pronunciation(NamedTuple):
    """One way to say a word.

    Parameters
    ----------
    phones
        In order, at least one.
    log_weight
        Natural logarithm of its weight relative to the word's other pronunciations, at most 0, which is neutral.
    """

    phones: tuple[str, ...]
    log_weight: float = 0.0

    @property
    def probability(self) -> float:
        """The weight itself, in 0..1."""
        return math.exp(self.log_weight)


class Entry(NamedTuple):
    """A word with one of its pronunciations; the fields of `Pronunciation` after the word."""

    word: str
    phones: tuple[str, ...]
    log_weight: float = 0.0


class PronouncingDictionary(Mapping[str, tuple[Pronunciation, ...]]):
    """Word → its pronunciations, the preferred one first.

    The preferred one has the highest weight, or, of equals, was listed first. A pronunciation that is
    listed twice keeps its first place and its higher weight.

    Parameters
    ----------
    entries
        ``(word, phones)`` or ``(word, phones, natural log-weight)``; entries of a word need not be neighbours.

    Raises
    ------
    DataError
        If there is no entry, a word or phone is empty or holds white space, or a log-weight is above 0.

    Examples
    --------
    >>> lexicon = PronouncingDictionary([("a", ["AH"]), ("sing", ["S", "IH", "NG"]), ("a", ["EY"])])
    >>> lexicon["a"]
    (Pronunciation(phones=('AH',), log_weight=0.0), Pronunciation(phones=('EY',), log_weight=0.0))
    """

    def __init__(self, entries: Iterable[tuple[str, Sequence[str]] | tuple[str, Sequence[str], float]]) -> None:
        spoken: dict[str, dict[str, float]] = {}
        for word, phones, *rest in entries:
            log_weight = float(rest[0]) if rest else 0.0
            joined = " ".join(phones) if not isinstance(phones, str) else ""
            is_number = -math.inf < log_weight <= 0.0
            if not joined or joined.split() != list(phones) or word.split() != [word] or not is_number:
                raise DataError(
                    f"lexicon: word {word!r} with phones {phones!r:.80} and log-weight {log_weight:g}; expected a "
                    "word, a list of one or more phones, none empty or with white space, and a log-weight of at most 0"
                )
            known = spoken.setdefault(word, {})
            known[joined] = max(known.get(joined, -math.inf), log_weight)
        self._set(spoken)

    def _set(self, spoken: Mapping[str, Mapping[str, float]]) -> None:
        if not spoken:
            raise DataError("the lexicon has no entries; expected at least one word with its phones")
        rows = [
            (word, joined, known[joined])
            for word, known in spoken.items()
            for joined in sorted(known, key=lambda joined: -known[joined])
        ]
        self._fill([row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows]))

    def _fill(self, words: list[str], sounds: list[str], log_weights: npt.NDArray[np.float64]) -> None:
        # One row per pronunciation, those of a word together, the preferred one first. Columns are ready at once, where
        # objects for 10⁵ words would take most of the time in which a recogniser starts.
        self._words, self._sounds, self._log_weights = words, sounds, log_weights

    @classmethod
    def _of(cls, spoken: Mapping[str, Mapping[str, float]]) -> "PronouncingDictionary":
        """Return a dictionary of pronunciations already checked: word → phones joined by spaces → log-weight."""
        result = cls.__new__(cls)
        result._set(spoken)
        return result

    @classmethod
    def from_columns(
        cls, words: list[str], sounds: list[str], log_weights: npt.NDArray[np.float64]
    ) -> "PronouncingDictionary":
        """Return the dictionary of entries in columns, which are not looked at one by one.

        Parameters
        ----------
        words, sounds
            At least one; the phones are joined by single spaces.
        log_weights
            float64 (N,), natural logarithms, at most 0.
        """
        result = cls.__new__(cls)
        result._fill(words, sounds, log_weights)
        return result if result._is_in_order() else cls(result.entries())

    def _is_in_order(self) -> bool:
        """Whether the rows of each word are neighbours, the preferred one first, and none is there twice."""
        words, sounds, log_weights = self._words, self._sounds, self._log_weights
        repeated = np.flatnonzero(np.fromiter(map(eq, words, islice(words, 1, None)), np.bool_, len(words) - 1)) + 1
        if len(set(words)) != len(words) - len(repeated) or (log_weights[repeated] > log_weights[repeated - 1]).any():
            return False
        pairs = {(words[row], sounds[row]) for row in {*repeated.tolist(), *(repeated - 1).tolist()}}
        return len(pairs) == len({*repeated.tolist(), *(repeated - 1).tolist()})

    @cached_property
    def _rows(self) -> dict[str, int]:
        """The first row of each word, in the order of the rows."""
        first: dict[str, int] = {}
        for row, word in enumerate(self._words):
            first.setdefault(word, row)
        return first

    def _rows_of(self, word: str) -> range:
        end = first = self._rows[word]
        while end < len(self._words) and self._words[end] == word:
            end += 1
        return range(first, end)

    def __getitem__(self, word: str) -> tuple[Pronunciation, ...]:
        """Return the word's pronunciations, the preferred one first."""
        return tuple(
            Pronunciation(tuple(self._sounds[row].split(" ")), float(self._log_weights[row]))
            for row in self._rows_of(word)
        )

    def __iter__(self) -> Iterator[str]:
        """Yield the words as they were first listed."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._rows)

    def __contains__(self, word: object) -> bool:
        """Tell whether the word is listed."""
        return word in self._rows

    @property
    def num_entries(self) -> int:
        """The number of pronunciations of all words."""
        return len(self._words)

    @property
    def columns(self) -> tuple[list[str], npt.NDArray[np.float64]]:
        """The word and the log-weight of each of `entries`; their phones are in `coded`."""
        return self._words, self._log_weights

    @cached_property
    def coded(self) -> CodedPhones:
        """The phones of `entries`, as numbers."""
        return code_phones(self._sounds)

    @property
    def phones(self) -> tuple[str, ...]:
        """All phones, sorted."""
        return self.coded.phones

    @property
    def is_weighted(self) -> bool:
        """Whether any pronunciation has a weight."""
        return bool(self._log_weights.any())

    def entries(self) -> Iterator[Entry]:
        """Yield all pronunciations of all words, as a decoder's lexicon takes them."""
        for word, joined, log_weight in zip(self._words, self._sounds, self._log_weights.tolist(), strict=True):
            yield Entry(word, tuple(joined.split(" ")), log_weight)

    def preferred(self, word: str) -> tuple[str, ...]:
        """Return the phones of the preferred pronunciation of a word.

        Raises
        ------
        KeyError
            If it is not listed.
        """
        return tuple(self._sounds[self._rows[word]].split(" "))

    def missing(self, words: Iterable[str]) -> list[str]:
        """Return the words that are not listed, each once, as they first occur."""
        return [word for word in dict.fromkeys(words) if word not in self._rows]

    def without_stress(self) -> "PronouncingDictionary":
        """Return the dictionary with CMUdict's vowels without their stress: ``AH0`` becomes ``AH``.

        Pronunciations that differ only in stress become one.
        """
        spoken: dict[str, dict[str, float]] = {}
        for word, joined, log_weight in zip(self._words, self._sounds, self._log_weights.tolist(), strict=True):
            merged, plain = spoken.setdefault(word, {}), STRESSED.sub("", joined)
            merged[plain] = max(merged.get(plain, -math.inf), log_weight)
        return self._of(spoken)

    def with_entries(
        self, entries: Iterable[tuple[str, Sequence[str]] | tuple[str, Sequence[str], float]]
    ) -> "PronouncingDictionary":
        """Return the dictionary with more entries; those that it has come first.

        Raises
        ------
        DataError
            As for the dictionary itself.
        """
        more = [*entries]
        if any(entry[0] in self for entry in more) or not more:
            return type(self)([*self.entries(), *more])
        new = type(self)(more)
        return self.from_columns(
            self._words + new._words, self._sounds + new._sounds, np.concatenate([self._log_weights, new._log_weights])
        )

    def only(self, words: Iterable[str]) -> "PronouncingDictionary":
        """Return a dictionary with only those of its words that are in `words`, in its own order.

        Raises
        ------
        DataError
            If it has none of them.
        """
        wanted = frozenset(words)
        return type(self)(entry for entry in self.entries() if entry.word in wanted)

    def check_phones(self, known: Iterable[str], whose: str) -> None:
        """Refuse phones that are not among those `known`.

        Raises
        ------
        UsageError
            Naming them, each with a word.
        """
        unknown = sorted(set(self.phones) - set(known))
        if not unknown:
            return
        words = {phone: entry.word for entry in self.entries() for phone in entry.phones}
        shown = ", ".join(f"{phone!r} (in {words[phone]!r})" for phone in unknown[:10])
        hint = (
            "; do they have stress marks, such as AH0?"
            if {STRESSED.sub("", phone) for phone in unknown} & set(known)
            else ""
        )
        raise UsageError(
            f"the lexicon has {len(unknown)} phones that {whose} lacks: {shown}{', …' if len(unknown) > 10 else ''}; "
            f"expected only {' '.join(sorted(known))}{hint}"
        )
