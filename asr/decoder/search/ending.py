"""What is decided: before the horizon of a long search, and at the end of an utterance."""

import numpy as np

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.hypothesis import NOT_ENDED
from asr.decoder.search.fusion import end_word, first_entry, next_entry, score_word
from asr.decoder.search.state import FRAMES, HYPOTHESES, NONE, fusion_state_of

# The columns of what `end_sentence` writes.
SLOT, ENTRY, ACOUSTIC, LM, HOTWORDS, TOTAL = range(6)
NUM_COLUMNS = 6


@part
def commit_horizon(limits, state):  # type: ignore[no-untyped-def]
    """Drop the paths that differ from the best hypothesis in what was said before the horizon."""
    beam, backpointers, prefixes = state.beams[0], state.backpointers, state.prefixes
    best, best_score = -1, -np.inf
    for i in range(state.counts[HYPOTHESES]):
        score = beam[i].log_total + prefixes[beam[i].prefix].bonus + prefixes[beam[i].prefix].look_ahead
        if score > best_score:
            best, best_score = i, score
    if best < 0:
        return
    agreed = np.int64(
        beam[best].blank_last if beam[best].best_blank >= beam[best].best_token else beam[best].token_last
    )
    while agreed > 0 and backpointers[agreed].start > state.counts[FRAMES] - limits.horizon_frames:
        agreed = np.int64(backpointers[agreed].previous)
    kept = 0
    for i in range(state.counts[HYPOTHESES]):
        if not comes_from(backpointers, np.int64(beam[i].blank_last), agreed):
            beam[i].best_blank = 0.0
        if not comes_from(backpointers, np.int64(beam[i].token_last), agreed):
            beam[i].best_token = 0.0
        if beam[i].best_blank == 0.0 and beam[i].best_token == 0.0:
            prefixes[beam[i].prefix].slot = NONE
            continue
        beam[kept] = beam[i]
        prefixes[beam[kept].prefix].slot = kept
        kept += 1
    state.counts[HYPOTHESES] = kept


@part
def comes_from(backpointers, backpointer, ancestor):  # type: ignore[no-untyped-def]
    """Tell whether a backpointer is or follows another."""
    while backpointer > ancestor:
        backpointer = np.int64(backpointers[backpointer].previous)
    return backpointer == ancestor


@compiled_in_place
def end_sentence(scorer, end_id, state, results):  # type: ignore[no-untyped-def]
    """Score what each hypothesis comes to if the utterance ends here, with each word that its last one may be.

    Parameters
    ----------
    scorer, state
        As of `search`.
    end_id
        The language model's ``</s>``, -1 to leave it out.
    results
        float64 (N, NUM_COLUMNS), written: hypothesis, entry of the last word (NOT_ENDED for none, UNLISTED), acoustic
        score, LM score, hotword score, total.

    Returns
    -------
    count : int64
        Rows; if more than N, only the first N are written.
    """
    count = 0
    for i in range(state.counts[HYPOTHESES]):
        hypothesis = state.beams[0][i]
        prefix = state.prefixes[hypothesis.prefix]
        acoustic = hypothesis.log_total + state.log_scale[0]
        entry = first_entry(scorer, np.int64(prefix.word))
        while True:
            after = fusion_state_of(prefix)
            if entry != NOT_ENDED:
                after = end_word(scorer, after, entry)
            if end_id >= 0:
                # The end counts as no word.
                after = score_word(scorer, after, end_id, -scorer.beta)
            if count < len(results):
                row = results[count]
                row[SLOT], row[ENTRY], row[ACOUSTIC], row[LM] = i, entry, acoustic, after.lm_score
                row[HOTWORDS], row[TOTAL] = after.hot_score, acoustic + after.bonus
            count += 1
            entry = next_entry(scorer, entry)
            if entry == NOT_ENDED:
                break
    return count
