"""From labels, models and options to what the kernels read."""

import warnings
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import writeable
from asr.decoder.hotwords import Hotwords, build_automaton
from asr.decoder.hypothesis import Hypothesis, Writer
from asr.decoder.labels import Labels
from asr.decoder.log_probs import label_offsets
from asr.decoder.ngram import NGramModel
from asr.decoder.ngram.model import DELIMITER_NAMES
from asr.decoder.ngram.text import BOS, EOS, UNK
from asr.decoder.options import BeamOptions
from asr.decoder.search.fusion import NO_MODEL, OF_TOKENS, OF_WORDS, SCORER_TOKEN, Scorer, expect_starts
from asr.decoder.search.kernel import Limits
from asr.decoder.vocabulary import LEAST_COVERAGE, Vocabulary
from asr.errors import DecodingError

NO_ARRAYS = (
    np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32),
    np.zeros(3, np.int32),
)  # fmt: skip


@dataclass(frozen=True)
class SearchSetup:
    """All that a search needs and does not change.

    Parameters
    ----------
    labels, frame_seconds, normalise, lm, options, hotwords, label_priors
        As of `BeamSearchDecoder`.
    vocabulary
        The words that may be said.
    token_words
        int32 (V,), the model's word for each label, if the model is one of tokens.
    context
        What was said before the utterance, in the language model's words.

    Raises
    ------
    DecodingError
        If a hotword has characters that no label writes.
    """

    labels: Labels
    frame_seconds: float
    normalise: bool
    vocabulary: Vocabulary
    lm: NGramModel | None
    token_words: npt.NDArray[np.int32] | None
    options: BeamOptions
    hotwords: Hotwords
    label_priors: npt.ArrayLike | None = None
    context: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # Errors are raised here, not at the first utterance.
        _ = self.scorer, self.offsets

    def __getstate__(self) -> dict[str, Any]:
        # What is cached is made anew, of arrays that can be written to.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def offsets(self) -> npt.NDArray[np.float32] | None:
        """What is added to the log-probs of each label, float32 (V,); None where that is nothing."""
        options = self.options
        return label_offsets(self.labels, self.label_priors, options.prior_weight, options.blank_scale)

    @cached_property
    def spoken(self) -> Vocabulary:
        """The vocabulary and the words of the hotwords."""
        hotwords, vocabulary = self._phrases, self.vocabulary
        for words, is_known in ((hotwords.words, True), (hotwords.unwanted, False)):
            if words:
                lexicon = vocabulary.spelled(words)
                vocabulary = vocabulary.with_words(lexicon, self.word_lm, what="the hotwords", is_known=is_known)
        return vocabulary

    @property
    def word_lm(self) -> NGramModel | None:
        """The model, if it is one of words."""
        return self.lm if self.token_words is None else None

    @cached_property
    def _phrases(self) -> Hotwords:
        return self.hotwords.divided(self._split)

    def _split(self, text: str) -> list[str]:
        return text.split() if self.vocabulary.is_closed else self.labels.split(text)

    @property
    def is_free(self) -> bool:
        """Whether the words of a lexicon are said without delimiters between them."""
        return self.vocabulary.is_closed and not self.labels.has_words

    @cached_property
    def writer(self) -> Writer:
        """What makes words of tokens."""
        return Writer(self.labels, self.frame_seconds, self.spoken.written, self.vocabulary.is_closed)

    @cached_property
    def specials(self) -> npt.NDArray[np.intp]:
        """The labels that are never written."""
        return np.flatnonzero(self.labels.is_special)

    def weighted(self, frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return checked log-probs ``(T, V)`` as the search takes them: with offsets, -inf for special labels."""
        if self.offsets is not None:
            frames = frames + self.offsets
        if len(self.specials):
            frames = frames.copy()
            frames[:, self.specials] = -np.inf
        return frames

    @cached_property
    def begins_word(self) -> npt.NDArray[np.bool_]:
        """Whether each label ends the word before it, whatever the vocabulary, bool (V,)."""
        return np.array(self.labels.begins_word) & (not self.is_free)

    @cached_property
    def scorer(self) -> Scorer:
        """What counts beside the acoustics."""
        vocabulary, lm, word_lm = self.spoken, self.lm, self.word_lm
        units, unit_begins = vocabulary.alphabet.of_labels()
        tokens = np.zeros(len(self.labels), SCORER_TOKEN)
        tokens["begins_word"], tokens["is_delimiter"] = self.begins_word, self.labels.is_delimiter
        tokens["first_unit"], tokens["end_unit"] = unit_begins[:-1], unit_begins[1:]
        if self.token_words is not None:
            tokens["word_id"] = self.token_words
        hot = build_automaton(self._phrases, vocabulary)
        scorer = Scorer(
            tokens=tokens,
            units=units,
            trie_nodes=vocabulary.nodes,
            trie_table=vocabulary.table,
            entries=vocabulary.entries,
            hot_nodes=hot.nodes,
            hot_table=hot.table,
            hot_places=hot.places,
            hot_place_table=hot.place_table,
            hot_numbers=hot.numbers,
            has_hotwords=bool(self.hotwords.weights),
            lm=lm.query_arrays if lm is not None else NO_ARRAYS,
            is_free=self.is_free,
            is_neutral=lm is None and not vocabulary.is_closed and not self.hotwords.weights,
            level=NO_MODEL if lm is None else OF_WORDS if word_lm is not None else OF_TOKENS,
            token_gain=0.0 if self.token_words is None else max(0.0, float(self.options.beta)),
            best_start_ahead=0.0,
            **self._weights(),
        )
        scorer = Scorer._make(map(writeable, scorer))
        expect_starts(scorer)
        begins = tokens["begins_word"].astype(bool) | (self.is_free & (tokens["end_unit"] > tokens["first_unit"]))
        return scorer._replace(best_start_ahead=float(tokens["start_ahead"][begins].max(initial=-np.inf)))

    def _weights(self) -> dict[str, float]:
        """Return the weights and costs of a `Scorer`."""
        vocabulary, word_lm, options = self.spoken, self.word_lm, self.options
        oov_scores = {"allow": 0.0, "penalise": float(options.oov_score), "forbid": -np.inf}
        oov_score = oov_scores[options.oov] if word_lm is not None else 0.0
        alpha, beta = (float(options.alpha), float(options.beta)) if self.lm is not None else (0.0, 0.0)
        word_alpha, word_beta = (alpha, beta) if word_lm is not None else (0.0, 0.0)
        unlisted_score = oov_score
        if vocabulary.is_closed:
            unlisted_score = float(options.oov_score) if options.unlisted == "spell" else -np.inf
        unknown = word_beta
        if word_lm is not None:
            unknown += alpha * word_lm.advance(word_lm.empty_state, 0)[0]
        return {
            "alpha": alpha,
            "beta": beta,
            "word_alpha": word_alpha,
            "word_beta": word_beta,
            "unlisted_score": unlisted_score,
            "oov_score": oov_score,
            "empty_score": float(options.empty_score) if word_lm is not None else 0.0,
            "unlisted_ahead": unknown + unlisted_score,
            "oov_ahead": unknown + oov_score,
        }

    @cached_property
    def limits(self) -> Limits:
        """What is kept."""
        options = self.options
        return Limits(
            self.labels.blank,
            int(options.beam_size),
            min(int(options.top_k) or len(self.labels), len(self.labels)),
            float(options.token_threshold),
            float(options.beam_threshold),
            int(options.horizon_frames),
        )

    @property
    def recombines(self) -> bool:
        """Whether hypotheses with the same future are one; without a model, a lexicon and hotwords, all would be."""
        return self.options.recombine and not self.scorer.is_neutral

    def after(self, context: str | Hypothesis) -> "SearchSetup":
        """Return the set-up for an utterance after another.

        Raises
        ------
        DecodingError
            If the context is a text, but the language model one of tokens.
        """
        if not isinstance(context, str | Hypothesis):
            raise DecodingError(f"the context is {context!r:.60}; expected a text, or a hypothesis")
        if self.lm is None:
            return self
        if self.token_words is None:
            text = context if isinstance(context, str) else context.text
            return replace(self, context=tuple(map(self.lm.word_id, self._split(text))))
        if isinstance(context, str):
            raise DecodingError("the context is a text, and the language model one of tokens; expected a hypothesis")
        return replace(self, context=tuple(int(self.token_words[token]) for token in context.tokens))

    @cached_property
    def lm_start(self) -> int:
        """The state of the language model before the first word."""
        lm, state = self.lm, 0
        if lm is not None:
            state = lm.start_state
            for word_id in self.context:
                state = lm.advance(state, word_id)[1]
        return state

    @property
    def end_id(self) -> int:
        """The language model's ``</s>``, -1 where it does not count."""
        return self.lm.end_id if self.lm is not None and self.options.sentence_end else -1


def find_token_words(labels: Labels, model: NGramModel) -> npt.NDArray[np.int32]:
    """Return the model's word for each label; warn if most of the model's words are no labels.

    Raises
    ------
    DecodingError
        If the model knows none of the labels.
    """
    names = [
        next((name for name in (text, *DELIMITER_NAMES) if name in model), text) if is_delimiter else text
        for text, is_delimiter in zip(labels.texts, labels.is_delimiter, strict=True)
    ]
    ids = np.array([model.word_id(name) for name in names], np.int32)
    if not ids.any():
        raise DecodingError(
            f"the language model knows none of the labels ({', '.join(map(repr, labels.texts[:5]))}, …): it lists "
            f"{', '.join(map(repr, model.words[3:8]))}, …; for a model of words use lm_level='word'"
        )
    words = [word for word in model.words if word not in (UNK, BOS, EOS)]
    misses = sorted(set(words).difference(names), key=model.word_id)
    fitting = len(words) - len(misses)
    if fitting < LEAST_COVERAGE * len(words):
        warnings.warn(
            f"the labels can write {fitting:,} of the language model's {len(words):,} tokens: no label is "
            f"{', '.join(map(repr, misses[:5]))}; for a model of words use lm_level='word'",
            stacklevel=3,
        )
    return ids
