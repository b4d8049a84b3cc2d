"""Prefix beam search for CTC, compiled.

A labelling's probability is the sum over all its alignments (Graves et al. 2006). The search (Graves 2012, section 7.5;
Hannun et al. 2014) goes through the frames with a set of prefixes and keeps for each the probability of all
alignments that end in a blank (`p_blank`) and in its last token (`p_token`): only the two together tell what a frame
makes of it. At each frame a prefix

1. stays, if the frame says blank, or repeats its last token;
2. stays, too, if its parent, also in the beam, says its last token now: one prefix, reached in two ways;
3. is extended by a new token. If that token equals the last one, only alignments that end in a blank count, for
   without a blank between them two equal tokens are one.

Of all these the best are kept. Probabilities are linear, not logarithms, so that adding alignments is an addition;
they are scaled by powers of two, which is exact. (A prefix below 1e-270 of the best is lost.)
"""

import math
from typing import NamedTuple

import numpy as np

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.hypothesis import NOT_ENDED
from asr.decoder.search.ending import commit_horizon
from asr.decoder.search.fusion import WORD_START, ceilings, extend, first_entry, follow, look_ahead, next_entry
from asr.decoder.search.selection import future_key, set_candidate, shorten
from asr.decoder.search.state import (
    BACKPOINTERS,
    FRAMES,
    HYPOTHESES,
    NONE,
    PREFIXES,
    find_prefix,
    fusion_state_of,
    link_prefix,
)

# Before probabilities fall below this, or rise above its inverse, all are multiplied to lie between.
SMALLEST = 2.0**-128
HORIZON_STEP = 64
BEFORE, STAYED, AFTER = 0, 1, 2


class Limits(NamedTuple):
    """What is kept; see `asr.decoder.BeamOptions`."""

    blank: int
    beam_size: int
    top_k: int
    token_threshold: float
    beam_threshold: float
    horizon_frames: int


@compiled_in_place
def search(frames, begin, limits, scorer, state):  # type: ignore[no-untyped-def]
    """Decode frames until all are done or the state is full.

    Parameters
    ----------
    frames
        float32 (T, V), natural log-probabilities.
    begin
        The first frame to decode.
    limits, scorer, state
        What is kept (`Limits`), what counts beside the acoustics (`Scorer`), and what is remembered (`SearchState`).

    Returns
    -------
    frames_done : int64
        Up to T; less if `asr.decoder.search.state.make_room` must be called before going on.
    """
    for t in range(begin, len(frames)):
        if state.counts[PREFIXES] + limits.beam_size > len(state.prefixes):
            return t
        if state.counts[BACKPOINTERS] + limits.beam_size > len(state.backpointers):
            return t
        frame = frames[t]
        num_tokens = choose_tokens(frame, limits, state.tokens)
        best, bound = stay(frame, limits, state)
        num_candidates, best = try_tokens(frame, num_tokens, (best, bound), limits, scorer, state)
        keep_best(frame, num_candidates, best - limits.beam_threshold, scorer, state, limits.beam_size)
        state.counts[FRAMES] += 1
        if state.counts[FRAMES] % HORIZON_STEP == 0:
            commit_horizon(limits, state)
        if state.counts[HYPOTHESES] == 0:
            return t
    return len(frames)


@compiled_in_place
def follow_again(scorer, state, said):  # type: ignore[no-untyped-def]
    """Let the automata of words and hotwords of another `Scorer` follow what was said; scores stay as they are.

    Parameters
    ----------
    scorer
        Its trie is that of the search so far, or has more words.
    state
        Of the search.
    said
        int32 (n, 2): tokens, and words that ended before them, up to the first prefix.
    """
    prefixes = state.prefixes
    word, hot = np.int64(WORD_START), np.int64(0)
    for k in range(len(said)):
        word, hot, _ = follow(scorer, word, hot, np.int64(said[k, 0]), np.int64(said[k, 1]))
    for i in range(state.counts[PREFIXES]):
        prefix = prefixes[i]
        if i > 0:
            parent = prefixes[prefix.parent]
            word, hot = np.int64(parent.word), np.int64(parent.hot)
            word, hot, entry = follow(scorer, word, hot, np.int64(prefix.token), np.int64(prefix.entry))
            # A prefix is found again by its entry: under another one its probability would be split in two.
            prefix.entry = entry
        prefix.word, prefix.hot = word, hot
        prefix.look_ahead, prefix.end_ceiling, prefix.letter_ceiling = 0.0, 0.0, 0.0
        if not scorer.is_neutral:
            prefix.look_ahead = look_ahead(scorer, word, hot)
            prefix.end_ceiling, prefix.letter_ceiling = ceilings(scorer, fusion_state_of(prefix))


