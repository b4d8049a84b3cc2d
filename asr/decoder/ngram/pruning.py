"""Smaller models: by entropy (Stolcke 1998, "Entropy-based pruning of backoff language models"), by vocabulary."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram.model import NGramModel
from asr.decoder.ngram.text import BOS, EOS, UNK
from asr.decoder.ngram.trie import Level, free_mass, keep_rows, level_offsets, natural, renormalise, suffix_scores
from asr.errors import DecodingError

Floats = npt.NDArray[np.float64]


def prune(model: NGramModel, threshold: float) -> NGramModel:
    """Leave out the n-grams that cost little perplexity, and compute the back-off weights anew.

    An n-gram goes if leaving it out alone raises the model's perplexity by a relative `threshold` at most; 1-grams
    stay, and so do n-grams that are the context of one that stays. What is listed keeps its probability.

    Parameters
    ----------
    model
        Any back-off model. With Kneser-Ney smoothing, pruning costs more than with others, because the probability
        of a context is computed from the model's own lower orders (Chelba et al. 2010): prefer count cut-offs
        where they give the size that is wanted, or prune mildly.
    threshold
        Relative rise of perplexity, at least 0; 1e-9 to 1e-6 are common.

    Raises
    ------
    DecodingError
        If the threshold is negative or not a number.
    """
    if not threshold >= 0:
        raise DecodingError(f"the pruning threshold is {threshold}, expected a relative rise of perplexity >= 0")
    levels = model.levels()
    context_log_probs = _context_log_probs(model, levels)
    is_kept = [np.ones(len(level), np.bool_) for level in levels]
    for order in range(model.order, 1, -1):
        kept = _perplexity_rises(model, levels, order, context_log_probs[order - 2]) > threshold
        if order < model.order:
            kept[levels[order].parents[is_kept[order]]] = True
        is_kept[order - 1] = kept
    kept_levels = keep_rows(levels, is_kept)
    return NGramModel(model.packed_words, renormalise(kept_levels), tuple(map(len, kept_levels)))


def restrict(model: NGramModel, vocabulary: Iterable[str]) -> NGramModel:
    """Leave out all n-grams with a word that is not in `vocabulary`; ``<unk>`` takes the probability of these words.

    Words that the model does not know are passed over. What is listed keeps its probability, but for ``<unk>``.

    Raises
    ------
    DecodingError
        If the model knows none of the words.
    """
    wanted = frozenset(vocabulary)
    special = (UNK, BOS, EOS)
    words = model.words
    is_known = np.array([word in wanted or word in special for word in words])
    if is_known.sum() == len(special):
        raise DecodingError(
            "the language model knows none of the words of the vocabulary: are both normalised in the same way?"
        )
    levels = model.levels()
    is_kept = [is_known]
    for level in levels[1:]:
        is_kept.append(is_known[level.words] & is_kept[-1][level.parents])
    new_ids = np.cumsum(is_known, dtype=np.int32) - np.int32(1)
    kept = [replace(level, words=new_ids[level.words]) for level in keep_rows(levels, is_kept)]
    unknown = model.word_id(UNK)
    mass = np.exp(natural(levels[0].log10_probs[~is_known])).sum() + 10.0 ** float(levels[0].log10_probs[unknown])
    unigrams = kept[0].log10_probs.copy()
    unigrams[new_ids[unknown]] = np.log10(mass)
    kept[0] = replace(kept[0], log10_probs=unigrams)
    packed = "\n".join(word for word, known in zip(words, is_known, strict=True) if known).encode()
    return NGramModel(packed, renormalise(kept), tuple(map(len, kept)))


def _context_log_probs(model: NGramModel, levels: list[Level]) -> list[Floats]:
    """Return log P(n-gram) of each order but the highest, by the chain rule."""
    unigrams = natural(levels[0].log10_probs)
    # A sentence starts as often as one ends, though <s> itself is never predicted.
    unigrams[model.word_id(BOS)] = unigrams[model.end_id]
    result = [unigrams]
    for level in levels[1:-1]:
        result.append(result[-1][level.parents] + natural(level.log10_probs))
    return result


def _perplexity_rises(model: NGramModel, levels: list[Level], order: int, context_log_probs: Floats) -> Floats:
    """Return by what share the perplexity rises without each n-gram of an order: section 3 of Stolcke (1998)."""
    level, contexts = levels[order - 1], levels[order - 2]
    log_probs = natural(level.log10_probs)
    lower, _ = suffix_scores(model.query_arrays, level_offsets(model.counts), order, level)
    free, lower_free = free_mass(level, len(contexts), log_probs, lower)
    of = level.parents
    # The context's back-off weight if this n-gram alone were left out.
    new_weights = np.log((free[of] + np.exp(log_probs)) / (lower_free[of] + np.exp(lower)))
    old_weights = natural(contexts.log10_backoffs)
    change = np.exp(log_probs) * (lower + new_weights - log_probs) + free[of] * (new_weights - old_weights[of])
    rises: Floats = np.expm1(-np.exp(context_log_probs[of]) * change)
    return rises
