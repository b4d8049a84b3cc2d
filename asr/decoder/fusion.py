"""What a hypothesis gains or loses beside its acoustic score: language model, lexicon, hotwords; and what to expect.

Three automata run along the letters of a hypothesis: the trie of known words, from its root anew for each word; the
language model, which moves on where a word (or a token) ends; and the hotwords. What is certain goes into the
node's `bonus`. What is only expected goes into `look_ahead`: by it hypotheses are compared while a word or a hotword
is unfinished, and it is never part of a score. So breaking off a hotword gives its credit back.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import part
from asr.decoder.ngram.query import Int, QueryArrays, advance
from asr.decoder.trie import find_child

WORD_START, UNKNOWN_WORD = 0, -1
NO_MODEL, OF_WORDS, OF_TOKENS = 0, 1, 2
NO_ENTRY = -1
SCORER_TOKEN = np.dtype([("begins_word", "i4"), ("first_unit", "i4"), ("end_unit", "i4"), ("word_id", "i4")])


class Scorer(NamedTuple):
    """All that `extend` reads, in types that are the same for every model.

    Parameters
    ----------
    tokens
        SCORER_TOKEN (V,): whether a label ends the word before it; which of `units` it adds to a word; and, where the
        language model is one of tokens, its word there.
    units
        int32, the letters of all labels.
    trie_nodes, trie_table, entries
        The trie of known words (see `asr.decoder.trie`).
    hot_nodes, hot_table
        The automaton of hotwords (see `asr.decoder.hotwords`).
    has_hotwords
        Whether there are any.
    boundary
        The unit that stands between words in hotwords.
    lm
        The arrays of the language model (see `asr.decoder.ngram.query`).
    is_neutral
        Whether there is nothing to score, so that all this can be passed over.
    level
        NO_MODEL, OF_WORDS or OF_TOKENS.
    alpha, beta
        Weight of the model's natural log-probabilities, and bonus for each word or token. 0 without a model.
    unlisted_score, oov_score
        Cost of a word that the trie does not list, and of one that it lists but the model does not know; -inf
        forbids such words.
    word_alpha, word_beta
        The same if the model is one of words, else 0.
    unlisted_ahead
        What to expect of an unfinished word that the trie does not list.
    next_word_ahead
        The most to expect right after a label that ends a word, which may begin the next one.
    token_gain
        The most that one label can add by a model of tokens.
    """

    tokens: npt.NDArray[Any]
    units: npt.NDArray[np.int32]
    trie_nodes: npt.NDArray[Any]
    trie_table: npt.NDArray[np.int32]
    entries: npt.NDArray[Any]
    hot_nodes: npt.NDArray[Any]
    hot_table: npt.NDArray[np.int32]
    has_hotwords: bool
    boundary: int
    lm: QueryArrays
    is_neutral: bool
    level: int
    alpha: float
    beta: float
    unlisted_score: float
    oov_score: float
    word_alpha: float
    word_beta: float
    unlisted_ahead: float
    next_word_ahead: float
    token_gain: float


class Standing(NamedTuple):
    """Where the automata stand after a hypothesis, and the scores so far; plain numbers.

    Parameters
    ----------
    word
        Node in the trie of the unfinished word, WORD_START before its first letter, UNKNOWN_WORD off the trie.
    hot
        State of the hotwords' automaton.
    lm_state
        State of the language model.
    lm_score
        Natural log-probability by the model, not weighted.
    hot_score
        Weights of the hotwords said.
    bonus
        All that counts beside the acoustic score, weighted, hotwords included.
    """

    word: Int
    hot: Int
    lm_state: Int
    lm_score: float
    hot_score: float
    bonus: float


@part
def extend(scorer, standing, token, entry):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after one more token; `entry` is the word that ends before it, if any."""
    label, units = scorer.tokens[token], scorer.units
    if scorer.level == OF_TOKENS:
        standing = say(scorer, standing, np.int64(label.word_id), 0.0)
    # A delimiter after a delimiter ends no word.
    if label.begins_word and standing.word != WORD_START:
        standing = end_word(scorer, standing, entry)
    word, hot = standing.word, standing.hot
    for k in range(label.first_unit, label.end_unit):
        if word != UNKNOWN_WORD:
            word = find_child(scorer.trie_nodes, scorer.trie_table, word, units[k])
        if scorer.has_hotwords:
            hot = next_hot_state(scorer, hot, units[k])
    return Standing(word, hot, standing.lm_state, standing.lm_score, standing.hot_score, standing.bonus)


