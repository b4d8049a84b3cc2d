"""The labels of a CTC model: which text each one stands for, which is the blank, and where words begin and end."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from asr.errors import DecodingError

DELIMITERS = (" ", "|")
SUBWORD_MARK = "▁"
WORDPIECE_MARK = "##"
# Labels that toolkits keep for other tasks than writing; they are never written, whatever their probability.
SPECIALS = frozenset(
    [
        *("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<blank>", "<blk>", "<eps>", "<sos>", "<eos>", "<sos/eos>"),
        *("[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "⁇"),
    ]
)


@dataclass(frozen=True)
class Labels:
    """The labels of a CTC model.

    Words end at the label ``" "`` or ``"|"``; or, where labels start with ``"▁"``, words begin there. Labels that
    toolkits keep for other purposes (``<s>``, ``<unk>``, ``[PAD]``, …) are never written.

    Parameters
    ----------
    texts
        The V labels in the order of the log-probs' columns, each once; the blank's own text does not matter.
    blank
        The blank's index.

    Raises
    ------
    DecodingError
        If the blank is out of range, a label stands twice, or one but the blank is empty.

    Examples
    --------
    >>> Labels(["<blank>", " ", "a", "b"]).text([2, 3, 1, 2])
    'ab a'
    """

    texts: tuple[str, ...]
    blank: int = 0

    def __init__(self, texts: Sequence[str], blank: int = 0) -> None:
        if not isinstance(texts, Iterable):
            raise DecodingError(f"the labels are {texts!r:.60}; expected a list of strings")
        object.__setattr__(self, "texts", tuple(texts))
        object.__setattr__(self, "blank", blank)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise DecodingError(f"the labels are {type(texts).__name__} {texts!r:.60}; expected a list of strings")
        if not 0 <= blank < len(self.texts):
            raise DecodingError(f"the blank is {blank}; expected 0 to {len(self.texts) - 1}, an index into the labels")
        spoken = [text for index, text in enumerate(self.texts) if index != blank]
        if "" in spoken:
            raise DecodingError(
                f"label {self.texts.index('')} is empty; expected text for all but the blank (now {blank})"
            )
        twice = [text for text, count in Counter(spoken).items() if count > 1]
        if twice:
            raise DecodingError(f"labels more than once: {', '.join(map(repr, twice[:8]))}; expected each once")

    @classmethod
    def of(cls, labels: "Labels | Sequence[str]", blank: int | None = None) -> "Labels":
        """Return `labels` as they are, or make them of a list of strings; the blank is 0 if not given."""
        if not isinstance(labels, Labels):
            return cls(labels, 0 if blank is None else blank)
        return labels if blank is None else cls(labels.texts, blank)

    @classmethod
    def from_huggingface(cls, vocabulary: str | os.PathLike[str] | Mapping[str, int]) -> "Labels":
        """Return the labels of a Hugging Face CTC model (wav2vec 2.0, HuBERT, WavLM, …).

        Parameters
        ----------
        vocabulary
            The path of its ``vocab.json``, or that object, or ``processor.tokenizer.get_vocab()``: label → index.
            The blank is ``<pad>`` or ``[PAD]``; words are separated by ``|``.

        Raises
        ------
        DecodingError
            If it is not such an object: no padding label, indices with gaps, or one object for each language.
        """
        indices = _read_json(vocabulary) if isinstance(vocabulary, str | os.PathLike) else vocabulary
        if not isinstance(indices, Mapping) or not indices:
            raise DecodingError(f"the vocabulary is {type(indices).__name__}; expected an object of label: index")
        if all(isinstance(value, Mapping) for value in indices.values()):
            raise DecodingError(
                f"the vocabulary holds one object for each language ({', '.join(list(indices)[:5])}, …): give that of "
                "one language, as in vocabulary['eng']"
            )
        if not all(isinstance(value, int) for value in indices.values()):
            wrong = next((label, value) for label, value in indices.items() if not isinstance(value, int))
            raise DecodingError(f"the vocabulary gives {wrong[0]!r} the index {wrong[1]!r}; expected integers")
        if sorted(indices.values()) != list(range(len(indices))):
            raise DecodingError(
                f"the vocabulary's indices are {sorted(indices.values())[:5]}, …; expected 0 to {len(indices) - 1}, "
                "each once: use tokenizer.get_vocab(), which holds added labels too"
            )
        texts = sorted(indices, key=indices.__getitem__)
        blanks = [indices[name] for name in ("<pad>", "[PAD]") if name in indices]
        if not blanks:
            raise DecodingError(
                "the vocabulary has neither '<pad>' nor '[PAD]', which are the blank of Hugging Face's CTC models; if "
                "yours has another, give Labels(texts, blank=index)"
            )
        return cls(texts, blanks[0])

    @classmethod
    def from_nemo(cls, vocabulary: Sequence[str]) -> "Labels":
        """Return the labels of a NeMo CTC model.

        Parameters
        ----------
        vocabulary
            ``model.decoder.vocabulary``: characters, or subwords marked by ``"▁"`` or ``"##"``. The blank is not
            among them: it is the log-probs' last column.
        """
        texts = list(vocabulary)
        if any(text.startswith(WORDPIECE_MARK) for text in texts):
            # "##" marks what continues a word, "▁" what begins one.
            texts = [
                text if text in SPECIALS else text.removeprefix(WORDPIECE_MARK)
                if text.startswith(WORDPIECE_MARK) else SUBWORD_MARK + text
                for text in texts
            ]  # fmt: skip
        return cls([*texts, "<blank>"], len(texts))

    def __len__(self) -> int:
        """Return the number of labels."""
        return len(self.texts)

    @cached_property
    def are_subwords(self) -> bool:
        """Whether labels carry the mark of a word's beginning."""
        return any(text.startswith(SUBWORD_MARK) for index, text in enumerate(self.texts) if index != self.blank)

    @cached_property
    def begins_word(self) -> tuple[bool, ...]:
        """Whether each label ends the word before it: a delimiter, or a subword with the mark of a beginning."""
        if self.are_subwords:
            return tuple(text.startswith(SUBWORD_MARK) for text in self.texts)
        return tuple(text in DELIMITERS for text in self.texts)

    @cached_property
    def has_words(self) -> bool:
        """Whether there is any label at which words begin or end."""
        return any(begins for index, begins in enumerate(self.begins_word) if index != self.blank)

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """What each label adds to a word: nothing for a delimiter, the blank, and labels that are never written."""
        silent = DELIMITERS if not self.are_subwords else ()
        return tuple(
            "" if index == self.blank or text in SPECIALS or text in silent else text.removeprefix(SUBWORD_MARK)
            for index, text in enumerate(self.texts)
        )

    @cached_property
    def is_special(self) -> tuple[bool, ...]:
        """Whether each label is one that is never written; the blank is not among them."""
        return tuple(text in SPECIALS and index != self.blank for index, text in enumerate(self.texts))

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids without blanks; words are separated by single spaces."""
        pieces = (" " * self.begins_word[token] + self.letters[token] for token in tokens)
        return " ".join("".join(pieces).split()) if self.has_words else "".join(pieces)


def _read_json(path: str | os.PathLike[str]) -> object:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DecodingError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except ValueError as error:
        raise DecodingError(f"{path} is not a JSON file ({error}); expected a model's vocab.json") from error
