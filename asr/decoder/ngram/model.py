"""A back-off n-gram language model in memory: its words, its arrays, and scores of sentences."""

import math
import os
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import writeable
from asr.decoder.ngram import kenlm
from asr.decoder.ngram.arpa import read_arpa, write_arpa
from asr.decoder.ngram.binary import FAMILY, read_binary, write_binary
from asr.decoder.ngram.quantised import ZIP, read_quantised, write_quantised
from asr.decoder.ngram.query import HASHED, QueryArrays, advance, score_stream, score_unigrams
from asr.decoder.ngram.text import BOS, EOS, UNK, check_sentences
from asr.decoder.ngram.trie import Level, build_trie, split_trie
from asr.errors import DecodingError
from asr.files import atomic_path

# Names under which models of tokens list the word delimiter, which ARPA files cannot list as a space.
DELIMITER_NAMES = ("|", "▁", "<space>", "<sp>")
# No label writes it.
HIDDEN = "\0"
# What `write` writes, told by the end of the name.
SUFFIXES = (".arpa", ".arpa.gz", ".arpa.bz2", ".arpa.xz", ".arpa.zst", ".bin", ".npz")


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text: the lower, the better.

    Parameters
    ----------
    with_oov
        exp(-mean log-probability) over all words and sentence ends; unknown words count as ``<unk>``.
    without_oov
        The same over known words and sentence ends only.
    num_tokens
        Words and sentence ends.
    num_oov
        Words that the model does not know.
    num_sentences
        Non-blank lines.
    """

    with_oov: float
    without_oov: float
    num_tokens: int
    num_oov: int
    num_sentences: int


class NGramModel:
    """A back-off n-gram model over words (or over tokens: whatever strings it was made of).

    Word ids run from 0; 0 is ``<unk>``. States are nodes of `query_arrays` (see `asr.decoder.ngram.query`):
    take `start_state` at the start of a sentence, or `empty_state` for no context, and call `advance`, or the
    compiled `asr.decoder.ngram.query.advance` from a Numba kernel. Log-probabilities are natural logarithms.

    Parameters
    ----------
    packed_words
        The words in the order of their ids, UTF-8, joined by line feeds; the first is ``<unk>``.
    query_arrays
        As `asr.decoder.ngram.query` describes.
    counts
        The number of n-grams of each order.
    """

    empty_state = 0

    def __init__(self, packed_words: bytes, query_arrays: QueryArrays, counts: tuple[int, ...]) -> None:
        self.packed_words = packed_words
        self.query_arrays = query_arrays
        self.counts = counts

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.query_arrays = writeable(self.query_arrays)

    @classmethod
    def from_levels(cls, words: Sequence[str], levels: list[Level]) -> "NGramModel":
        """Build a model from its words and its n-grams, lowest order first."""
        return cls("\n".join(words).encode(), build_trie(levels), tuple(map(len, levels)))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "NGramModel":
        """Read an ARPA file (plain or packed), a KenLM probing binary, or one of our own two, recognised by content.

        Raises
        ------
        DecodingError
            If the file is missing, cut short, inconsistent, or of no such kind; the message names ARPA's line.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                head = file.peek(64)[:64]
                if head.startswith(FAMILY):
                    return cls(*read_binary(path))
                if head.startswith(kenlm.FAMILY):
                    return cls(*kenlm.read_kenlm(path))
                if head.startswith(ZIP):
                    packed_words, levels = read_quantised(path)
                    return cls(packed_words, build_trie(levels), tuple(map(len, levels)))
                return cls.from_levels(*read_arpa(path, file))
        except OSError as error:
            raise DecodingError(f"cannot read the language model {path}: {error.strerror or error}") from error

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the model in the form that the end of the name tells: ARPA, our binary (.bin) or quantised (.npz).

        Raises
        ------
        DecodingError
            If it is none of `SUFFIXES`.
        """
        check_suffix(path)
        if Path(path).suffix == ".bin":
            self.write_binary(path)
        elif Path(path).suffix == ".npz":
            write_quantised(path, self.packed_words, self.levels())
        else:
            self.write_arpa(path)

    def write_arpa(self, path: str | os.PathLike[str]) -> None:
        """Write an ARPA file, packed if the name ends in .gz, .bz2, .xz or .zst; reading it gives the same numbers."""
        write_arpa(path, self.words, self.levels())

    def write_binary(self, path: str | os.PathLike[str]) -> None:
        """Write the model's own binary, which `read` maps into memory instead of parsing it."""
        self.levels()
        write_binary(path, (self.packed_words, self.query_arrays, self.counts))

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.counts)

    @cached_property
    def words(self) -> list[str]:
        """The words by id, made on first use; `<unk>`, `<s>` and `</s>` among them.

        Raises
        ------
        DecodingError
            If the file that they come from is damaged.
        """
        try:
            return self.packed_words.decode().split("\n")
        except UnicodeDecodeError as error:
            raise DecodingError(
                f"the language model is damaged: its words are not UTF-8 ({error}); expected the file as it was written"
            ) from None

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def word_id(self, word: str) -> int:
        """Return the id of a word, 0 (``<unk>``) for a word that the model does not know."""
        return self._ids.get(word, 0)

    def word_ids(self, words: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the ids of words, int32 (len(words),); see `word_id`."""
        return np.fromiter(map(self._ids.get, words, repeat(0)), np.int32, len(words))

    def __contains__(self, word: str) -> bool:
        """Tell whether the model knows the word."""
        return word in self._ids

    def is_of_tokens(self, tokens: Iterable[str]) -> bool:
        """Tell whether the model is one of tokens: whether all its words are tokens, or names of a word delimiter."""
        known = {*tokens, *DELIMITER_NAMES, UNK, BOS, EOS}
        return self.counts[0] <= len(known) and all(word in known for word in self.words)

    @cached_property
    def end_id(self) -> int:
        """The id of ``</s>``."""
        return self._ids[EOS]

    @cached_property
    def start_state(self) -> int:
        """The state at the start of a sentence: after ``<s>``, with nothing scored."""
        return self.advance(self.empty_state, self._ids[BOS])[1]

    def adapted(self, known: Collection[str] | None = None, *, sentence_start: bool = True) -> "NGramModel":
        """Return the model for a search, sharing its arrays.

        Parameters
        ----------
        known
            The only words that count as known; others keep their place under a name that nothing writes. None for all.
        sentence_start
            Whether texts start a sentence; else `start_state` is `empty_state`.
        """
        packed = self.packed_words
        if known is not None:
            markers = (UNK, BOS, EOS)
            packed = "\n".join(word if word in known or word in markers else HIDDEN for word in self.words).encode()
        result = NGramModel(packed, self.query_arrays, self.counts)
        if not sentence_start:
            result.__dict__["start_state"] = self.empty_state
        return result

    def advance(self, state: int, word_id: int) -> tuple[float, int]:
        """Return the natural log-probability of a word after a state, and the state after the word."""
        if not 0 <= word_id < self.counts[0]:
            raise DecodingError(f"word id {word_id} is not among the model's {self.counts[0]} words")
        num_states = int(self.query_arrays[4][3]) if self.is_hashed else len(self.query_arrays[3])
        if not 0 <= state < num_states:
            raise DecodingError(f"state {state} is not one that this model returned")
        log_prob, next_state = advance(self.query_arrays, state, word_id)
        return float(log_prob), int(next_state)

    def unigram_log_probs(self, word_ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Return the natural log-probability, float64, of each of some words without a context."""
        result = np.empty(len(word_ids))
        score_unigrams(self.query_arrays, np.asarray(word_ids, np.int32), result)
        return result

    def log_probs(self, words: str | Iterable[str], bos: bool = True, eos: bool = True) -> npt.NDArray[np.float64]:
        """Return the natural log-probability, float64, of each word and, if `eos`, of the sentence end.

        Parameters
        ----------
        words
            The sentence's words, or the sentence as one string, split at white space.
        bos, eos
            Whether it starts at ``<s>`` (else without context) and ends with ``</s>``.
        """
        ids = [self.word_id(word) for word in (words.split() if isinstance(words, str) else words)]
        if eos:
            ids.append(self.end_id)
        result = np.empty(len(ids))
        start = self.start_state if bos else self.empty_state
        score_stream(self.query_arrays, np.array(ids, np.int32), start, start, -1, result)
        return result

    def score(self, words: str | Iterable[str], bos: bool = True, eos: bool = True) -> float:
        """Return the natural log-probability of a sentence: the sum of `log_probs`."""
        return float(self.log_probs(words, bos, eos).sum())

    def perplexity(self, sentences: Iterable[str]) -> Perplexity:
        """Return the perplexity of a text, one normalised sentence per string; blank ones are left out.

        Raises
        ------
        DecodingError
            If there is no sentence, or one string was given instead of several.
        """
        check_sentences(sentences)
        ids = self._ids.get
        end_id = self.end_id
        stream: list[int] = []
        num_sentences = 0
        for sentence in sentences:
            words = sentence.split()
            if words:
                stream.extend(ids(word, 0) for word in words)
                stream.append(end_id)
                num_sentences += 1
        if not stream:
            raise DecodingError("the text for the perplexity has no sentence: expected one per line")
        word_ids = np.array(stream, np.int32)
        log_probs = np.empty(len(word_ids))
        score_stream(self.query_arrays, word_ids, self.start_state, self.start_state, end_id, log_probs)
        known = word_ids != 0
        return Perplexity(
            with_oov=math.exp(-log_probs.mean()),
            without_oov=math.exp(-log_probs[known].mean()),
            num_tokens=len(word_ids),
            num_oov=int((~known).sum()),
            num_sentences=num_sentences,
        )

    @property
    def is_hashed(self) -> bool:
        """Whether the model is a KenLM binary, whose n-grams can be looked up but not listed."""
        return bool(self.query_arrays[4][0] == HASHED)

    def levels(self) -> list[Level]:
        """Return the n-grams of each order, lowest first, as views of the arrays.

        Raises
        ------
        DecodingError
            If the model is a KenLM binary.
        """
        if self.is_hashed:
            raise DecodingError(
                "a KenLM binary keeps only hashes of its n-grams, so they can be looked up, but not listed, written, "
                "pruned or mixed: use the ARPA file that it was built from"
            )
        return split_trie(self.query_arrays, self.counts)

    @property
    def num_bytes(self) -> int:
        """The size of the arrays and the words in bytes: what the binary file holds."""
        return sum(array.nbytes for array in self.query_arrays) + len(self.packed_words)

    def __repr__(self) -> str:
        sizes = " / ".join(f"{count:,}" for count in self.counts)
        return f"NGramModel(order={self.order}, n-grams={sizes})"


def copy_as_binary(model: NGramModel, source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Put the file that a model was read from into another place: an ARPA file as our binary, any other as it is."""
    with Path(source).open("rb") as file:
        is_binary = file.read(64).startswith((FAMILY, kenlm.FAMILY, ZIP))
    if not is_binary:
        model.write_binary(path)
        return
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)


def check_suffix(path: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a name without a known suffix.

    Raises
    ------
    DecodingError
        If it ends in none of `SUFFIXES`.
    """
    if not Path(path).name.endswith(SUFFIXES):
        raise DecodingError(f"cannot tell the format of {path}: expected a name ending in one of {', '.join(SUFFIXES)}")
