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
from asr.decoder.ending import commit_horizon
from asr.decoder.fusion import NO_ENTRY, WORD_START, ceilings, extend, look_ahead
from asr.decoder.memory import FRAMES, HYPOTHESES, NONE, PREFIXES, TRACES, find_prefix, link_prefix, standing_of
from asr.decoder.selection import select, set_candidate

# Before probabilities fall below this, all are multiplied by its inverse.
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
def search(frames, begin, limits, scorer, memory):  # type: ignore[no-untyped-def]
    """Decode frames until all are done or the memory is full.

    Parameters
    ----------
    frames
        float32 (T, V), natural log-probabilities.
    begin
        The first frame to decode.
    limits, scorer, memory
        What is kept (`Limits`), what counts beside the acoustics (`Scorer`), and what is remembered (`Memory`).

    Returns
    -------
    frames_done : int64
        Up to T; less if `asr.decoder.memory.make_room` must be called before going on.
    """
    for t in range(begin, len(frames)):
        if memory.counts[PREFIXES] + limits.beam_size > len(memory.prefixes):
            return t
        if memory.counts[TRACES] + limits.beam_size > len(memory.traces):
            return t
        frame = frames[t]
        num_tokens = choose_tokens(frame, limits, memory.tokens)
        best, bound = stay(frame, limits, memory)
        num_candidates, best = try_tokens(frame, num_tokens, (best, bound), limits, scorer, memory)
        keep_best(frame, num_candidates, best - limits.beam_threshold, scorer, memory, limits.beam_size)
        memory.counts[FRAMES] += 1
        if memory.counts[FRAMES] % HORIZON_STEP == 0:
            commit_horizon(limits, memory)
        if memory.counts[HYPOTHESES] == 0:
            return t
    return len(frames)


@part
def choose_tokens(frame, limits, tokens):  # type: ignore[no-untyped-def]
    """Write the tokens to try, the most probable first (equal ones by number), and return how many."""
    count = 0
    best = np.int32(NONE)
    for token in range(len(frame)):
        log_p = frame[token]
        if token == limits.blank or log_p == -np.inf:
            continue
        if best == NONE or log_p > frame[best]:
            best = np.int32(token)
        if log_p < limits.token_threshold or (count == limits.top_k and log_p <= frame[tokens[count - 1]]):
            continue
        place = min(count, limits.top_k - 1)
        while place > 0 and frame[tokens[place - 1]] < log_p:
            tokens[place] = tokens[place - 1]
            place -= 1
        tokens[place] = token
        count = min(count + 1, limits.top_k)
    if count == 0 and best != NONE:
        tokens[0] = best
        count = 1
    return count


@part
def stay(frame, limits, memory):  # type: ignore[no-untyped-def]
    """Let each hypothesis stay as it is, cases 1 and 2; these are the first candidates.

    Returns
    -------
    best, bound : float64
        The best score, and what a candidate must reach to be among the `beam_size` best.
    """
    before, stayed = memory.beams[BEFORE], memory.beams[STAYED]
    prefixes, candidates = memory.prefixes, memory.candidates
    num_hypotheses, now = memory.counts[HYPOTHESES], memory.counts[FRAMES]
    # In float64, as for tokens: the small errors of a float32 exponential would add up over the frames.
    p_of_blank = math.exp(np.float64(frame[limits.blank]))
    best, bound = -np.inf, np.inf
    for i in range(num_hypotheses):
        old, new = before[i], stayed[i]
        new.prefix = old.prefix
        new.p_blank = (old.p_blank + old.p_token) * p_of_blank
        new.blank_trace, new.blank_end, new.blank_sum = old.blank_trace, old.blank_end, old.blank_sum
        new.best_blank = old.best_blank * p_of_blank
        if old.best_token > old.best_blank:
            new.best_blank = old.best_token * p_of_blank
            new.blank_trace, new.blank_sum = old.token_trace, old.token_sum
            new.blank_end = now
        new.p_token, new.best_token, new.via = 0.0, 0.0, NONE
        prefix = prefixes[old.prefix]
        if prefix.token != NONE:
            log_p = np.float64(frame[prefix.token])
            p = math.exp(log_p)
            new.p_token = old.p_token * p
            new.best_token = old.best_token * p
            new.token_trace, new.token_sum = old.token_trace, old.token_sum + log_p
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
        set_candidate(candidates[i], score, i, i, NONE, NO_ENTRY)
        best, bound = max(best, score), min(bound, score)
    return best, bound if num_hypotheses == limits.beam_size else -np.inf


@part
def extending(hypothesis, repeats):  # type: ignore[no-untyped-def]
    """Return the probability that a new token can follow, of all alignments and of the best one."""
    if repeats:
        return hypothesis.p_blank, hypothesis.best_blank
    return hypothesis.p_blank + hypothesis.p_token, max(hypothesis.best_blank, hypothesis.best_token)


