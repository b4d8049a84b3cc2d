"""What tokenizers have in common."""

import itertools
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, UsageError

BLANK = 0
BLANK_TOKEN = "<blank>"
TOKENS = "tokens.json"
SCORES = "token_scores.json"
LEXICON = "lexicon.txt.gz"

# "labels" are those of models that were trained elsewhere.
Kind = Literal["characters", "unigram", "bpe", "phones", "labels"]


class Tokenizer(ABC):
    """Text ↔ token ids.

    Parameters
    ----------
    tokens : sequence of str
        The blank first, each once.

    Raises
    ------
    UsageError
        If the blank is not first, or a token is empty or stands twice.
    """

    kind: Kind

    def __init__(self, tokens: Sequence[str]) -> None:
        if not tokens or tokens[BLANK] != BLANK_TOKEN:
            raise UsageError(f"tokens start with {list(tokens[:1])}; expected {BLANK_TOKEN!r} first")
        twice = [token for token, count in Counter(tokens).items() if count > 1]
        if twice or "" in tokens:
            raise UsageError(f"tokens: more than once: {twice}, empty: {'' in tokens}; expected each once, none empty")
        self.tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(tokens) if index != BLANK}

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    @abstractmethod
    def alphabet(self) -> frozenset[str]:
        """The characters of the texts that can be encoded."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`.

        Raises
        ------
        DataError
            If a character is not in the alphabet; the message names it.
        """

    @abstractmethod
    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames in which CTC can emit each text, ``(N,)`` int64; see `min_frames`.

        Raises
        ------
        DataError
            As `encode`, for the first text with an unknown character.
        """

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of token `ids` without blanks; repeats are kept (a decoder has collapsed them)."""

    def reference(self, text: str) -> str:
        """Return what `decode` gives for a transcript recognised without error: words, or phones as words."""
        return text

    def unknown(self, text: str) -> list[str]:
        """Return what cannot be encoded in `text`, each once: characters, or words for a tokenizer of phones."""
        return sorted(set(text) - self.alphabet)

    def files(self) -> dict[str, str]:
        """Return the files from which `read_tokenizer` makes the tokenizer anew: name → text.

        Those that end in ``.gz`` are to be compressed; `asr.files.write_text` does.
        """
        return {TOKENS: json.dumps(self.tokens, ensure_ascii=False) + "\n"}

    def _refuse(self, text: str) -> DataError:
        unknown = sorted(set(text) - self.alphabet)
        names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown)
        return DataError(
            f"transcript {text!r} has characters outside the model's alphabet: {names}; expected only "
            f"{''.join(sorted(self.alphabet))!r}: normalise the transcript, or train with these characters"
        )


def min_frames(ids: Sequence[int]) -> int:
    """Return the fewest output frames in which CTC can emit `ids`: one each, one more between equal neighbours."""
    return len(ids) + sum(first == second for first, second in itertools.pairwise(ids))
