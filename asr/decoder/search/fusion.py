"""What a hypothesis gains or loses beside its acoustic score: language model, lexicon, hotwords; and what to expect.

Three automata run along a hypothesis: the trie of known words, from its root anew for each word; the language model,
which moves on where a word (or a token) ends; and the hotwords, which move on with whole words. What is certain goes
into the node's `bonus`. What is only expected goes into `look_ahead`: by it hypotheses are compared while a word or a
hotword is unfinished, and it is never part of a score. So breaking off a hotword gives its credit back.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.hypothesis import NOT_ENDED, UNLISTED
from asr.decoder.ngram.query import Int, QueryArrays, advance
from asr.decoder.search.trie import edge_slot, find_child

WORD_START, UNKNOWN_WORD = 0, -1
NO_MODEL, OF_WORDS, OF_TOKENS = 0, 1, 2
# start_ahead: the most to expect of a word that begins with this label.
SCORER_TOKEN = np.dtype(
    [
        *(("begins_word", "i4"), ("is_delimiter", "i4"), ("first_unit", "i4"), ("end_unit", "i4")),
        *(("word_id", "i4"), ("pad", "i4"), ("start_ahead", "f8")),
    ]
)
# Within the word after the hotwords' state `hot`, at node `word` of the trie, a hotword is being said: `potential` is
# the part of its weight that it is credited with while it goes on; `gain` the most that this can become by letters.
HOT_PLACE = np.dtype([("hot", "i4"), ("word", "i4"), ("potential", "f8"), ("gain", "f8")])


class Scorer(NamedTuple):
    """All that `extend` reads, in types that are the same for every model.

    Parameters
    ----------
    tokens
        SCORER_TOKEN (V,): whether a label ends the word before it, and adds nothing to the next; which of `units` it
        adds to a word; its word in the language model, if that is one of tokens; what to expect of a word that it
        begins.
    units
        int32, what all labels add to words: letters, or the labels themselves.
    trie_nodes, trie_table, entries
        The trie of known words (see `asr.decoder.search.trie`).
    hot_nodes, hot_table, hot_places, hot_place_table, hot_numbers
        The automaton of hotwords (see `asr.decoder.hotwords.HotArrays`).
    has_hotwords
        Whether there are any.
    lm
        The arrays of the language model (see `asr.decoder.ngram.query`).
    is_neutral
        Whether there is nothing to score, so that all this can be passed over.
    is_free
        Whether any label may begin a word, for the labels have no delimiters, and the words are a lexicon's.
    level
        NO_MODEL, OF_WORDS or OF_TOKENS.
    alpha, beta
        Weight of the model's natural log-probabilities, and bonus for each word or token. 0 without a model.
    unlisted_score, oov_score
        Cost of a word that the trie does not list, and of one that it lists but the model does not know; -inf
        forbids such words.
    empty_score
        Cost of a delimiter that ends no word.
    word_alpha, word_beta
        The same if the model is one of words, else 0.
    unlisted_ahead, oov_ahead
        What to expect of an unfinished word that the trie does not list, or that the model does not know.
    best_start_ahead
        The most to expect of a word that any label begins.
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
    hot_places: npt.NDArray[Any]
    hot_place_table: npt.NDArray[np.int32]
    hot_numbers: npt.NDArray[np.int32]
    has_hotwords: bool
    lm: QueryArrays
    is_neutral: bool
    is_free: bool
    level: int
    alpha: float
    beta: float
    unlisted_score: float
    oov_score: float
    empty_score: float
    word_alpha: float
    word_beta: float
    unlisted_ahead: float
    oov_ahead: float
    best_start_ahead: float
    token_gain: float


