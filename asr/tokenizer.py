"""Text ↔ token ids for CTC. Token 0 is the blank."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, UsageError

BLANK = 0
BLANK_TOKEN = "<blank>"
# Texts whose characters are counted together.
BLOCK_TEXTS = 65_536


class CharTokenizer:
    """One token a character; the space is a token like any other and separates words.

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
        if not tokens or tokens[BLANK] != BLANK_TOKEN:
            raise UsageError(f"tokens start with {list(tokens[:1])}; expected {BLANK_TOKEN!r} first")
        wrong = [token for token in tokens[1:] if len(token) != 1]
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        if wrong or twice:
            raise UsageError(
                f"tokens: not one character: {wrong}, more than once: {twice}; expected each character once"
            )
        self.tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(tokens) if index != BLANK}

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "CharTokenizer":
        """Return the tokenizer of all characters in `texts`, in the order of their code points."""
        characters = sorted(set().union(*map(set, texts)))
        return cls([BLANK_TOKEN, *characters])

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the characters of `text`.

        Raises
        ------
        DataError
            If a character is not among the tokens; the message names it.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            unknown = sorted(set(text) - set(self._ids))
            names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown)
            raise DataError(
                f"transcript {text!r} has characters outside the model's alphabet: {names}; expected only "
                f"{''.join(self.tokens[1:])!r}: normalise the transcript, or train with these characters"
            ) from None

    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames in which CTC can emit each text, ``(N,)`` int64; see `min_frames`.

        Raises
        ------
        DataError
            As `encode`, for the first text with an unknown character.
        """
        needed = [np.zeros(0, dtype=np.int64)]
        iterator = iter(texts)
        while block := list(itertools.islice(iterator, BLOCK_TEXTS)):
            unknown = set().union(*map(set, block)) - set(self._ids)
            if unknown:
                self.encode(next(text for text in block if unknown & set(text)))
            lengths = np.fromiter(map(len, block), dtype=np.int64, count=len(block))
            codes = np.frombuffer("".join(block).encode("utf-32-le"), dtype=np.uint32)
            repeats = np.append(0, np.cumsum(codes[1:] == codes[:-1]))
            ends = np.cumsum(lengths)
            # Character i repeats the one before it where repeats[i] is more than repeats[i - 1].
            last, first = np.maximum(ends - 1, 0), np.minimum(ends - lengths, max(0, len(codes) - 1))
            needed.append(lengths + np.where(lengths > 0, repeats[last] - repeats[first], 0))
        return np.concatenate(needed)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token `ids` without blanks; repeats are kept (a decoder has collapsed them)."""
        return "".join(self.tokens[index] for index in ids if index != BLANK)


def min_frames(ids: Sequence[int]) -> int:
    """Return the fewest output frames in which CTC can emit `ids`: one each, one more between equal neighbours."""
    return len(ids) + sum(first == second for first, second in itertools.pairwise(ids))
