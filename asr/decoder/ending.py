"""What is decided: before the horizon of a long search, and at the end of an utterance."""

import numpy as np

from asr.decoder.compiling import compiled_in_place, part
from asr.decoder.fusion import NO_ENTRY, WORD_START, end_word, say
from asr.decoder.memory import FRAMES, HYPOTHESES, NONE, standing_of


@part
def commit_horizon(limits, memory):  # type: ignore[no-untyped-def]
    """Drop the paths that differ from the best hypothesis in what was said before the horizon."""
    beam, traces, prefixes = memory.beams[0], memory.traces, memory.prefixes
    best, best_score = -1, -np.inf
    for i in range(memory.counts[HYPOTHESES]):
        score = beam[i].log_total + prefixes[beam[i].prefix].bonus + prefixes[beam[i].prefix].look_ahead
        if score > best_score:
            best, best_score = i, score
    if best < 0:
        return
    agreed = np.int64(
        beam[best].blank_trace if beam[best].best_blank >= beam[best].best_token else beam[best].token_trace
    )
    while agreed > 0 and traces[agreed].start > memory.counts[FRAMES] - limits.horizon_frames:
        agreed = np.int64(traces[agreed].previous)
    kept = 0
    for i in range(memory.counts[HYPOTHESES]):
        if not comes_from(traces, np.int64(beam[i].blank_trace), agreed):
            beam[i].best_blank = 0.0
        if not comes_from(traces, np.int64(beam[i].token_trace), agreed):
            beam[i].best_token = 0.0
        if beam[i].best_blank == 0.0 and beam[i].best_token == 0.0:
            prefixes[beam[i].prefix].slot = NONE
            continue
        beam[kept] = beam[i]
        prefixes[beam[kept].prefix].slot = kept
        kept += 1
    memory.counts[HYPOTHESES] = kept


@part
def comes_from(traces, trace, ancestor):  # type: ignore[no-untyped-def]
    """Tell whether a trace is or follows another."""
    while trace > ancestor:
        trace = np.int64(traces[trace].previous)
    return trace == ancestor


@compiled_in_place
def end_sentence(scorer, end_id, memory, results):  # type: ignore[no-untyped-def]
    """Score what each hypothesis comes to if the utterance ends here, with each word that its last one may be.

    Parameters
    ----------
    scorer, memory
        As of `search`.
    end_id
        The language model's ``</s>``, -1 to leave it out.
    results
        float64 (N, 5), written: hypothesis, entry of the last word (NO_ENTRY if the trie lists none), total without
        the acoustic score, LM score, hotword score.

    Returns
    -------
    count : int64
        Rows; if more than N, only the first N are written.
    """
    count = 0
    for i in range(memory.counts[HYPOTHESES]):
        prefix = memory.prefixes[memory.beams[0][i].prefix]
        entry = np.int64(NO_ENTRY)
        if prefix.word > WORD_START:
            entry = np.int64(scorer.trie_nodes[prefix.word].entry)
        while True:
            after = standing_of(prefix)
            if after.word != WORD_START:
                after = end_word(scorer, after, entry)
            if end_id >= 0:
                # The end counts as no word.
                after = say(scorer, after, end_id, -scorer.beta)
            if count < len(results):
                row = results[count]
                row[0], row[1], row[2], row[3], row[4] = i, entry, after.bonus, after.lm_score, after.hot_score
            count += 1
            if entry == NO_ENTRY or scorer.entries[entry].next == NO_ENTRY:
                break
            entry = np.int64(scorer.entries[entry].next)
    return count
