"""Tokens of several characters, learned by SentencePiece and cut without it."""

import itertools
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, MissingExtraError, UsageError
from asr.tokenizer.base import BLANK, BLANK_TOKEN, SCORES, Tokenizer, min_frames

# Stands for the space before a word, at the beginning of the word's first piece.
WORD_MARK = "▁"

SubwordKind = Literal["unigram", "bpe"]


class SentencePieceTokenizer(Tokenizer):
    """Pieces of words, ``"▁"`` before the first of each word, cut as the SentencePiece library cuts them.

    Only training needs the library. Words are cut one by one, since no piece crosses a space: into the most
    likely sequence of pieces (unigram, Kudo 2018), or by the merges in the order in which they were learned (BPE,
    Sennrich et al. 2016). Any white space counts as one space.

    Parameters
    ----------
    tokens : sequence of str
        The blank first, then the pieces in the library's order, which is that of merges for BPE.
    scores : sequence of float
        Natural logarithms of the pieces' probabilities, one per token; the blank's has no meaning. Empty for BPE.

    Raises
    ------
    UsageError
        If the blank is not first, a token occurs twice, or the number of scores is not that of the tokens.
    """

    def __init__(self, tokens: Sequence[str], scores: Sequence[float] = ()) -> None:
        super().__init__(tokens)
        if scores and len(scores) != len(tokens):
            raise UsageError(f"tokens: got {len(scores)} scores for {len(tokens)} tokens; expected one each, or none")
        self.kind = "unigram" if scores else "bpe"
        # In float32 the library breaks near ties as it does, so they are added in float32 here too.
        self._scores = np.asarray(scores, dtype=np.float32)
        self._longest = max(map(len, self._ids), default=0)
        self._words: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: SubwordKind, vocab_size: int) -> "SentencePieceTokenizer":
        """Return the tokenizer that the SentencePiece library learns from `texts`; the same for the same texts.

        Parameters
        ----------
        texts : iterable of str
        kind : {"unigram", "bpe"}
        vocab_size : int
            Number of tokens, the blank among them.

        Raises
        ------
        UsageError
            If the texts do not yield so many pieces, or have more characters.
        DataError
            If there is no text.
        MissingExtraError
            If sentencepiece is not installed.
        """
        pieces = _train_pieces(sorted(text for text in texts if text), kind, vocab_size)
        # The library's unknown piece comes first, and there is no use for it: its id is the blank's.
        return cls([BLANK_TOKEN, *pieces], [0.0, *pieces.values()] if kind == "unigram" else ())

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The pieces of one character, and the space."""
        return frozenset({piece for piece in self._ids if len(piece) == 1} - {WORD_MARK}) | {" "}

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces of `text`; see `Tokenizer.encode`."""
        ids: list[int] = []
        for word in text.split(" "):
            ids += self._words.get(word) or self._new_word(word, text)
        return ids

    def min_frames(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Return the fewest output frames for each text, ``(N,)`` int64; see `Tokenizer.min_frames`."""
        return np.fromiter((min_frames(self.encode(text)) for text in texts), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words of `ids` without blanks; see `Tokenizer.decode`."""
        pieces = "".join(self.tokens[index] for index in ids if index != BLANK)
        return " ".join(pieces.replace(WORD_MARK, " ").split(" ")).strip(" ")

    def files(self) -> dict[str, str]:
        """Return the tokens, and for unigram models their scores; see `Tokenizer.files`."""
        if self.kind == "bpe":
            return super().files()
        # The shortest decimals that are these float32 values.
        return super().files() | {SCORES: json.dumps([float(str(score)) for score in self._scores]) + "\n"}

    def _new_word(self, word: str, text: str) -> tuple[int, ...]:
        if not self.alphabet.issuperset(word):
            raise self._refuse(text)
        if not word:
            return ()
        cut = self._most_likely if self.kind == "unigram" else self._merged
        self._words[word] = cut(WORD_MARK + word)
        return self._words[word]

    def _most_likely(self, word: str) -> tuple[int, ...]:
        """Cut a word so that its pieces' scores add up to the most (Viterbi)."""
        # best[i]: the highest score of the first i characters, and the id of the last of their pieces.
        best: list[tuple[np.float32, int]] = [(np.float32(0), BLANK)] + [(np.float32(-np.inf), BLANK)] * len(word)
        for first in range(len(word)):
            for end in range(first + 1, min(first + self._longest, len(word)) + 1):
                index = self._ids.get(word[first:end])
                if index is not None and (score := best[first][0] + self._scores[index]) > best[end][0]:
                    best[end] = (score, index)
        ids, end = [], len(word)
        while end:
            ids.append(best[end][1])
            end -= len(self.tokens[ids[-1]])
        return tuple(reversed(ids))

    def _merged(self, word: str) -> tuple[int, ...]:
        """Cut a word by joining neighbours, those first whose joint piece was learned first, the leftmost of equals."""
        pieces = list(word)
        while len(pieces) > 1:
            none = len(self.tokens)
            ranks = [self._ids.get(left + right, none) for left, right in itertools.pairwise(pieces)]
            if (lowest := min(ranks)) == none:
                break
            at = ranks.index(lowest)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        return tuple(self._ids[piece] for piece in pieces)


def _train_pieces(texts: list[str], kind: SubwordKind, vocab_size: int) -> dict[str, float]:
    """Return the pieces that SentencePiece learns, with their scores; its unknown piece, the first, left out."""
    try:
        import sentencepiece
    except ImportError:
        raise MissingExtraError("sentencepiece", "train", "training a subword tokenizer") from None
    import io

    if not texts:
        raise DataError("all transcripts are empty; expected some to train a tokenizer on")
    letters = sorted(set().union(*map(set, texts)) - {" "})
    if vocab_size < len(letters) + 2:
        raise UsageError(
            f"tokenizer.vocab_size is {vocab_size}; expected {len(letters) + 2} or more: the blank, a word's "
            f"start, and each of the transcripts' {len(letters)} characters ({''.join(letters[:50])}"
            f"{'…' if len(letters) > 50 else ''}); for thousands of characters use tokenizer.kind=characters"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            # Every character can be written; transcripts are normalised already.
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=2**30,
            unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1,
            # Sums of floats depend on the number of threads.
            num_threads=1,
            minloglevel=2,
        )  # fmt: skip
    except (RuntimeError, OSError) as error:
        # Without the place in its source, and without advice on options that are not ours.
        reason = str(error).splitlines()[-1].rpartition("] ")[2].partition(". Increase")[0].rstrip(".")
        raise UsageError(
            f"tokenizer.vocab_size is {vocab_size}: SentencePiece cannot make so many {kind} pieces of {len(texts)} "
            f"transcripts with {len(letters)} different characters ({reason})"
        ) from None
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return {pieces.id_to_piece(index): pieces.get_score(index) for index in range(1, len(pieces))}
