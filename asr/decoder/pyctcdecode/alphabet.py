"""Labels as pyctcdecode takes them: the blank is "", words end at " ", or begin with "▁"."""

import json
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

from asr.decoder.labels import WORDPIECE_MARK, Labels
from asr.decoder.ngram.text import BOS, EOS, UNK
from asr.errors import DecodingError

BPE_TOKEN = "▁"
UNK_TOKEN = "⁇"
UNK_BPE_TOKEN = "▁⁇▁"
BLANK_TOKEN_PTN = re.compile(r"^[<\[]pad[>\]]$", flags=re.IGNORECASE)
UNK_TOKEN_PTN = re.compile(r"^[<\[]unk[>\]]$", flags=re.IGNORECASE)
SAMPLE_SIZE = 100
# More of the unigrams' characters without a label than this look like another alphabet.
MOST_MISSING = 0.2

logger = logging.getLogger(__name__)


class Alphabet:
    """Labels and whether they are subwords.

    Parameters
    ----------
    labels
        In the order of the logits' columns, "" for the blank.
    is_bpe
        Whether words begin with "▁".
    """

    def __init__(self, labels: list[str], is_bpe: bool) -> None:
        self._labels = list(labels)
        self._is_bpe = bool(is_bpe)

    @property
    def labels(self) -> list[str]:
        """The labels, the blank as ""."""
        return self._labels[:]

    @property
    def is_bpe(self) -> bool:
        """Whether words begin with "▁"."""
        return self._is_bpe

    @classmethod
    def build_alphabet(cls, labels: Sequence[str]) -> "Alphabet":
        """Make an alphabet of a model's labels as they are.

        ``<pad>`` or ``[PAD]`` (else ``_``) becomes the blank, which is put last if there is none; ``|`` becomes a
        space, if there is none; ``<unk>`` becomes ``⁇``; where "##" marks what continues a word, "▁" marks where one
        begins.

        Raises
        ------
        DecodingError
            If a label stands twice or is no string, or if there is a space beside "▁" or "##".
        """
        if not isinstance(labels, Iterable) or not all(isinstance(label, str) for label in labels):
            raise DecodingError(f"the labels are {labels!r:.60}; expected a list of strings")
        if len(set(labels)) != len(labels):
            raise DecodingError("the alphabet has labels more than once; expected each once")
        is_bpe = any(label.startswith((BPE_TOKEN, WORDPIECE_MARK)) for label in labels)
        if is_bpe and (spaced := [label for label in labels if " " in label]):
            raise DecodingError(f'label {spaced[0]!r} has a space, but others have "▁" or "##"; expected either')
        result = ["" if BLANK_TOKEN_PTN.match(label) else label for label in labels]
        if is_bpe:
            if any(label.startswith(WORDPIECE_MARK) for label in result):
                result = [_in_bpe_style(label) for label in result]
            result = [UNK_BPE_TOKEN if UNK_TOKEN_PTN.match(label) or label == UNK_TOKEN else label for label in result]
        else:
            result = [UNK_TOKEN if UNK_TOKEN_PTN.match(label) else label for label in result]
            if "" not in result:
                result = ["" if label == "_" else label for label in result]
            if " " not in result:
                result = [" " if label == "|" else label for label in result]
            if " " not in result:
                logger.warning("The alphabet has no space, so words cannot be told apart.")
        if "" not in result:
            result.append("")
        return cls(result, is_bpe)

    def dumps(self) -> str:
        """Return the alphabet as JSON."""
        return json.dumps({"labels": self._labels, "is_bpe": self._is_bpe})

    @classmethod
    def loads(cls, text: str) -> "Alphabet":
        """Return the alphabet that `dumps` wrote.

        Raises
        ------
        DecodingError
            If it is not such a text.
        """
        try:
            values = json.loads(text)
            labels, is_bpe = values["labels"], values["is_bpe"]
        except (ValueError, KeyError, TypeError) as error:
            raise DecodingError(f"not an alphabet: {error!r}; expected {{'labels': […], 'is_bpe': …}}") from None
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise DecodingError(f"the alphabet's labels are {labels!r:.60}; expected a list of strings")
        if not isinstance(is_bpe, bool):
            raise DecodingError(f"the alphabet's is_bpe is {is_bpe!r:.60}; expected true or false")
        return cls(labels, is_bpe)

    def to_labels(self) -> Labels:
        """Return the labels of our decoders; ``⁇`` is never written there.

        Raises
        ------
        DecodingError
            If the blank is missing, or a label stands twice.
        """
        if "" not in self._labels:
            raise DecodingError("the alphabet has no blank; expected an empty label, as build_alphabet makes it")
        blank = self._labels.index("")
        texts = [
            "<blank>" if index == blank else UNK_TOKEN if label == UNK_BPE_TOKEN else label
            for index, label in enumerate(self._labels)
        ]
        return Labels(texts, blank)


def _in_bpe_style(label: str) -> str:
    if label.startswith(WORDPIECE_MARK):
        return label.removeprefix(WORDPIECE_MARK)
    special = not label or UNK_TOKEN_PTN.match(label) or label in (BPE_TOKEN, UNK_BPE_TOKEN)
    return label if special or re.fullmatch(r"[<\[].+[>\]]", label) else BPE_TOKEN + label.removeprefix(BPE_TOKEN)


def verify_alphabet_coverage(alphabet: Alphabet, unigrams: Collection[str]) -> None:
    """Log a warning if the labels lack much of what the unigrams are written with."""
    spoken = (word for word in unigrams if word not in (UNK, BOS, EOS))
    characters = set("".join(islice(spoken, SAMPLE_SIZE)))
    known = set("".join(alphabet.labels))
    if characters and len(characters - known) / len(characters) > MOST_MISSING:
        logger.warning("Unigrams and labels don't seem to agree: does the letter case differ?")