@part
def choose_tokens(frame, limits, tokens):  # type: ignore[no-untyped-def]
    """Write the tokens to try, the most probable first (equal ones by number), and return how many."""
    count = 0
    for token in range(len(frame)):
        log_p = frame[token]
        if log_p < limits.token_threshold or token == limits.blank or log_p == -np.inf:
            continue
        if count == limits.top_k and log_p <= frame[tokens[count - 1]]:
            continue
        place = min(count, limits.top_k - 1)
        while place > 0 and frame[tokens[place - 1]] < log_p:
            tokens[place] = tokens[place - 1]
            place -= 1
        tokens[place] = token
        count = min(count + 1, limits.top_k)
    if count == 0:
        highest = np.float32(-np.inf)
        for token in range(len(frame)):
            if token != limits.blank and frame[token] > highest:
                highest, tokens[0], count = frame[token], token, 1
    return count


@part
def stay(frame, limits, state):  # type: ignore[no-untyped-def]
    """Let each hypothesis stay as it is, cases 1 and 2; these are the first candidates.

    Returns
    -------
    best, bound : float64
        The best score, and what a candidate must reach to be among the `beam_size` best.
    """
    before, stayed = state.beams[BEFORE], state.beams[STAYED]
    prefixes, candidates = state.prefixes, state.candidates
    num_hypotheses, now = state.counts[HYPOTHESES], state.counts[FRAMES]
    recombines = len(state.futures) > 0
    # In float64, as for tokens: the small errors of a float32 exponential would add up over the frames.
    p_of_blank = math.exp(np.float64(frame[limits.blank]))
    best, bound = -np.inf, np.inf
    for i in range(num_hypotheses):
        old, new = before[i], stayed[i]
        new.prefix = old.prefix
        new.p_blank = (old.p_blank + old.p_token) * p_of_blank
        new.blank_last, new.blank_end, new.blank_sum = old.blank_last, old.blank_end, old.blank_sum
        new.best_blank = old.best_blank * p_of_blank
        if old.best_token > old.best_blank:
            new.best_blank = old.best_token * p_of_blank
            new.blank_last, new.blank_sum = old.token_last, old.token_sum
            new.blank_end = now
        new.p_token, new.best_token, new.via = 0.0, 0.0, NONE
        new.token_last, new.token_sum = old.token_last, old.token_sum
        prefix = prefixes[old.prefix]
        if prefix.token != NONE:
            log_p = np.float64(frame[prefix.token])
            p = math.exp(log_p)
            new.p_token = old.p_token * p
            new.best_token = old.best_token * p
            new.token_sum += log_p
            parent = prefixes[prefix.parent].slot if prefix.parent != NONE else NONE
            if parent != NONE:
                p_parent, best_parent = extending(before[parent], prefixes[prefix.parent].token == prefix.token)
                new.p_token += p_parent * p
                if best_parent * p > new.best_token:
                    new.best_token = best_parent * p
                    new.via = parent
        total = new.p_blank + new.p_token
        new.log_total = math.log(total) if total > 0 else -np.inf
        score = new.log_total + prefix.bonus + prefix.look_ahead
        set_candidate(candidates[i], (score, i), (i, NONE, NOT_ENDED))
        if recombines:
            candidates[i].future = future_key(fusion_state_of(prefix), np.int64(prefix.token))
        best, bound = max(best, score), min(bound, score)
    return best, bound if num_hypotheses == limits.beam_size else -np.inf