@part
def try_tokens(frame, num_tokens, best_and_bound, limits, scorer, memory):  # type: ignore[no-untyped-def]
    """Extend each hypothesis by each token, case 3, and return the number of candidates and the best score."""
    before, prefixes, candidates = memory.beams[BEFORE], memory.prefixes, memory.candidates
    tokens, table, entries, labels = memory.tokens, memory.table, scorer.entries, scorer.tokens
    best, bound = best_and_bound
    num_hypotheses = memory.counts[HYPOTHESES]
    count, order = num_hypotheses, num_hypotheses
    for i in range(num_hypotheses):
        parent = np.int64(before[i].prefix)
        prefix = prefixes[parent]
        highest = before[i].log_total + max(prefix.end_ceiling, prefix.letter_ceiling)
        for k in range(num_tokens):
            token = np.int64(tokens[k])
            threshold = max(bound, best - limits.beam_threshold)
            # The tokens that follow are even less probable.
            if highest + frame[token] < threshold:
                break
            log_p = before[i].log_total + frame[token]
            ceiling = prefix.end_ceiling if labels[token].begins_word else prefix.letter_ceiling
            if log_p + ceiling < threshold:
                continue
            if token == prefix.token:
                log_p = math.log(before[i].p_blank) + frame[token]
            entry = np.int64(NO_ENTRY)
            if labels[token].begins_word and prefix.word > WORD_START:
                entry = np.int64(scorer.trie_nodes[prefix.word].entry)
            while True:
                score = log_p
                if not scorer.is_neutral:
                    after = extend(scorer, standing_of(prefix), token, entry)
                    score += after.bonus + look_ahead(scorer, after.word, after.hot)
                order += 1
                # What is in the beam already has got this alignment in `stay`.
                if score >= threshold and score > -np.inf:
                    child = find_prefix(prefixes, table, parent, token, entry)
                    if child == NONE or prefixes[child].slot == NONE:
                        if count == len(candidates):
                            select(candidates, count, limits.beam_size)
                            count = limits.beam_size
                            bound = candidates[count - 1].score
                        set_candidate(candidates[count], score, order, i, token, entry)
                        count += 1
                        best = max(best, score)
                if entry == NO_ENTRY or entries[entry].next == NO_ENTRY:
                    break
                entry = np.int64(entries[entry].next)
    return count, best


@part
def keep_best(frame, count, threshold, scorer, memory, beam_size):  # type: ignore[no-untyped-def]
    """Make the best candidates the hypotheses after this frame."""
    before, stayed, after = memory.beams[BEFORE], memory.beams[STAYED], memory.beams[AFTER]
    prefixes, traces, table, candidates = memory.prefixes, memory.traces, memory.table, memory.candidates
    num_prefixes, num_traces = memory.counts[PREFIXES], memory.counts[TRACES]
    if count > beam_size:
        select(candidates, count, beam_size)
        count = beam_size
    for i in range(memory.counts[HYPOTHESES]):
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
                standing = standing_of(prefixes[parent])
                ahead, bounds = 0.0, (0.0, 0.0)
                if not scorer.is_neutral:
                    standing = extend(scorer, standing, token, entry)
                    ahead = look_ahead(scorer, standing.word, standing.hot)
                    bounds = ceilings(scorer, standing)
                fill_prefix(prefixes[child], (parent, token, entry), standing, ahead)
                prefixes[child].end_ceiling, prefixes[child].letter_ceiling = bounds
                link_prefix(prefixes, table, child)
            say_token(new, before[source], prefixes[parent].token == token, np.float64(frame[token]))
            new.prefix = child
        if source != NONE:
            repeats = prefixes[before[source].prefix].token == token
            fill_trace(traces[num_traces], new.prefix, before[source], repeats, memory.counts[FRAMES])
            new.token_trace, new.token_sum = num_traces, np.float64(frame[token])
            num_traces += 1
        highest = max(highest, new.p_blank + new.p_token)
        highest_path = max(highest_path, new.best_blank, new.best_token)
        kept += 1
    memory.counts[HYPOTHESES], memory.counts[PREFIXES], memory.counts[TRACES] = kept, num_prefixes, num_traces
    scale, path_scale = scale_for(highest), scale_for(highest_path)
    memory.log_scale[0] -= math.log(scale)
    for i in range(kept):
        before[i] = after[i]
        prefixes[before[i].prefix].slot = i
        if scale != 1.0 or path_scale != 1.0:
            rescale(before[i], scale, path_scale)


@part
def scale_for(probability):  # type: ignore[no-untyped-def]
    """Return the power of two that keeps a probability from becoming too small."""
    scale = 1.0
    while 0.0 < probability * scale < SMALLEST:
        scale /= SMALLEST
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
    new.p_blank, new.best_blank, new.blank_trace = 0.0, 0.0, 0
    new.p_token, new.best_token = p_source * p, best_source * p
    new.log_total = math.log(new.p_token) if new.p_token > 0 else -np.inf


@part
def fill_prefix(prefix, key, standing, ahead):  # type: ignore[no-untyped-def]
    """Fill in a prefix; `key` is its parent, token and entry."""
    prefix.parent, prefix.token, prefix.entry = key
    prefix.word, prefix.hot, prefix.lm_state = standing.word, standing.hot, standing.lm_state
    prefix.lm_score, prefix.hot_score, prefix.bonus = standing.lm_score, standing.hot_score, standing.bonus
    prefix.look_ahead = ahead
    prefix.slot = NONE


@part
def fill_trace(trace, prefix, source, repeats, now):  # type: ignore[no-untyped-def]
    """Fill in a trace: on its best path the last token of `prefix` starts now, coming from `source`."""
    trace.prefix, trace.start = prefix, now
    if repeats or source.best_blank >= source.best_token:
        trace.previous, trace.previous_end, trace.previous_sum = source.blank_trace, source.blank_end, source.blank_sum
    else:
        trace.previous, trace.previous_end, trace.previous_sum = source.token_trace, now, source.token_sum
