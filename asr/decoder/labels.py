"""The labels of a CTC model: which text each one stands for, which is the blank, and where words begin and end."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from asr.errors import DecodingError

SUBWORD_MARK = "▁"
WORDPIECE_MARK = "##"
BLANK_NAMES = ("<blank>", "<blk>", "[blank]", "<ctc_blank>", "<ctc>")
# The padding of Hugging Face's CTC models is their blank.
PADDING_NAMES = ("<pad>", "[pad]")
# Labels that toolkits keep for other tasks than writing; they are never written, whatever their probability.
SPECIALS = frozenset(
    [
        *("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<blank>", "<blk>", "<eps>", "<sos>", "<eos>", "<sos/eos>"),
        *("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "⁇"),
    ]
)
# A byte of UTF-8, for characters that have no label of their own (SentencePiece's byte fallback).
BYTE_LABEL = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Labels:
    """The labels of a CTC model.

    Words end at labels of white space or ``"|"``; or, where labels start with ``"▁"``, words begin there. Where
    neither is among them (Chinese or Japanese characters), each label is a word, and the text has no spaces. Labels
    that toolkits keep for other purposes (``<s>``, ``<unk>``, ``[PAD]``, …) are never written; bytes
    (``<0xC3>``, ``<0xA9>``) are put together to characters.

    Parameters
    ----------
    texts
        The V labels in the order of the log-probs' columns, each once; the blank's own text does not matter. Or
        label → index, as in a Hugging Face vocabulary.
    blank
        The blank's index. If not given: that of a label with a blank's name (``<blank>``, an empty label; else
        ``<pad>``, ``[PAD]``), else 0.
    lookup
        Characters, and what the words of language models and hotwords have in their place, such as
        ``{"A": "a", ",": ""}``: then ``Ada,`` is the word ``ada`` there. What is written does not change.

    Raises
    ------
    DecodingError
        If the blank is out of range, a label stands twice, one but the blank is empty, or several could be the blank.

    Examples
    --------
    >>> Labels(["<blank>", " ", "a", "b"]).text([2, 3, 1, 2])
    'ab a'
    """

    texts: tuple[str, ...]
    blank: int = 0
    lookup: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __init__(
        self,
        texts: Sequence[str] | Mapping[str, int],
        blank: int | None = None,
        lookup: Mapping[str, str] | None = None,
    ) -> None:
        object.__setattr__(self, "texts", _in_order(_by_index(texts) if isinstance(texts, Mapping) else texts))
        object.__setattr__(self, "lookup", dict(lookup or {}))
        object.__setattr__(self, "blank", _find_blank(self.texts) if blank is None else blank)
        if isinstance(self.blank, bool) or not hasattr(self.blank, "__index__"):
            raise DecodingError(f"the blank is {blank!r}; expected an index into the labels")
        object.__setattr__(self, "blank", int(self.blank))
        if not 0 <= self.blank < len(self.texts):
            raise DecodingError(f"the blank is {blank}; expected 0 to {len(self.texts) - 1}, an index into the labels")
        spoken = [text for index, text in enumerate(self.texts) if index != self.blank]
        if "" in spoken:
            raise DecodingError(
                f"label {self.texts.index('')} is empty; expected text for all but the blank (now {self.blank})"
            )
        twice = [text for text, count in Counter(spoken).items() if count > 1]
        if twice:
            raise DecodingError(f"labels more than once: {', '.join(map(repr, twice[:8]))}; expected each once")
        halves = [text for text in spoken if re.search("[\ud800-\udfff]", text)]
        if halves:
            raise DecodingError(f"label {halves[0]!r} is half a character (of UTF-16); expected whole ones")

    @classmethod
    def of(cls, labels: "Labels | Sequence[str] | Mapping[str, int]", blank: int | None = None) -> "Labels":
        """Return `labels` as they are, or make them of a list of strings or a vocabulary."""
        if not isinstance(labels, Labels):
            return cls(labels, blank)
        return labels if blank is None else cls(labels.texts, blank, labels.lookup)

    @classmethod
    def from_huggingface(cls, vocabulary: str | os.PathLike[str] | Mapping[str, int]) -> "Labels":
        """Return the labels of a Hugging Face CTC model (wav2vec 2.0, HuBERT, WavLM, …).

        Parameters
        ----------
        vocabulary
            The path of its ``vocab.json``, or that object, or ``processor.tokenizer.get_vocab()``: label → index.
            The blank is ``<pad>`` or ``[PAD]``; words are separated by ``|``, or made of pieces marked by ``"▁"``
            or ``"##"``.

        Raises
        ------
        DecodingError
            If it is not such an object: no padding label, indices with gaps, or one object for each language.
        """
        indices = _read_json(vocabulary) if isinstance(vocabulary, str | os.PathLike) else vocabulary
        if not isinstance(indices, Mapping):
            raise DecodingError(f"the vocabulary is {type(indices).__name__}; expected an object of label: index")
        texts = list(_in_order(_by_index(indices)))
        blanks = [indices[name] for name in ("<pad>", "[PAD]") if name in indices]
        if not blanks:
            raise DecodingError(
                "the vocabulary has neither '<pad>' nor '[PAD]', which are the blank of Hugging Face's CTC models; if "
                "yours has another blank, use Labels(texts, blank=index)"
            )
        return cls(_without_continuation_marks(texts), blanks[0])

    @classmethod
    def from_nemo(cls, vocabulary: Sequence[str]) -> "Labels":
        """Return the labels of a NeMo CTC model.

        Parameters
        ----------
        vocabulary
            ``model.decoder.vocabulary``: characters, or subwords marked by ``"▁"`` or ``"##"``. The blank is not
            among them: it is the log-probs' last column.
        """
        texts = list(_in_order(vocabulary))
        return cls([*_without_continuation_marks(texts), "<blank>"], len(texts))

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.texts)

    @cached_property
    def are_subwords(self) -> bool:
        """Whether labels carry the mark of a word's beginning."""
        return any(text.startswith(SUBWORD_MARK) for index, text in enumerate(self.texts) if index != self.blank)

    @cached_property
    def is_delimiter(self) -> tuple[bool, ...]:
        """Whether each label stands between words and adds nothing to them."""
        return tuple(
            not self.are_subwords and index != self.blank and (text == "|" or text.isspace())
            for index, text in enumerate(self.texts)
        )

    @cached_property
    def has_words(self) -> bool:
        """Whether there is any label at which words begin or end."""
        return self.are_subwords or any(self.is_delimiter)

    @cached_property
    def begins_word(self) -> tuple[bool, ...]:
        """Whether each label ends the word before it: a delimiter, or one with which a word begins."""
        if self.are_subwords:
            return tuple(text.startswith(SUBWORD_MARK) for text in self.texts)
        return self.is_delimiter if self.has_words else tuple(map(bool, self.letters))

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """What each label adds to a word: nothing for a delimiter, the blank, and labels that are never written.

        A byte of UTF-8 above 127 is a lone surrogate, as in Python's error handler "surrogateescape".
        """
        return tuple(
            "" if index == self.blank or text in SPECIALS or self.is_delimiter[index]
            else bytes([int(byte[1], 16)]).decode("utf-8", "surrogateescape") if (byte := BYTE_LABEL.fullmatch(text))
            else text.removeprefix(SUBWORD_MARK)
            for index, text in enumerate(self.texts)
        )  # fmt: skip

    @cached_property
    def spelled(self) -> tuple[str, ...]:
        """What each label adds to a word where words are looked up."""
        return tuple(map(self.looked_up, self.letters))

    def looked_up(self, text: str) -> str:
        """Return a text as language models and hotwords have it."""
        return text.translate({ord(old): new for old, new in self.lookup.items()}) if self.lookup else text

    @cached_property
    def is_special(self) -> tuple[bool, ...]:
        """Whether each label is one that is never written; the blank is not among them."""
        return tuple(text in SPECIALS and index != self.blank for index, text in enumerate(self.texts))

    @property
    def separator(self) -> str:
        """What stands between words in a text: a space, or nothing where each label is a word."""
        return " " if self.has_words else ""

    def join(self, words: Iterable[str]) -> str:
        """Return the text of words."""
        return self.separator.join(words)

    def split(self, text: str) -> list[str]:
        """Return the words of a text, as the labels divide them."""
        if self.has_words:
            return text.split()
        longest = max(map(len, self.letters))
        known = set(self.letters)
        words = []
        for piece in text.split():
            while piece:
                size = next((size for size in range(min(longest, len(piece)), 0, -1) if piece[:size] in known), 1)
                words.append(piece[:size])
                piece = piece[size:]
        return words

    def text(self, tokens: Iterable[int]) -> str:
        """Return the text of token ids without blanks."""
        words: list[str] = [""]
        for token in tokens:
            if self.begins_word[token]:
                words.append("")
            words[-1] += self.letters[token]
        return self.join(whole_characters(word) for word in words if word)


