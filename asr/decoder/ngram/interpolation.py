"""Mixing models: weights by held-out text, and one back-off model that stands for the mixture.

P(w | h) = sum of weight_i P_i(w | h). The weights are those of the highest likelihood of a held-out text, by
expectation maximisation (Jelinek & Mercer 1980). The static model lists every n-gram that any of the models lists,
with the mixture's probability, and has its back-off weights computed anew (SRILM's ``ngram -mix-lm``; Stolcke 2002).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.decoder.ngram.model import NGramModel
from asr.decoder.ngram.query import Int, QueryArrays, advance
from asr.decoder.ngram.text import BOS, UNK, check_sentences
from asr.decoder.ngram.trie import Level, renormalise
from asr.errors import DecodingError

MAX_ITERATIONS = 200
# In nats per word: where the likelihood rises by less, the weights are found.
TOLERANCE = 1e-7


@dataclass(frozen=True)
class MixtureWeights:
    """Weights of a mixture and how well it predicts the text that they were found by.

    Parameters
    ----------
    weights
        One per model; they sum to 1.
    perplexity
        Of the mixture, over words that one of the models knows at least, and sentence ends.
    perplexities
        Of each model alone, over what it knows.
    num_tokens, num_oov
        Words and sentence ends; words that no model knows, which are left out.
    """

    weights: tuple[float, ...]
    perplexity: float
    perplexities: tuple[float, ...]
    num_tokens: int
    num_oov: int


def mixture_weights(models: Sequence[NGramModel], sentences: Iterable[str]) -> MixtureWeights:
    """Return the weights under which a mixture of models predicts a held-out text best.

    Raises
    ------
    DecodingError
        If there are fewer than two models, no sentence holds a word of theirs, or one string was given instead of
        several.
    """
    _check_models(models)
    check_sentences(sentences)
    texts = [words for words in map(str.split, sentences) if words]
    probs = np.stack([_token_probs(model, texts) for model in models])
    known = probs.any(axis=0)
    seen = probs[:, known]
    if not seen.size:
        raise DecodingError("the models know no word of the held-out text: is it normalised like their text?")
    weights = np.full(len(models), 1.0 / len(models))
    before = -np.inf
    for _ in range(MAX_ITERATIONS):
        shares = weights[:, None] * seen
        totals = shares.sum(axis=0)
        likelihood = float(np.log(totals).mean())
        weights = (shares / totals).mean(axis=1)
        if likelihood - before < TOLERANCE:
            break
        before = likelihood
    alone = tuple(float(np.exp(-np.log(row[row > 0]).mean())) if row.any() else np.inf for row in probs)
    perplexity = float(np.exp(-np.log(weights @ seen).mean()))
    return MixtureWeights(tuple(weights.tolist()), perplexity, alone, probs.shape[1], int((~known).sum()))


def interpolate(models: Sequence[NGramModel], weights: Sequence[float]) -> NGramModel:
    """Return one back-off model for a mixture.

    A word that a model does not know has no probability by it: the words that only some models know share what these
    give them, and ``<unk>`` has the mixture of all models' ``<unk>``.

    Parameters
    ----------
    models
        At least two, of any orders.
    weights
        One per model, not negative; they are divided by their sum.

    Raises
    ------
    DecodingError
        If models or weights are too few, or a weight is negative or not a number.
    """
    _check_models(models)
    shares = np.array(weights, np.float64)
    if len(shares) != len(models) or not (np.isfinite(shares).all() and (shares >= 0).all() and shares.any()):
        raise DecodingError(f"the weights are {list(weights)}; expected {len(models)} numbers, none of them negative")
    shares /= shares.sum()
    words = list(dict.fromkeys(word for model in models for word in model.words))
    ids = {word: i for i, word in enumerate(words)}
    views = [_View.of(model, ids) for model in models]
    levels: list[Level] = []
    for order in range(1, max(model.order for model in models) + 1):
        parents, last_words = _union(views, order)
        probs = np.zeros(len(parents))
        for view, share in zip(views, shares, strict=True):
            probs += share * view.advance(parents, last_words)
        with np.errstate(divide="ignore"):
            log10_probs = np.maximum(np.log10(probs), -99).astype(np.float32)
        if order == 1:
            # <s> is never predicted.
            log10_probs[ids[BOS]] = models[0].levels()[0].log10_probs[models[0].word_id(BOS)]
        levels.append(Level(parents, last_words, log10_probs, np.zeros_like(log10_probs)))
    return NGramModel("\n".join(words).encode(), renormalise(levels), tuple(map(len, levels)))


class _View:
    """A model as the mixture sees it: by the mixture's word ids and rows.

    Parameters
    ----------
    model
        The model.
    own_ids
        int32 (num_words of the mixture,), the model's id, -1 for a word that it does not know.
    mixture_ids
        int32 (num_words of the model,), the mixture's.
    """

    def __init__(self, model: NGramModel, own_ids: npt.NDArray[np.int32], mixture_ids: npt.NDArray[np.int32]) -> None:
        self.arrays = model.query_arrays
        self.levels = model.levels()
        self.own_ids = own_ids
        self.mixture_ids = mixture_ids
        # The state after each n-gram of the mixture of the order done last, and for the model's own their rows there.
        self.states = np.full(1, model.empty_state, np.int32)
        self.rows = np.zeros(1, np.int32)

    @classmethod
    def of(cls, model: NGramModel, ids: dict[str, int]) -> "_View":
        mixture_ids = np.array([ids[word] for word in model.words], np.int32)
        own_ids = np.full(len(ids), -1, np.int32)
        own_ids[mixture_ids] = np.arange(len(mixture_ids))
        return cls(model, own_ids, mixture_ids)

    def keys(self, order: int) -> npt.NDArray[np.int64]:
        """Return (row of the context in the mixture, last word) of the model's n-grams as numbers that sort alike."""
        if order > len(self.levels):
            return np.empty(0, np.int64)
        level = self.levels[order - 1]
        return (self.rows[level.parents].astype(np.int64) << 32) | self.mixture_ids[level.words]

    def advance(self, parents: npt.NDArray[np.int32], words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """Return P(word | context) of the mixture's n-grams of the next order, and go on to them."""
        probs, states = np.empty(len(words)), np.empty(len(words), np.int32)
        score_children(self.arrays, self.states, parents, self.own_ids[words], probs, states)
        self.states = states
        return probs


def _union(views: list[_View], order: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return contexts and last words of the n-grams of an order that any model lists; 1-grams are all words."""
    own = [view.keys(order) for view in views]
    keys = np.unique(np.concatenate(own))
    for view, listed in zip(views, own, strict=True):
        view.rows = np.searchsorted(keys, listed).astype(np.int32)
    return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)


def _token_probs(model: NGramModel, texts: list[list[str]]) -> npt.NDArray[np.float64]:
    """Return the probability, float64, of every word and sentence end; 0 for words that the model does not know."""
    parts = []
    for words in texts:
        probs = np.exp(model.log_probs(words))
        probs[:-1][[word not in model or word == UNK for word in words]] = 0.0
        parts.append(probs)
    return np.concatenate(parts) if parts else np.empty(0)


def _check_models(models: Sequence[NGramModel]) -> None:
    if len(models) < 2:
        raise DecodingError(f"{len(models)} language model(s) to mix; expected two or more")


@compiled
def score_children(
    query_arrays: QueryArrays,
    states: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
    words: npt.NDArray[np.int32],
    probs: npt.NDArray[np.float64],
    next_states: npt.NDArray[np.int32],
) -> None:
    """Write P(word | state of its context) and the state after it; 0 for word -1, which passes as ``<unk>``.

    Parameters
    ----------
    query_arrays
        Of the model.
    states
        int32, by context.
    parents, words
        int32 (count,), context and word id.
    probs
        float64 (count,), written.
    next_states
        int32 (count,), written.
    """
    for i in range(len(words)):
        word: Int = np.int64(words[i])
        log_prob, state = advance(query_arrays, np.int64(states[parents[i]]), max(word, 0))
        probs[i] = np.exp(log_prob) if word >= 0 else 0.0
        next_states[i] = state