@part
def end_word(scorer, standing, entry):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after the end of its unfinished word, which is `entry` of the trie."""
    word_id, cost = np.int64(0), scorer.unlisted_score
    if entry != NO_ENTRY:
        word_id = np.int64(scorer.entries[entry].word_id)
        cost = scorer.oov_score if scorer.entries[entry].is_oov else 0.0
    if scorer.level == OF_WORDS:
        standing = say(scorer, standing, word_id, cost)
    else:
        standing = Standing(
            standing.word, standing.hot, standing.lm_state, standing.lm_score, standing.hot_score, standing.bonus + cost
        )
    hot, weight = standing.hot, 0.0
    if scorer.has_hotwords:
        hot = next_hot_state(scorer, hot, scorer.boundary)
        weight = scorer.hot_nodes[hot].weight
    return Standing(
        np.int64(WORD_START), hot, standing.lm_state, standing.lm_score,
        standing.hot_score + weight, standing.bonus + weight,
    )  # fmt: skip


@part
def say(scorer, standing, word_id, cost):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after the language model's next word."""
    log_prob, lm_state = advance(scorer.lm, standing.lm_state, word_id)
    bonus = standing.bonus + scorer.alpha * log_prob + scorer.beta + cost
    lm_score = standing.lm_score + log_prob
    return Standing(standing.word, standing.hot, lm_state, lm_score, standing.hot_score, bonus)


@part
def next_hot_state(scorer, hot, unit):  # type: ignore[no-untyped-def]
    """Return the hotwords' state after one more unit (Aho & Corasick 1975): the longest suffix that begins one."""
    while True:
        child = find_child(scorer.hot_nodes, scorer.hot_table, hot, unit)
        if child >= 0:
            return child
        if hot == 0:
            return np.int64(0)
        hot = np.int64(scorer.hot_nodes[hot].fallback)


@part
def look_ahead(scorer, word, hot):  # type: ignore[no-untyped-def]
    """Return what may be expected of an unfinished word and of unfinished hotwords.

    For a word, that is the best that the language model's 1-grams give to any word with this beginning.
    """
    expected = scorer.hot_nodes[hot].potential
    if word == UNKNOWN_WORD:
        return expected + scorer.unlisted_ahead
    if word != WORD_START:
        return expected + scorer.word_alpha * scorer.trie_nodes[word].best + scorer.word_beta
    return expected


@part
def ceilings(scorer, standing):  # type: ignore[no-untyped-def]
    """Return the most that bonus and look-ahead can come to after a label that ends the word, and after another.

    Most labels are refused by these bounds alone, without a step of any automaton.
    """
    ahead, hot = scorer.unlisted_ahead, scorer.hot_nodes[standing.hot]
    if standing.word != UNKNOWN_WORD:
        # With every letter fewer words remain, so the best of them cannot become better.
        ahead = max(ahead, scorer.word_alpha * scorer.trie_nodes[standing.word].best + scorer.word_beta)
    ended = standing.bonus + hot.end_gain
    if standing.word != WORD_START:
        ended += scorer.word_beta + scorer.unlisted_score
    else:
        # A second delimiter ends no word, and leaves the hotwords where they stand.
        ended = standing.bonus + max(hot.end_gain, hot.potential, hot.letter_gain, 0.0)
    if standing.word > WORD_START and scorer.trie_nodes[standing.word].entry != NO_ENTRY:
        entry = np.int64(scorer.trie_nodes[standing.word].entry)
        ended = -np.inf
        while entry != NO_ENTRY:
            after = end_word(scorer, standing, entry)
            begun = scorer.hot_nodes[after.hot]
            ended = max(ended, after.bonus + max(begun.potential, begun.letter_gain))
            entry = np.int64(scorer.entries[entry].next)
    within = standing.bonus + ahead + max(hot.letter_gain, 0.0)
    return ended + scorer.next_word_ahead + scorer.token_gain, within + scorer.token_gain
