"""Text ↔ token ids for CTC. Token 0 is the blank."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from asr.errors import DataError, UsageError

BLANK = 0
BLANK_TOKEN = "<blank>"


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

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token `ids` without blanks; repeats are kept (a decoder has collapsed them)."""
        return "".join(self.tokens[index] for index in ids if index != BLANK)


def min_frames(ids: Sequence[int]) -> int:
    """Return the fewest output frames in which CTC can emit `ids`: one each, one more between equal neighbours."""
    return len(ids) + sum(first == second for first, second in itertools.pairwise(ids))
