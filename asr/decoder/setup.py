"""From labels, models and options to what the kernels read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decoder.fusion import NO_MODEL, OF_TOKENS, OF_WORDS, SCORER_TOKEN, Scorer
from asr.decoder.hotwords import Hotwords, build_automaton
from asr.decoder.kernel import Limits
from asr.decoder.labels import Labels
from asr.decoder.ngram import NGramModel
from asr.decoder.options import BeamOptions
from asr.decoder.vocabulary import Vocabulary
from asr.errors import DecodingError

# Names under which language models of tokens list the word delimiter, which ARPA files cannot list as a space.
DELIMITER_NAMES = ("|", "▁", "<space>", "<sp>")
NO_ARRAYS = (
    np.zeros(2, np.int32), np.zeros(2, np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32),
    np.zeros(3, np.int32),
)  # fmt: skip


@dataclass(frozen=True)
class Knowledge:
    """What a decoder knows apart from options and hotwords.

    Parameters
    ----------
    labels, frame_seconds, normalise, vocabulary, lm
        As of `BeamSearchDecoder`.
    token_words
        int32 (V,), the model's word for each label, if the model is one of tokens.
    """

    labels: Labels
    frame_seconds: float
    normalise: bool
    vocabulary: Vocabulary
    lm: NGramModel | None
    token_words: npt.NDArray[np.int32] | None

    @property
    def word_lm(self) -> NGramModel | None:
        """The model, if it is one of words."""
        return self.lm if self.token_words is None else None


@dataclass(frozen=True)
class SearchSetup:
    """All that a search needs and does not change."""

    labels: Labels
    frame_seconds: float
    normalise: bool
    options: BeamOptions
    limits: Limits
    scorer: Scorer
    hot_start: int
    lm_start: int
    end_id: int
    written: Sequence[str]


def make_setup(knowledge: Knowledge, hotwords: Hotwords, options: BeamOptions) -> SearchSetup:
    """Return what a search needs.

    Raises
    ------
    DecodingError
        If a hotword has characters that no label writes.
    """
    labels, lm, vocabulary = knowledge.labels, knowledge.lm, knowledge.vocabulary
    if hotwords.words and (vocabulary.is_closed or knowledge.word_lm is not None):
        vocabulary = vocabulary.with_words(hotwords.words, knowledge.word_lm)
    nodes, table, start = build_automaton(hotwords, vocabulary.alphabet)
    units, unit_begins = vocabulary.alphabet.units(labels.letters)
    tokens = np.zeros(len(labels), SCORER_TOKEN)
    tokens["begins_word"] = labels.begins_word
    tokens["first_unit"], tokens["end_unit"] = unit_begins[:-1], unit_begins[1:]
    if knowledge.token_words is not None:
        tokens["word_id"] = knowledge.token_words
    token_beta = 0.0 if knowledge.token_words is None else float(options.beta)
    scorer = Scorer(
        tokens=tokens,
        units=units,
        trie_nodes=vocabulary.nodes,
        trie_table=vocabulary.table,
        entries=vocabulary.entries,
        hot_nodes=nodes,
        hot_table=table,
        has_hotwords=bool(hotwords.weights),
        boundary=vocabulary.alphabet.boundary,
        lm=lm.query_arrays if lm is not None else NO_ARRAYS,
        is_neutral=lm is None and not vocabulary.is_closed and not hotwords.weights,
        level=NO_MODEL if lm is None else OF_WORDS if knowledge.word_lm is not None else OF_TOKENS,
        token_gain=max(0.0, token_beta),
        **_weights(knowledge, vocabulary, options),
    )
    return SearchSetup(
        labels=labels,
        frame_seconds=knowledge.frame_seconds,
        normalise=knowledge.normalise,
        options=options,
        limits=_limits(labels, options),
        scorer=scorer,
        hot_start=start,
        lm_start=lm.start_state if lm is not None else 0,
        end_id=lm.end_id if lm is not None and options.sentence_end else -1,
        written=vocabulary.written,
    )


def _weights(knowledge: Knowledge, vocabulary: Vocabulary, options: BeamOptions) -> dict[str, float]:
    """Return the weights and costs of a `Scorer`."""
    labels, word_lm = knowledge.labels, knowledge.word_lm
    oov_scores = {"allow": 0.0, "penalise": float(options.oov_score), "forbid": -np.inf}
    oov_score = oov_scores[options.oov] if word_lm is not None else 0.0
    alpha, beta = (float(options.alpha), float(options.beta)) if knowledge.lm is not None else (0.0, 0.0)
    word_alpha, word_beta = (alpha, beta) if word_lm is not None else (0.0, 0.0)
    unlisted_score = -np.inf if vocabulary.is_closed else oov_score
    unlisted_ahead = unlisted_score + word_beta
    if word_lm is not None:
        unlisted_ahead += alpha * word_lm.advance(word_lm.empty_state, 0)[0]
    best_ahead = max(unlisted_ahead, word_alpha * float(vocabulary.nodes["best"][0]) + word_beta)
    after_ends = [text for text, ends in zip(labels.letters, labels.begins_word, strict=True) if ends]
    return {
        "alpha": alpha,
        "beta": beta,
        "word_alpha": word_alpha,
        "word_beta": word_beta,
        "unlisted_score": unlisted_score,
        "oov_score": oov_score,
        "unlisted_ahead": unlisted_ahead,
        "next_word_ahead": max([best_ahead if text else 0.0 for text in after_ends], default=0.0),
    }


def _limits(labels: Labels, options: BeamOptions) -> Limits:
    return Limits(
        labels.blank,
        int(options.beam_size),
        int(options.top_k) or len(labels),
        float(options.token_threshold),
        float(options.beam_threshold),
        int(options.horizon_frames),
    )


def find_token_words(labels: Labels, model: NGramModel) -> npt.NDArray[np.int32]:
    """Return the model's word for each label.

    Raises
    ------
    DecodingError
        If the model knows none of the labels.
    """
    names = [
        next((name for name in (text, *DELIMITER_NAMES) if name in model), text) if text in (" ", "|") else text
        for text in labels.texts
    ]
    ids = np.array([model.word_id(name) for name in names], np.int32)
    if not ids.any():
        raise DecodingError(
            f"the language model knows none of the labels ({', '.join(map(repr, labels.texts[:5]))}, …): it lists "
            f"{', '.join(map(repr, model.words[3:8]))}, …; for a model of words use lm_level='word'"
        )
    return ids
