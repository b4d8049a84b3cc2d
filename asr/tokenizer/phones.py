"""Tokens are phones, which a lexicon gives for each word."""

import json
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, UsageError
from asr.lexicon import PronouncingDictionary
from asr.lexicon.formats import format_lexicon
from asr.tokenizer.base import BLANK, BLANK_TOKEN, LEXICON, TOKENS, Tokenizer, min_frames

# Between words: the delimiter of flashlight's and Hugging Face's models.
WORD_BOUNDARY = "|"


class PhoneTokenizer(Tokenizer):
    """The phones of the words' preferred pronunciations, with ``"|"`` between words where the tokens have it.

    Several words may have the same phones, so `decode` gives phones, not words: words need a search with the
    lexicon and a language model.

    Parameters
    ----------
    tokens : sequence of str
        The blank first, then the phones, and ``"|"`` if words are to be told apart.
    lexicon : PronouncingDictionary
        The pronunciations of all words that are to be encoded.

    Raises
    ------
    UsageError
        If the blank is not first, a token occurs twice, or the lexicon has phones that are not tokens.
    """

    kind = "phones"

    def __init__(self, tokens: Iterable[str], lexicon: PronouncingDictionary) -> None:
        super().__init__(tuple(tokens))
        self.lexicon = lexicon
        lexicon.check_phones(self.phones, "the tokenizer")
        self._words: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_lexicon(cls, lexicon: PronouncingDictionary, *, word_boundary: bool = True) -> "PhoneTokenizer":
        """Return the tokenizer of a lexicon's phones, in alphabetical order.

        Raises
        ------
        UsageError
            If a phone has the name of the blank or of the word boundary.
        """
        reserved = {BLANK_TOKEN, WORD_BOUNDARY}.intersection(lexicon.phones)
        if reserved:
            raise UsageError(f"the lexicon has phones named {', '.join(sorted(reserved))}: give them other names")
        return cls([BLANK_TOKEN, *[WORD_BOUNDARY] * word_boundary, *lexicon.phones], lexicon)

    @property
    def phones(self) -> tuple[str, ...]:
        """The tokens but the blank and the word boundary."""
        return tuple(token for token in self.tokens[1:] if token != WORD_BOUNDARY)

    @property
    def between(self) -> tuple[int, ...]:
        """The ids between words: the word boundary's, or none."""
        return (self._ids[WORD_BOUNDARY],) if WORD_BOUNDARY in self._ids else ()

    def ids(self, phones: Iterable[str]) -> tuple[int, ...]:
        """Return the ids of phones, which must be tokens."""
        return tuple(self._ids[phone] for phone in phones)

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The characters of the lexicon's words, and the space."""
        return frozenset("".join(self.lexicon)) | {" "}

    def encode(self, text: str) -> list[int]:
        """Return the ids of the phones of `text`; see `Tokenizer.encode`.

        Raises
        ------
        DataError
            If the lexicon lacks a word; the message names it.
        """
        between = self.between
        ids: list[int] = []
        for word in text.split():
            if ids:
                ids += between
            ids += self._words.get(word) or self._new_word(word, text)
        return ids

    def _new_word(self, word: str, text: str) -> tuple[int, ...]:
        if word not in self.lexicon:
            raise DataError(
                f"transcript {text!r:.200}: the lexicon has no pronunciation of {word!r}; expected words of "
                "the lexicon: add it (asr lexicon extend), or normalise the transcript"
            )
        self._words[word] = self.ids(self.lexicon.preferred(word))
        return self._words[word]

    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames for each text, ``(N,)`` int64; see `Tokenizer.min_frames`."""
        return np.fromiter((min_frames(self.encode(text)) for text in texts), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the phones of `ids`, separated by spaces, without blanks and word boundaries."""
        return " ".join(self.tokens[index] for index in ids if index != BLANK and self.tokens[index] != WORD_BOUNDARY)

    def reference(self, text: str) -> str:
        """Return the phones of `text`, separated by spaces; see `Tokenizer.reference`."""
        return self.decode(self.encode(text))

    def unknown(self, text: str) -> list[str]:
        """Return the words of `text` that the lexicon lacks; see `Tokenizer.unknown`."""
        return self.lexicon.missing(text.split())

    def files(self) -> dict[str, str]:
        """Return the tokens and the lexicon; see `Tokenizer.files`."""
        return {TOKENS: json.dumps(self.tokens, ensure_ascii=False) + "\n", LEXICON: format_lexicon(self.lexicon)}
