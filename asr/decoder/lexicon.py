"""A closed list of words, each with one spelling or several: what is heard, and what is written for it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from asr.errors import DecodingError


class Lexicon:
    """The only words that a search may say.

    A word is written as it stands, and heard as its spellings: ``{"mr": ["mister", "mr"]}``. Words may share a
    spelling (``{"to": ["to"], "two": ["to", "two"]}``): the language model then chooses.

    Parameters
    ----------
    words
        Words that are spelled as they are written; or word → spellings (or one spelling), in letters of the labels
        without delimiters.

    Raises
    ------
    DecodingError
        If there is no word, or a word or spelling is empty or holds white space.
    """

    def __init__(self, words: Iterable[str] | Mapping[str, Iterable[str] | str]) -> None:
        if isinstance(words, str):
            raise DecodingError(f"the lexicon is one string, {words!r:.40}; expected words, as in words.split()")
        pairs: Iterable[tuple[str, Iterable[str] | str]]
        pairs = words.items() if isinstance(words, Mapping) else ((word, word) for word in words)
        self.spellings: dict[str, tuple[str, ...]] = {}
        for word, spellings in pairs:
            found = (spellings,) if isinstance(spellings, str) else tuple(spellings)
            if not found or any(not text or text.split() != [text] for text in (word, *found)):
                raise DecodingError(
                    f"lexicon: word {word!r} with spellings {list(found)}; expected one or more, none of them empty or "
                    "with white space"
                )
            self.spellings[word] = tuple(dict.fromkeys((*self.spellings.get(word, ()), *found)))
        if not self.spellings:
            raise DecodingError("the lexicon has no words; expected at least one")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Lexicon":
        """Read a text file with a word a line, alone or followed by white space and a spelling.

        A spelling is letters, together or one by one, with or without a final ``|``: the lexicons of flashlight and
        wav2letter (``hello<TAB>h e l l o |``) are such files. A word with several spellings has several lines.

        Raises
        ------
        DecodingError
            If the file cannot be read or has no words.
        """
        spellings: dict[str, list[str]] = {}
        try:
            with Path(path).open(encoding="utf-8-sig") as file:
                for line in file:
                    if line.strip():
                        word, *letters = line.split()
                        spellings.setdefault(word, []).append("".join(letters).strip("|▁") or word)
        except OSError as error:
            raise DecodingError(f"cannot read the lexicon {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DecodingError(f"the lexicon {path} is not UTF-8: {error}") from error
        return cls(spellings)

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.spellings)

    def __contains__(self, word: str) -> bool:
        """Tell whether the word is listed."""
        return word in self.spellings
