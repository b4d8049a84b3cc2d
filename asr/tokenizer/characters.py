"""Tokens of one character."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asr.errors import UsageError
from asr.tokenizer.base import BLANK, BLANK_TOKEN, Tokenizer

# Texts whose characters are counted together.
BLOCK_TEXTS = 65_536


class CharTokenizer(Tokenizer):
    """One token per character; the space is a token like any other and separates words.

    Parameters
    ----------
    tokens : sequence of str
        The blank first, then single characters, each once.

    Raises
    ------
    UsageError
        If the blank is not first, a token is not one character, or a token stands twice.
    """

    kind = "characters"

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__(tokens)
        wrong = [token for token in tokens[1:] if len(token) != 1]
        if wrong:
            raise UsageError(f"tokens: not one character: {wrong}; expected single characters after the blank")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """Return the tokenizer of all characters in `texts`, in the order of their code points."""
        occurs = np.zeros(sys.maxunicode + 1, dtype=bool)
        for _, codes in _blocks(texts):
            occurs[codes] = True
        return cls([BLANK_TOKEN, *map(chr, np.flatnonzero(occurs).tolist())])

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The tokens but the blank."""
        return frozenset(self._ids)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the characters of `text`; see `Tokenizer.encode`."""
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            raise self._refuse(text) from None

    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames for each text, ``(N,)`` int64; see `Tokenizer.min_frames`."""
        needed = [np.zeros(0, dtype=np.int64)]
        unknown = np.ones(sys.maxunicode + 1, dtype=bool)
        unknown[[ord(character) for character in self._ids]] = False
        for block, codes in _blocks(texts):
            if unknown[codes].any():
                self.encode(next(text for text in block if not self.alphabet.issuperset(text)))
            lengths = np.fromiter(map(len, block), dtype=np.int64, count=len(block))
            ends = np.cumsum(lengths)
            repeats = np.append(False, codes[1:] == codes[:-1])[: len(codes)]
            # The first character of a text repeats nothing.
            repeats[(ends - lengths)[lengths > 0]] = False
            owners = np.searchsorted(ends, np.flatnonzero(repeats), side="right")
            needed.append(lengths + np.bincount(owners, minlength=len(block)))
        return np.concatenate(needed)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the characters of `ids` without blanks; see `Tokenizer.decode`."""
        return "".join(self.tokens[index] for index in ids if index != BLANK)


def _blocks(texts: Iterable[str]) -> Iterator[tuple[list[str], NDArray[np.uint32]]]:
    """Yield some texts at a time, with the code points of all their characters in a row."""
    iterator = iter(texts)
    while block := list(itertools.islice(iterator, BLOCK_TEXTS)):
        yield block, np.frombuffer("".join(block).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
