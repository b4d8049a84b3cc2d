"""The most likely phones of a word: beam search over units of a letter and its phones, from left to right.

Readings with the same phones that the n-gram model cannot tell apart any more are added up, so a pronunciation's
probability is the sum over all its segmentations that the beam has kept.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.decoder.ngram.query import QueryArrays, advance
from asr.lexicon.alignment import MOST_PHONES

# A reading of the first letters: its log-probability, the model's state, a hash of its phones, the reading of one
# letter less that it goes on from, and the unit that it adds.
READING = np.dtype([("score", "f8"), ("state", "i8"), ("hash", "u8"), ("before", "i8"), ("unit", "i8")])
FIRST_ROOM = 1024
# An odd number without structure, and half a word's bits.
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
HASH_SHIFT = np.uint64(29)


@compiled
def search(
    lm: tuple[QueryArrays, int, int],
    units: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]],
    letters: npt.NDArray[np.int32],
    beam: tuple[int, float],
) -> Any:
    """Return the pronunciations that survive, best first.

    Parameters
    ----------
    lm
        The arrays of an n-gram model of units (see `asr.decoder.ngram.query`), its start state, its word ``</s>``.
    units
        int64 (letters of the alphabet + 1,), where the units of each letter begin; int32 (units,), each one's word in
        the model; int32 (units, 2), its phones, -1 where there is none.
    letters
        int32 (L,), the word's.
    beam
        The most readings that are kept after each letter, and how many nats they may be below the best.

    Returns
    -------
    phones : int32 (pronunciations, 2 L)
        Filled up with -1.
    log_probs : float64 (pronunciations,)
        Natural log P(letters, phones).
    """
    arrays, start_state, end_word = lm
    begins, words, sounds = units
    readings = np.empty(FIRST_ROOM, READING)
    readings[0].score, readings[0].state, readings[0].hash = 0.0, start_state, np.uint64(7)
    readings[0].before, readings[0].unit = -1, -1
    count = 1
    alive = np.zeros(1, np.int64)
    for letter in letters:
        first, last = begins[letter], begins[letter + 1]
        needed = count + len(alive) * (last - first)
        if needed > len(readings):
            larger = np.empty(2 * needed, READING)
            larger[:count] = readings[:count]
            readings = larger
        start = count
        for before in alive:
            for unit in range(first, last):
                log_prob, state = advance(arrays, readings[before].state, np.int64(words[unit]))
                phones_hash = readings[before].hash
                for k in range(MOST_PHONES):
                    if sounds[unit, k] >= 0:
                        phones_hash = (phones_hash ^ np.uint64(sounds[unit, k] + 1)) * HASH_FACTOR
                        phones_hash ^= phones_hash >> HASH_SHIFT
                readings[count].score = readings[before].score + log_prob
                readings[count].state, readings[count].hash = state, phones_hash
                readings[count].before, readings[count].unit = before, unit
                count += 1
        alive = _merge(readings, start, count, beam)
    start = count
    if count + len(alive) > len(readings):
        larger = np.empty(count + len(alive), READING)
        larger[:count] = readings[:count]
        readings = larger
    for before in alive:
        readings[count] = readings[before]
        readings[count].score += advance(arrays, readings[before].state, end_word)[0]
        readings[count].state = 0
        count += 1
    # Nothing is left out at the end but what is the same.
    alive = _merge(readings, start, count, (count, np.inf))
    return _spelled_out(readings, alive, sounds, len(letters))


@compiled
def _merge(readings: Any, start: int, count: int, beam: Any) -> Any:
    """Return the best of the readings from `start`, best first; equal ones are added up in the likeliest of them."""
    beam_size, beam_width = beam
    scores = readings["score"][start:count]
    if not len(scores):
        return np.empty(0, np.int64)
    near = np.flatnonzero(scores >= scores.max() - beam_width) + start
    keys = np.empty(len(near), np.uint64)
    for n, reading in enumerate(near):
        keys[n] = readings[reading].hash ^ (np.uint64(readings[reading].state) * HASH_FACTOR)
    order = np.argsort(keys)
    merged = np.empty(len(near), np.int64)
    totals = np.empty(len(near))
    num_merged = n = 0
    while n < len(order):
        end, best = n, near[order[n]]
        while end < len(order) and keys[order[end]] == keys[order[n]]:
            if readings[near[order[end]]].score > readings[best].score:
                best = near[order[end]]
            end += 1
        total = 0.0
        for m in range(n, end):
            total += np.exp(readings[near[order[m]]].score - readings[best].score)
        totals[num_merged] = readings[best].score + np.log(total)
        merged[num_merged] = best
        num_merged += 1
        n = end
    for m in range(num_merged):
        readings[merged[m]].score = totals[m]
    ranks = np.argsort(-totals[:num_merged], kind="mergesort")[:beam_size]
    return merged[ranks]


@compiled
def _spelled_out(readings: Any, chosen: Any, sounds: Any, num_letters: int) -> Any:
    """Return the phones and the scores of readings."""
    phones = np.full((len(chosen), MOST_PHONES * num_letters), np.int32(-1), np.int32)
    log_probs = np.empty(len(chosen))
    for n, last in enumerate(chosen):
        log_probs[n] = readings[last].score
        reading, count = last, 0
        while readings[reading].unit >= 0:
            unit = readings[reading].unit
            for k in range(MOST_PHONES - 1, -1, -1):
                if sounds[unit, k] >= 0:
                    phones[n, count] = sounds[unit, k]
                    count += 1
            reading = readings[reading].before
        phones[n, :count] = phones[n, :count][::-1].copy()
    return phones, log_probs