@part
def extending(hypothesis, repeats):  # type: ignore[no-untyped-def]
    """Return the probability that a new token can follow, of all alignments and of the best one."""
    if repeats:
        return hypothesis.p_blank, hypothesis.best_blank
    return hypothesis.p_blank + hypothesis.p_token, max(hypothesis.best_blank, hypothesis.best_token)


@part
def try_tokens(frame, num_tokens, best_and_bound, limits, scorer, state):  # type: ignore[no-untyped-def]
    """Extend each hypothesis by each token, case 3, and return the number of candidates and the best score."""
    before, prefixes, candidates = state.beams[BEFORE], state.prefixes, state.candidates
    tokens, table, labels = state.tokens, state.table, scorer.tokens
    best, bound = best_and_bound
    num_hypotheses, recombines = state.counts[HYPOTHESES], len(state.futures) > 0
    count, order = num_hypotheses, num_hypotheses
    for i in range(num_hypotheses):
        parent = np.int64(before[i].prefix)
        prefix = prefixes[parent]
        highest = before[i].log_total + max(prefix.end_ceiling + scorer.best_start_ahead, prefix.letter_ceiling)
        for k in range(num_tokens):
            token = np.int64(tokens[k])
            threshold = max(bound, best - limits.beam_threshold)
            # The tokens that follow are even less probable.
            if highest + frame[token] < threshold:
                break
            log_p = before[i].log_total + frame[token]
            if token == prefix.token:
                log_p = math.log(before[i].p_blank) + frame[token]
            begins_word = labels[token].begins_word != 0
            entry = first_entry(scorer, np.int64(prefix.word)) if begins_word else np.int64(NOT_ENDED)
            while True:
                ceiling = prefix.letter_ceiling
                if begins_word or entry != NOT_ENDED:
                    ceiling = prefix.end_ceiling + labels[token].start_ahead
                order += 1
                if log_p + ceiling >= threshold:
                    score, after = log_p, fusion_state_of(prefix)
                    if not scorer.is_neutral:
                        after = extend(scorer, after, token, entry)
                        score += after.bonus + look_ahead(scorer, after.word, after.hot)
                    # What is in the beam already has got this alignment in `stay`.
                    if score >= threshold and score > -np.inf:
                        child = find_prefix(prefixes, table, parent, token, entry)
                        if child == NONE or prefixes[child].slot == NONE:
                            if count == len(candidates):
                                count = shorten(candidates, count, limits.beam_size, state.futures)
                                if count == limits.beam_size:
                                    bound = candidates[count - 1].score
                            set_candidate(candidates[count], (score, order), (i, token, entry))
                            if recombines:
                                candidates[count].future = future_key(after, token)
                            count += 1
                            best = max(best, score)
                if entry != NOT_ENDED:
                    entry = next_entry(scorer, entry)
                elif scorer.is_free:
                    entry = first_entry(scorer, np.int64(prefix.word))
                if entry == NOT_ENDED:
                    break
    return count, best