def whole_characters(text: str) -> str:
    """Return a text in which bytes (see `Labels.letters`) are put together to characters."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _in_order(texts: Iterable[str]) -> tuple[str, ...]:
    """Return labels as a tuple, if they have an order and all are strings."""
    has_order = isinstance(texts, Iterable) and not isinstance(texts, str | bytes | Set)
    found = tuple(texts) if has_order else ()
    if not found or not all(isinstance(text, str) for text in found):
        raise DecodingError(
            f"the labels are {type(texts).__name__} {found or texts!r:.60}; expected a list of strings, at least one"
        )
    return found


def _find_blank(texts: Sequence[str]) -> int:
    for names in ((*BLANK_NAMES, ""), PADDING_NAMES):
        found = [index for index, text in enumerate(texts) if text.lower() in names]
        if len(found) > 1:
            shown = ", ".join(f"{texts[index]!r} ({index})" for index in found[:5])
            raise DecodingError(f"several labels may be the blank: {shown}; give its index, blank=…")
        if found:
            return found[0]
    return 0


def _by_index(indices: Mapping[str, int]) -> list[str]:
    """Return the labels of a vocabulary in the order of their indices."""
    if not indices:
        raise DecodingError("the vocabulary is empty; expected label: index")
    if all(isinstance(value, Mapping) for value in indices.values()):
        raise DecodingError(
            f"the vocabulary holds one object per language ({', '.join(list(indices)[:5])}, …): give that of "
            "one language, as in vocabulary['eng']"
        )
    wrong = next(((label, value) for label, value in indices.items() if not hasattr(value, "__index__")), None)
    if wrong is not None:
        raise DecodingError(f"the vocabulary gives {wrong[0]!r} the index {wrong[1]!r}; expected integers")
    if sorted(indices.values()) != list(range(len(indices))):
        raise DecodingError(
            f"the vocabulary's indices are {sorted(indices.values())[:5]}, …; expected 0 to {len(indices) - 1}, "
            "each once: use tokenizer.get_vocab(), which holds added labels too"
        )
    return sorted(indices, key=indices.__getitem__)


def _without_continuation_marks(texts: list[str]) -> list[str]:
    """Return labels whose words begin at ``"▁"`` where they came with ``"##"`` before what continues a word."""
    is_marked = any(text.startswith(WORDPIECE_MARK) and text != WORDPIECE_MARK for text in texts)
    if not is_marked or "|" in texts or " " in texts:
        return texts
    return [
        text.removeprefix(WORDPIECE_MARK) if text.startswith(WORDPIECE_MARK) and text != WORDPIECE_MARK
        else text if text in SPECIALS or text.startswith(SUBWORD_MARK) or BYTE_LABEL.fullmatch(text)
        else SUBWORD_MARK + text
        for text in texts
    ]  # fmt: skip


def _read_json(path: str | os.PathLike[str]) -> object:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DecodingError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except ValueError as error:
        raise DecodingError(f"{path} is not a JSON file ({error}); expected a model's vocab.json") from error
