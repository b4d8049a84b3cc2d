"""An n-gram model with pyctcdecode's weights and units, and the folders that it is kept in."""

import json
import logging
import os
import shutil
from bisect import bisect_left
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from asr.decoder.ngram import NGramModel
from asr.decoder.pyctcdecode.constants import (
    AVG_TOKEN_LEN,
    DEFAULT_ALPHA,
    DEFAULT_BETA,
    DEFAULT_SCORE_LM_BOUNDARY,
    DEFAULT_UNK_LOGP_OFFSET,
    LOG_BASE_CHANGE_FACTOR,
)
from asr.errors import DecodingError
from asr.files import write_text

ATTRS_FILE, UNIGRAMS_FILE = "attrs.json", "unigrams.txt"
ATTRS = ("alpha", "beta", "unk_score_offset", "score_boundary")
# Fewer of the unigrams in the model than this look like another language, or letter case.
LEAST_LISTED = 0.1

logger = logging.getLogger(__name__)


class LMState(NamedTuple):
    """Where the language model stands after a text.

    Parameters
    ----------
    words
        The last words, as many as can matter.
    node
        The model's state.
    """

    words: tuple[str, ...]
    node: int


class LanguageModel:
    """An n-gram model of words.

    ``score(word) = alpha * ln(10) * (log10 P(word) + unk_score_offset if it is unknown) + beta``

    Parameters
    ----------
    kenlm_model
        An `NGramModel`, the path of an ARPA file, of KenLM's probing binary or of our binary, or a ``kenlm.Model``.
    unigrams
        The words that count as known; those that the model does not list are left out. By default, and if none is
        left, all that the model lists.
    alpha, beta, unk_score_offset
        Weight of the model, bonus for a word (nats), and what is added for an unknown word (log10, weighted by alpha).
    score_boundary
        Whether a text begins and ends a sentence.

    Raises
    ------
    DecodingError
        If the model cannot be read, or the unigrams are not a collection of strings.
    """

    def __init__(
        self,
        kenlm_model: Any,
        unigrams: Collection[str] | None = None,
        alpha: float = DEFAULT_ALPHA,
        beta: float = DEFAULT_BETA,
        unk_score_offset: float = DEFAULT_UNK_LOGP_OFFSET,
        score_boundary: bool = DEFAULT_SCORE_LM_BOUNDARY,
    ) -> None:
        self.path: Path | None = None
        if isinstance(kenlm_model, NGramModel):
            self.model = kenlm_model
        else:
            path = getattr(kenlm_model, "path", kenlm_model)
            if not isinstance(path, str | bytes | os.PathLike):
                raise DecodingError(f"the language model is {kenlm_model!r:.60}; expected a path or an NGramModel")
            self.path = Path(os.fsdecode(path))
            self.model = NGramModel.read(self.path)
        self._unigrams = None if unigrams is None else self._listed(unigrams)
        self.alpha = alpha
        self.beta = beta
        self.unk_score_offset = unk_score_offset
        self.score_boundary = score_boundary
        self._views: dict[bool, NGramModel] = {}

    def _listed(self, unigrams: Collection[str]) -> frozenset[str] | None:
        """Return those of the unigrams that the model lists; None if there are none."""
        given = frozenset(check_strings("unigrams", unigrams, "words"))
        listed = frozenset(word for word in given if self.model.word_id(word))
        if len(listed) < LEAST_LISTED * len(given):
            missing = ", ".join(repr(word) for word in sorted(given - listed)[:3])
            logger.warning(
                "The language model lists %d of %d unigrams, not %s: does the letter case differ?",
                len(listed), len(given), missing,
            )  # fmt: skip
        return listed or None

    def reset_params(self, **params: Any) -> None:
        """Set weights; None leaves one unchanged.

        Raises
        ------
        DecodingError
            If there is no such parameter.
        """
        for name, value in params.items():
            if name not in ATTRS:
                raise DecodingError(f"unknown parameter {name!r}; expected one of {', '.join(ATTRS)}")
            if value is not None:
                setattr(self, name, value)

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return self.model.order

    @property
    def serializable_attrs(self) -> dict[str, Any]:
        """The weights by name, as attrs.json holds them."""
        return {name: getattr(self, name) for name in ATTRS}

    @cached_property
    def unigrams(self) -> frozenset[str]:
        """The words that count as known."""
        if self._unigrams is not None:
            return self._unigrams
        return frozenset(self.model.words) - {"<unk>"}

    @cached_property
    def _sorted_unigrams(self) -> list[str]:
        return sorted(self.unigrams)

    def __contains__(self, word: str) -> bool:
        """Tell whether the word is known: listed by the model, and among the unigrams."""
        return bool(self.model.word_id(word)) and (self._unigrams is None or word in self._unigrams)

    @property
    def search_model(self) -> NGramModel:
        """The model as the search takes it, sharing the arrays: with these known words, and this start."""
        key = bool(self.score_boundary)
        if key not in self._views:
            self._views[key] = self.model.adapted(self._unigrams, sentence_start=key)
        return self._views[key]

    def get_start_state(self) -> LMState:
        """Return the state before the first word."""
        return LMState((), self.search_model.start_state)

    def score(self, prev_state: LMState, word: str, is_last_word: bool = False) -> tuple[float, LMState]:
        """Return a word's weighted score after a state, and the state after the word.

        A last word's holds that of the sentence end, too, if `score_boundary`.
        """
        log_prob, node = self.model.advance(prev_state.node, self.model.word_id(word))
        if word not in self:
            log_prob += self.unk_score_offset * LOG_BASE_CHANGE_FACTOR
        if is_last_word and self.score_boundary:
            log_prob += self.model.advance(node, self.model.end_id)[0]
        words = (*prev_state.words, word)[-max(self.order - 1, 1) :]
        return self.alpha * log_prob + self.beta, LMState(words, node)

    def score_partial_token(self, partial_token: str) -> float:
        """Return the penalty, at most 0, of an unfinished word that begins no known one."""
        place = bisect_left(self._sorted_unigrams, partial_token)
        if place < len(self._sorted_unigrams) and self._sorted_unigrams[place].startswith(partial_token):
            return 0.0
        return self.unk_score_offset * max(1.0, len(partial_token) / AVG_TOKEN_LEN)

    def save_to_dir(self, filepath: str | os.PathLike[str], unigram_encoding: str | None = None) -> None:
        """Write the model, unigrams.txt and attrs.json into a folder that exists."""
        folder = Path(filepath)
        if self.path is not None:
            # A folder that is saved into itself has its model already.
            with suppress(shutil.SameFileError):
                shutil.copyfile(self.path, folder / self.path.name)
        else:
            self.model.write(folder / "lm.arpa")
        text = "".join(f"{word}\n" for word in self._sorted_unigrams)
        (folder / UNIGRAMS_FILE).write_text(text, encoding=unigram_encoding or "utf-8", newline="\n")
        write_text(folder / ATTRS_FILE, json.dumps(self.serializable_attrs))

    @staticmethod
    def parse_directory_contents(filepath: str | os.PathLike[str]) -> dict[str, str]:
        """Return the paths of attributes, unigrams and model in a folder.

        Raises
        ------
        DecodingError
            If one is missing, or there are several models.
        """
        folder = Path(filepath)
        names = (
            sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "__")))
            if folder.is_dir()
            else []
        )
        models = [name for name in names if name not in (ATTRS_FILE, UNIGRAMS_FILE)]
        if len(models) != 1 or ATTRS_FILE not in names or UNIGRAMS_FILE not in names:
            raise DecodingError(
                f"the language model's folder {folder} holds {names}; expected {ATTRS_FILE}, {UNIGRAMS_FILE} and "
                "one model"
            )
        return {
            "json_attrs": str(folder / ATTRS_FILE),
            "unigrams": str(folder / UNIGRAMS_FILE),
            "kenlm": str(folder / models[0]),
        }

    @classmethod
    def load_from_dir(cls, filepath: str | os.PathLike[str], unigram_encoding: str | None = None) -> "LanguageModel":
        """Read what `save_to_dir` wrote, or what stands in the ``language_model`` folder of a Hugging Face model.

        Raises
        ------
        DecodingError
            If a file is missing or cannot be read, or the attributes are other ones.
        """
        paths = cls.parse_directory_contents(filepath)
        try:
            text = Path(paths["unigrams"]).read_text(encoding=unigram_encoding or "utf-8-sig")
        except UnicodeDecodeError as error:
            raise DecodingError(f"{paths['unigrams']}: not {error.encoding}; give its unigram_encoding") from error
        unigrams = [line for line in text.split("\n") if line]
        return cls(paths["kenlm"], unigrams, **_read_attrs(Path(paths["json_attrs"])))


