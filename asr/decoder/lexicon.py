"""A list of words with their pronunciations or spellings."""

import io
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.errors import DecodingError
from asr.files import read_text

Spelling = str | tuple[str, ...]


class LexiconEntry(NamedTuple):
    """A word in one pronunciation.

    Parameters
    ----------
    word
        As it is written.
    spelling
        Its sequence of labels, such as ``("S", "IH", "NG")``; or letters, such as ``"sing"``, which labels may
        divide in any way.
    log_weight
        Added to the score each time, in nats: the natural logarithm of the pronunciation's probability, or 0.
    """

    word: str
    spelling: str | tuple[str, ...]
    log_weight: float = 0.0


class Lexicon:
    """The only words that a search may output.

    Spellings say how a word sounds: in letters, ``{"mr": ["mister", "mr"]}``, or in labels,
    ``{"sing": [("S", "IH", "NG")]}``. Words may share a spelling (``{"to": ["to"], "two": ["to"]}``): the
    language model then chooses.

    Parameters
    ----------
    words
        Words that are spelled as they are written; or word → spellings, or one spelling. A text is letters without
        delimiters, a tuple is a sequence of labels.

    Raises
    ------
    DecodingError
        If there is no word, or a word or spelling is empty or holds white space.
    """

    def __init__(self, words: Iterable[str] | Mapping[str, Iterable[Spelling] | Spelling]) -> None:
        if isinstance(words, str):
            raise DecodingError(f"the lexicon is one string, {words!r:.40}; expected words, as in words.split()")
        if isinstance(words, Mapping):
            names: list[str] = []
            spelled: list[Spelling] = []
            for word, spellings in words.items():
                several = (spellings,) if isinstance(spellings, str | tuple) else tuple(spellings) or ((),)
                names += [word] * len(several)
                spelled += several
        else:
            names = list(words)
            spelled = list(names)
        self._fill(names, spelled, [0.0] * len(names))

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, Spelling, float] | LexiconEntry]) -> "Lexicon":
        """Return a lexicon of entries ``(word, spelling, log_weight)``: see `LexiconEntry`.

        Raises
        ------
        DecodingError
            As of the class, or if a weight is not a finite number.
        """
        lexicon = object.__new__(cls)
        rows = list(entries)
        if not all(len(row) == 3 for row in rows):
            raise DecodingError("the lexicon's entries are not all (word, spelling, log_weight)")
        lexicon._fill([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
        return lexicon

    @classmethod
    def from_codes(
        cls,
        words: Sequence[str],
        labels: Sequence[str],
        codes: npt.NDArray[np.int32],
        begins: npt.NDArray[np.int32],
        log_weights: npt.NDArray[np.floating[Any]],
    ) -> "Lexicon":
        """Return a lexicon of columns, for those with hundreds of thousands of entries: nothing is checked.

        Parameters
        ----------
        words
            N of them, each with white space neither in nor around it; no entry occurs twice.
        labels
            All labels of the spellings, each once.
        codes, begins
            int32 (total length,), places in `labels`, and int32 (N + 1,): entry i is spelled by the labels
            ``codes[begins[i]:begins[i + 1]]``, at least one.
        log_weights
            (N,), as of `LexiconEntry`.
        """
        lexicon = object.__new__(cls)
        lexicon.words, lexicon.log_weights = tuple(words), log_weights.astype(np.float32)
        lexicon.begins, lexicon.is_of_labels = begins, True
        lexicon.__dict__["inventory"] = {label: place for place, label in enumerate(labels)}, codes
        return lexicon

    @classmethod
    def of(cls, lexicon: object) -> "Lexicon | None":
        """Return a lexicon, or make one of words or of a file; None of None."""
        if lexicon is None or isinstance(lexicon, Lexicon):
            return lexicon
        if isinstance(lexicon, str | os.PathLike):
            return cls.read(lexicon)
        if isinstance(lexicon, Iterable):
            return cls(lexicon)
        raise DecodingError(f"the lexicon is {lexicon!r:.60}; expected a Lexicon, words, or the path of a lexicon")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Lexicon":
        """Read a text file, maybe packed, with one word per line, alone or followed by white space and a spelling.

        A spelling is letters together (``mr mister``), or labels one by one, with or without a final ``|``: the
        lexicons of flashlight and wav2letter (``hello<TAB>h e l l o |``) are such files. A word with several
        spellings has several lines.

        Raises
        ------
        DecodingError
            If the file cannot be read or has no words.
        """
        words: list[str] = []
        spellings: list[Spelling] = []
        try:
            for line in io.StringIO(read_text(path), newline=None):
                word, *labels = line.split() or [""]
                if labels[-1:] in (["|"], ["▁"]):
                    labels.pop()
                if word:
                    words.append(word)
                    spellings.append(tuple(labels) or word)
        except OSError as error:
            raise DecodingError(f"cannot read the lexicon {path}: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise DecodingError(f"the lexicon {path} is not UTF-8: {error}") from error
        lexicon = object.__new__(cls)
        lexicon._fill(words, spellings, [0.0] * len(words))
        return lexicon

    def _fill(self, words: Sequence[str], spellings: Sequence[Spelling], log_weights: Sequence[float]) -> None:
        if not words:
            raise DecodingError("the lexicon has no words; expected at least one")
        if not _are_texts(words) or not _are_spelled(spellings) or not _are_finite(log_weights):
            for row in zip(words, spellings, log_weights, strict=True):
                _check(LexiconEntry(*row))
        if len(set(words)) < len(words):
            # Of a pronunciation given twice, the first counts.
            seen: dict[tuple[str, Spelling], int] = {}
            first = [i for i, key in enumerate(zip(words, spellings, strict=True)) if seen.setdefault(key, i) == i]
            words, spellings = [words[i] for i in first], [spellings[i] for i in first]
            log_weights = [log_weights[i] for i in first]
        self.words = tuple(words)
        self.__dict__["spellings"] = tuple(spellings)
        self.log_weights = np.array(log_weights, np.float32)
        self.is_of_labels = not any(isinstance(spelling, str) for spelling in spellings)
        self.begins = np.zeros(len(words) + 1, np.int32)
        np.cumsum(np.fromiter(map(len, spellings), np.int64, len(words)), out=self.begins[1:], dtype=np.int32)

    @cached_property
    def _words(self) -> dict[str, None]:
        return dict.fromkeys(self.words)

    @cached_property
    def spellings(self) -> tuple[Spelling, ...]:
        """The spelling of each of `words`."""
        numbers, codes = self.inventory
        labels = list(numbers)
        pieces = [labels[code] for code in codes.tolist()]
        return tuple(tuple(pieces[begin:end]) for begin, end in pairwise(self.begins.tolist()))

    @property
    def entries(self) -> list[LexiconEntry]:
        """The words, each in each pronunciation."""
        weights = self.log_weights.tolist()
        return [LexiconEntry(*row) for row in zip(self.words, self.spellings, weights, strict=True)]

    @cached_property
    def inventory(self) -> tuple[dict[str, int], npt.NDArray[np.int32]]:
        """The distinct letters or labels of the spellings, numbered, and the numbers of all, int32 (total length,)."""
        numbers: defaultdict[str, int] = defaultdict()
        numbers.default_factory = lambda: len(numbers)
        codes = np.fromiter(map(numbers.__getitem__, chain.from_iterable(self.spellings)), np.int32)
        return dict(numbers), codes

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        """Tell whether the word is listed."""
        return word in self._words

    def __iter__(self) -> Iterator[str]:
        """Iterate over the words as they were first listed."""
        return iter(self._words)


def _are_texts(texts: Sequence[object]) -> bool:
    return {*map(type, texts)} == {str} and " ".join(texts).split() == list(texts)  # type: ignore[arg-type]


def _are_spelled(spellings: Sequence[object]) -> bool:
    whole = [spelling for spelling in spellings if isinstance(spelling, str)]
    divided = [spelling for spelling in spellings if isinstance(spelling, tuple)]
    pieces = set(chain.from_iterable(divided))
    return (
        len(whole) + len(divided) == len(spellings)
        and all(divided)
        and (not whole or _are_texts(whole))
        and all(isinstance(piece, str) and piece and not piece.isspace() for piece in pieces)
    )


def _are_finite(values: Sequence[object]) -> bool:
    return {*map(type, values)} <= {int, float} and bool(np.isfinite(np.array(values, np.float64)).all())


def _check(entry: tuple[Any, ...]) -> None:
    word, spelling, log_weight = entry
    pieces = spelling if isinstance(spelling, tuple) else (spelling,)
    if (
        not pieces
        or not all(isinstance(text, str) and text and not text.isspace() for text in (word, *pieces))
        or word.split() != [word]
        or (isinstance(spelling, str) and spelling.split() != [spelling])
    ):
        raise DecodingError(
            f"lexicon: word {word!r} with spelling {spelling!r}; expected one or more, none of them empty or with "
            "white space"
        )
    if not isinstance(log_weight, Real) or not math.isfinite(log_weight):
        raise DecodingError(f"lexicon: word {word!r} with weight {log_weight!r}; expected a finite number")
