"""Tokens of models that were trained elsewhere: whatever their vocabulary holds."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asr.decoder import Labels
from asr.decoder.labels import BYTE_LABEL
from asr.errors import UsageError
from asr.tokenizer.base import BLANK, Tokenizer, min_frames


class LabelTokenizer(Tokenizer):
    """Characters, or pieces of words, with the marks and special tokens of any toolkit; see `asr.decoder.Labels`.

    Texts are cut into the fewest tokens: the vocabulary does not say how the toolkit would cut them.

    Parameters
    ----------
    tokens : sequence of str
        The blank first, each once.

    Raises
    ------
    UsageError
        If the blank is not first, or a token is empty or stands twice.
    """

    kind = "labels"

    def __init__(self, tokens: Sequence[str]) -> None:
        super().__init__(tokens)
        self._labels = Labels(tokens, BLANK)

    @cached_property
    def _surfaces(self) -> dict[str, int]:
        """What each token that is written adds to a text, spaces included, and its id."""
        labels, surfaces = self._labels, dict[str, int]()
        for index in range(1, len(self)):
            space = " " * (labels.has_words and labels.begins_word[index])
            surface = space + labels.letters[index]
            if surface and not BYTE_LABEL.fullmatch(self.tokens[index]):
                surfaces.setdefault(surface, index)
        return surfaces

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The characters of all tokens, and the space where there are words."""
        return frozenset("".join(self._surfaces))

    def encode(self, text: str) -> list[int]:
        """Return the ids of the fewest tokens that write `text`; see `Tokenizer.encode`."""
        target = self._labels.join(text.split())
        if self._labels.are_subwords and target:
            target = " " + target
        longest = max(map(len, self._surfaces), default=0)
        # best[i]: how many tokens write the first i characters, and the last of them.
        best: list[tuple[float, str]] = [(0, "")] + [(np.inf, "")] * len(target)
        for end in range(1, len(target) + 1):
            for first in range(max(0, end - longest), end):
                piece = target[first:end]
                if piece in self._surfaces and best[first][0] + 1 < best[end][0]:
                    best[end] = (best[first][0] + 1, piece)
        if best[-1][0] == np.inf:
            raise self._refuse(text)
        ids, end = [], len(target)
        while end:
            ids.append(self._surfaces[best[end][1]])
            end -= len(best[end][1])
        return ids[::-1]

    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames for each text, ``(N,)`` int64; see `Tokenizer.min_frames`."""
        return np.fromiter((min_frames(self.encode(text)) for text in texts), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids` without blanks; see `Tokenizer.decode`."""
        return self._labels.text(index for index in ids if index != BLANK)


def with_blank_first(tokens: Sequence[str], blank: int, blank_token: str) -> list[str]:
    """Return tokens with the blank, which may stand anywhere and have any name, as `blank_token` in front.

    Raises
    ------
    UsageError
        If another token has that name.
    """
    rest = [token for index, token in enumerate(tokens) if index != blank]
    if blank_token in rest:
        raise UsageError(f"the vocabulary has {blank_token!r}, but its blank is {tokens[blank]!r}; expected one blank")
    return [blank_token, *rest]
