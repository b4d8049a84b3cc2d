"""A list of words with their pronunciations or spellings: what is heard, and what is written for it."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from asr.errors import DecodingError

Spelling = str | tuple[str, ...]


class LexiconEntry(NamedTuple):
    """A word in one pronunciation.

    Parameters
    ----------
    word
        As it is written.
    spelling
        The sequence of labels by which it is heard, ``("S", "IH", "NG")``; or letters, ``"sing"``, which labels may
        divide in any way.
    log_weight
        Added to the score each time, in nats: the natural logarithm of the pronunciation's probability, or 0.
    """

    word: str
    spelling: str | tuple[str, ...]
    log_weight: float = 0.0


class Lexicon:
    """The only words that a search may say.

    A word is written as it stands, and heard as its spellings: ``{"mr": ["mister", "mr"]}`` of letters, or
    ``{"sing": [("S", "IH", "NG")]}`` of labels. Words may share a spelling (``{"to": ["to"], "two": ["to"]}``): the
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
        pairs = words.items() if isinstance(words, Mapping) else ((word, word) for word in words)
        self._fill(
            LexiconEntry(word, spelling)
            for word, spellings in pairs
            for spelling in ((spellings,) if isinstance(spellings, str | tuple) else spellings or [()])
        )

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, Spelling, float] | LexiconEntry]) -> "Lexicon":
        """Return a lexicon of entries ``(word, spelling, log_weight)``: see `LexiconEntry`.

        Raises
        ------
        DecodingError
            As of the class, or if a weight is not a finite number.
        """
        lexicon = object.__new__(cls)
        lexicon._fill(LexiconEntry(*entry) for entry in entries)
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
        """Read a text file with a word a line, alone or followed by white space and a spelling.

        A spelling is letters together (``mr mister``), or labels one by one, with or without a final ``|``: the
        lexicons of flashlight and wav2letter (``hello<TAB>h e l l o |``) are such files. A word with several
        spellings has several lines.

        Raises
        ------
        DecodingError
            If the file cannot be read or has no words.
        """
        entries = []
        try:
            with Path(path).open(encoding="utf-8-sig") as file:
                for line in file:
                    word, *labels = line.split() or [""]
                    if labels[-1:] in (["|"], ["▁"]):
                        labels.pop()
                    if word:
                        entries.append(LexiconEntry(word, tuple(labels) or word))
        except OSError as error:
            raise DecodingError(f"cannot read the lexicon {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DecodingError(f"the lexicon {path} is not UTF-8: {error}") from error
        return cls.from_entries(entries)

    def _fill(self, entries: Iterable[LexiconEntry]) -> None:
        self.entries = tuple(dict.fromkeys(entries))
        if not self.entries:
            raise DecodingError("the lexicon has no words; expected at least one")
        for entry in self.entries:
            _check(entry)
        self._words = frozenset(entry.word for entry in self.entries)

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        """Tell whether the word is listed."""
        return word in self._words

    def __iter__(self) -> Iterator[str]:
        """Iterate over the words."""
        return iter(self._words)


def _check(entry: LexiconEntry) -> None:
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