class FusionState(NamedTuple):
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
def extend(scorer, fusion, token, entry):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after one more token; `entry` is the word that ends before it, or NOT_ENDED."""
    label = scorer.tokens[token]
    if scorer.level == OF_TOKENS:
        fusion = score_word(scorer, fusion, np.int64(label.word_id), 0.0)
    bonus_of_token = 0.0
    if entry != NOT_ENDED:
        fusion = end_word(scorer, fusion, entry)
    elif label.is_delimiter:
        bonus_of_token = scorer.empty_score
    word = spell(scorer, fusion.word, token)
    return FusionState(
        word, fusion.hot, fusion.lm_state, fusion.lm_score, fusion.hot_score, fusion.bonus + bonus_of_token
    )


@part
def spell(scorer, word, token):  # type: ignore[no-untyped-def]
    """Return the node in the trie after one more token."""
    label, units = scorer.tokens[token], scorer.units
    for k in range(label.first_unit, label.end_unit):
        if word != UNKNOWN_WORD:
            word = find_child(scorer.trie_nodes, scorer.trie_table, word, units[k])
    return word


@part
def follow(scorer, word, hot, token, entry):  # type: ignore[no-untyped-def]
    """Return the node in the trie and the hotwords' state after one more token, as `extend` does, and the entry.

    `entry` may come from a search that knew fewer words, or none; what is returned is this one's.
    """
    if scorer.is_neutral:
        return np.int64(WORD_START), np.int64(0), np.int64(NOT_ENDED)
    if entry == UNLISTED or (entry == NOT_ENDED and scorer.tokens[token].begins_word):
        entry = first_entry(scorer, word)
    if entry != NOT_ENDED:
        hot, word = next_hot_state(scorer, hot, number_of(scorer, entry)), np.int64(WORD_START)
    return spell(scorer, word, token), hot, entry


@part
def number_of(scorer, entry):  # type: ignore[no-untyped-def]
    """Return the number of a word among those of the hotwords, -1 for none."""
    return np.int64(scorer.hot_numbers[entry]) if entry >= 0 else np.int64(-1)


@part
def end_word(scorer, fusion, entry):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after the end of its unfinished word: `entry` of the trie, or UNLISTED."""
    word_id, cost = np.int64(0), scorer.unlisted_score
    if entry != UNLISTED:
        word_id = np.int64(scorer.entries[entry].word_id)
        cost = np.float64(scorer.entries[entry].log_weight)
        if scorer.entries[entry].is_oov:
            cost += scorer.oov_score
    if scorer.level == OF_WORDS:
        fusion = score_word(scorer, fusion, word_id, cost)
    else:
        fusion = FusionState(
            fusion.word, fusion.hot, fusion.lm_state, fusion.lm_score, fusion.hot_score, fusion.bonus + cost
        )
    hot, weight = np.int64(0), 0.0
    if scorer.has_hotwords:
        hot = next_hot_state(scorer, fusion.hot, number_of(scorer, entry))
        weight = scorer.hot_nodes[hot].weight
    return FusionState(
        np.int64(WORD_START), hot, fusion.lm_state, fusion.lm_score,
        fusion.hot_score + weight, fusion.bonus + weight,
    )  # fmt: skip


@part
def score_word(scorer, fusion, word_id, cost):  # type: ignore[no-untyped-def]
    """Return where a hypothesis stands after the language model's next word."""
    log_prob, lm_state = advance(scorer.lm, fusion.lm_state, word_id)
    bonus = fusion.bonus + scorer.alpha * log_prob + scorer.beta + cost
    lm_score = fusion.lm_score + log_prob
    return FusionState(fusion.word, fusion.hot, lm_state, lm_score, fusion.hot_score, bonus)


@part
def next_hot_state(scorer, hot, number):  # type: ignore[no-untyped-def]
    """Return the hotwords' state after one more word (Aho & Corasick 1975): the longest suffix that begins one."""
    if number < 0:
        return np.int64(0)
    while True:
        child = find_child(scorer.hot_nodes, scorer.hot_table, hot, number)
        if child >= 0:
            return child
        if hot == 0:
            return np.int64(0)
        hot = np.int64(scorer.hot_nodes[hot].fallback)


@part
def find_place(places, table, hot, word):  # type: ignore[no-untyped-def]
    """Return the place of a node of the trie after a state of the hotwords, 0 if there is none."""
    slot = edge_slot(hot, word, len(table))
    while table[slot] != 0:
        place = np.int64(table[slot])
        if places[place].hot == hot and places[place].word == word:
            return place
        slot = (slot + 1) & (len(table) - 1)
    return np.int64(0)


@compiled_in_place
def link_places(places, table):  # type: ignore[no-untyped-def]
    """Enter all places but the first into an empty table."""
    for place in range(1, len(places)):
        slot = edge_slot(np.int64(places[place].hot), np.int64(places[place].word), len(table))
        while table[slot] != 0:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = place