def _read_attrs(path: Path) -> dict[str, Any]:
    try:
        attrs = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DecodingError(f"{path} is not JSON: {error}") from error
    except OSError as error:
        raise DecodingError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(attrs, dict) or set(attrs) != set(ATTRS):
        found = sorted(attrs) if isinstance(attrs, dict) else type(attrs).__name__
        raise DecodingError(f"{path} holds {found}; expected {sorted(ATTRS)}")
    for name, value in attrs.items():
        kind = bool if name == "score_boundary" else (int, float)
        if not isinstance(value, kind) or (isinstance(value, bool) and name != "score_boundary"):
            raise DecodingError(
                f"{path}: {name} is {value!r}; expected {'true or false' if kind is bool else 'a number'}"
            )
    return attrs


def check_strings(name: str, values: Iterable[str], kind: str) -> list[str]:
    """Return a list of strings as it is.

    Raises
    ------
    DecodingError
        If it is one string, none at all, or holds something else.
    """
    if isinstance(values, str):
        raise DecodingError(f"the {name} are one string, {values!r:.40}; expected a list of {kind}")
    if not isinstance(values, Iterable):
        raise DecodingError(f"the {name} are {values!r:.40}; expected a list of {kind}")
    strings = list(values)
    if wrong := [value for value in strings if not isinstance(value, str)]:
        raise DecodingError(f"the {name} hold {wrong[0]!r:.40}; expected {kind}, which are strings")
    return strings


def load_unigram_set_from_arpa(arpa_path: str | os.PathLike[str]) -> set[str]:
    """Return the words of a model, without ``<unk>``."""
    return set(NGramModel.read(arpa_path).words) - {"<unk>"}