@part
def keep_best(frame, count, threshold, scorer, state, beam_size):  # type: ignore[no-untyped-def]
    """Make the best candidates the hypotheses after this frame."""
    before, stayed, after = state.beams[BEFORE], state.beams[STAYED], state.beams[AFTER]
    prefixes, backpointers, table, candidates = state.prefixes, state.backpointers, state.table, state.candidates
    num_prefixes, num_backpointers = state.counts[PREFIXES], state.counts[BACKPOINTERS]
    count = shorten(candidates, count, beam_size, state.futures)
    for i in range(state.counts[HYPOTHESES]):
        prefixes[before[i].prefix].slot = NONE
    kept, highest, highest_path = 0, 0.0, 0.0
    for k in range(count):
        candidate, new = candidates[k], after[kept]
        if candidate.score < threshold or candidate.score == -np.inf:
            continue
        source, token = np.int64(candidate.slot), np.int64(candidate.token)
        if token == NONE:
            after[kept] = stayed[source]
            source = np.int64(new.via)
            token = np.int64(prefixes[new.prefix].token)
        else:
            parent, entry = np.int64(before[source].prefix), np.int64(candidate.entry)
            child = find_prefix(prefixes, table, parent, token, entry)
            if child == NONE:
                child = num_prefixes
                num_prefixes += 1
                fusion = fusion_state_of(prefixes[parent])
                ahead, bounds = 0.0, (0.0, 0.0)
                if not scorer.is_neutral:
                    fusion = extend(scorer, fusion, token, entry)
                    ahead = look_ahead(scorer, fusion.word, fusion.hot)
                    bounds = ceilings(scorer, fusion)
                fill_prefix(prefixes[child], (parent, token, entry), fusion, ahead)
                prefixes[child].end_ceiling, prefixes[child].letter_ceiling = bounds
                link_prefix(prefixes, table, child)
            say_token(new, before[source], prefixes[parent].token == token, np.float64(frame[token]))
            new.prefix = child
        if source != NONE:
            repeats = prefixes[before[source].prefix].token == token
            fill_backpointer(backpointers[num_backpointers], new.prefix, before[source], repeats, state.counts[FRAMES])
            new.token_last, new.token_sum = num_backpointers, np.float64(frame[token])
            num_backpointers += 1
        highest = max(highest, new.p_blank + new.p_token)
        highest_path = max(highest_path, new.best_blank, new.best_token)
        kept += 1
    state.counts[HYPOTHESES], state.counts[PREFIXES], state.counts[BACKPOINTERS] = kept, num_prefixes, num_backpointers
    scale, path_scale = scale_for(highest), scale_for(highest_path)
    state.log_scale[0] -= math.log(scale)
    for i in range(kept):
        before[i] = after[i]
        prefixes[before[i].prefix].slot = i
        if scale != 1.0 or path_scale != 1.0:
            rescale(before[i], scale, path_scale)


@part
def scale_for(probability):  # type: ignore[no-untyped-def]
    """Return the power of two that keeps a probability from becoming too small, or (with label priors) too large."""
    scale = 1.0
    while 0.0 < probability * scale < SMALLEST:
        scale /= SMALLEST
    while probability * scale > 1.0 / SMALLEST:
        scale *= SMALLEST
    return scale


@part
def rescale(hypothesis, scale, path_scale):  # type: ignore[no-untyped-def]
    """Multiply the probabilities of a hypothesis, and those of its best paths."""
    hypothesis.p_blank *= scale
    hypothesis.p_token *= scale
    hypothesis.best_blank *= path_scale
    hypothesis.best_token *= path_scale
    hypothesis.log_total += math.log(scale)


@part
def say_token(new, source, repeats, log_p):  # type: ignore[no-untyped-def]
    """Make `new` the hypothesis `source` with one more token."""
    p_source, best_source = extending(source, repeats)
    p = math.exp(log_p)
    new.p_blank, new.best_blank, new.blank_last = 0.0, 0.0, 0
    new.p_token, new.best_token = p_source * p, best_source * p
    new.log_total = math.log(new.p_token) if new.p_token > 0 else -np.inf


@part
def fill_prefix(prefix, key, fusion, ahead):  # type: ignore[no-untyped-def]
    """Fill in a prefix; `key` is its parent, token and entry."""
    prefix.parent, prefix.token, prefix.entry = key
    prefix.word, prefix.hot, prefix.lm_state = fusion.word, fusion.hot, fusion.lm_state
    prefix.lm_score, prefix.hot_score, prefix.bonus = fusion.lm_score, fusion.hot_score, fusion.bonus
    prefix.look_ahead = ahead
    prefix.slot = NONE


@part
def fill_backpointer(backpointer, prefix, source, repeats, now):  # type: ignore[no-untyped-def]
    """Fill in a backpointer: on its best path the last token of `prefix` starts now, coming from `source`."""
    backpointer.prefix, backpointer.start = prefix, now
    if repeats or source.best_blank >= source.best_token:
        backpointer.previous, backpointer.previous_end, backpointer.previous_sum = (
            source.blank_last,
            source.blank_end,
            source.blank_sum,
        )
    else:
        backpointer.previous, backpointer.previous_end, backpointer.previous_sum = (
            source.token_last,
            now,
            source.token_sum,
        )