@part
def hot_ahead(scorer, hot, word):  # type: ignore[no-untyped-def]
    """Return what unfinished hotwords are credited with, and the most that this can become within the word."""
    potential, gain = 0.0, 0.0
    if scorer.has_hotwords and word != UNKNOWN_WORD:
        while True:
            place = scorer.hot_places[find_place(scorer.hot_places, scorer.hot_place_table, hot, word)]
            potential, gain = max(potential, place.potential), max(gain, place.gain)
            if hot == 0:
                break
            hot = np.int64(scorer.hot_nodes[hot].fallback)
    return potential, gain


@part
def look_ahead(scorer, word, hot):  # type: ignore[no-untyped-def]
    """Return what may be expected of an unfinished word and of unfinished hotwords.

    For a word, that is the best that the language model's 1-grams give to any word with this beginning, less the cost
    of unknown ones.
    """
    return word_ahead(scorer, word) + hot_ahead(scorer, hot, word)[0]


@part
def word_ahead(scorer, word):  # type: ignore[no-untyped-def]
    """Return what may be expected of an unfinished word."""
    if word == UNKNOWN_WORD:
        return scorer.unlisted_ahead
    if word != WORD_START:
        return best_below(scorer, word)
    return 0.0


@part
def best_below(scorer, word):  # type: ignore[no-untyped-def]
    """Return the most that the 1-grams give to a word with this beginning, unknown ones with their cost."""
    ahead = scorer.word_alpha * scorer.trie_nodes[word].best + scorer.word_beta
    if scorer.trie_nodes[word].has_oov:
        ahead = max(ahead, scorer.oov_ahead)
    return ahead


@compiled_in_place
def expect_starts(scorer):  # type: ignore[no-untyped-def]
    """Write for each label what to expect of a word that begins with it."""
    for token in range(len(scorer.tokens)):
        scorer.tokens[token].start_ahead = word_ahead(scorer, spell(scorer, np.int64(WORD_START), token))


@part
def ceilings(scorer, fusion):  # type: ignore[no-untyped-def]
    """Return the most that bonus and look-ahead can come to after a label before which the word ends, and another.

    Of the former without what is expected of the label itself, `start_ahead`. Most labels are refused by these bounds
    alone, without a step of any automaton.
    """
    ahead = scorer.unlisted_ahead
    if fusion.word != UNKNOWN_WORD:
        # With every letter fewer words remain, so the best of them cannot become better.
        ahead = max(ahead, best_below(scorer, fusion.word))
    potential, gain = hot_ahead(scorer, fusion.hot, fusion.word)
    within = fusion.bonus + ahead + gain
    if fusion.word == WORD_START:
        # A second delimiter ends no word, and leaves the hotwords where they stand.
        ended = fusion.bonus + max(potential, gain)
    elif first_entry(scorer, fusion.word) == UNLISTED:
        potential, gain = hot_ahead(scorer, np.int64(0), np.int64(WORD_START))
        ended = fusion.bonus + scorer.word_beta + scorer.unlisted_score + max(potential, gain)
    else:
        ended = -np.inf
        entry = first_entry(scorer, fusion.word)
        while entry != NOT_ENDED:
            after = end_word(scorer, fusion, entry)
            potential, gain = hot_ahead(scorer, after.hot, after.word)
            ended = max(ended, after.bonus + max(potential, gain))
            entry = next_entry(scorer, entry)
    return ended + scorer.token_gain, within + scorer.token_gain


@part
def first_entry(scorer, word):  # type: ignore[no-untyped-def]
    """Return the first word that may end at a node of the trie; NOT_ENDED at the start of one."""
    if word == WORD_START:
        return np.int64(NOT_ENDED)
    if word == UNKNOWN_WORD or scorer.trie_nodes[word].entry < 0:
        return np.int64(UNLISTED)
    return np.int64(scorer.trie_nodes[word].entry)


@part
def next_entry(scorer, entry):  # type: ignore[no-untyped-def]
    """Return the next word that may end at the same node, NOT_ENDED after the last."""
    return np.int64(scorer.entries[entry].next) if entry >= 0 else np.int64(NOT_ENDED)
