"""Which letter of a word stands for which of its phones, learned from a lexicon by expectation maximisation.

A *unit* is a letter with none, one or two phones: the graphones of Bisani & Ney (2008) that are learned best from
lexicons of a hundred thousand words; of "fox", f:F o:AA x:K S.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asr.decoder.compiling import compiled
from asr.errors import DataError

MOST_PHONES = 2
ITERATIONS = 8
# Multiplies each unit's probability, so that products over long words do not vanish.
GAIN = 30.0
LARGEST_TABLE = 2**27


@dataclass(frozen=True)
class Spellings:
    """Words beside their phones, as numbers.

    Parameters
    ----------
    letters, phones
        The letters and phones, sorted; the numbers are places here.
    letter_ids, phone_ids
        int32 (total length,), of all entries in a row.
    letter_begins, phone_begins
        int64 (entries + 1,), where each entry begins and the last one ends.
    """

    letters: tuple[str, ...]
    phones: tuple[str, ...]
    letter_ids: npt.NDArray[np.int32]
    phone_ids: npt.NDArray[np.int32]
    letter_begins: npt.NDArray[np.int64]
    phone_begins: npt.NDArray[np.int64]

    @classmethod
    def of(cls, entries: Sequence[tuple[str, Sequence[str]]]) -> "Spellings":
        """Return the numbers of words and their phones."""
        letters = sorted({letter for word, _ in entries for letter in word})
        phones = sorted({phone for _, said in entries for phone in said})
        letter_of = {letter: index for index, letter in enumerate(letters)}
        phone_of = {phone: index for index, phone in enumerate(phones)}
        return cls(
            tuple(letters),
            tuple(phones),
            np.array([letter_of[letter] for word, _ in entries for letter in word], np.int32),
            np.array([phone_of[phone] for _, said in entries for phone in said], np.int32),
            np.cumsum([0, *(len(word) for word, _ in entries)], dtype=np.int64),
            np.cumsum([0, *(len(said) for _, said in entries)], dtype=np.int64),
        )

    @property
    def num_sounds(self) -> int:
        """In how many ways a letter can sound: none, one or two phones."""
        return 1 + len(self.phones) + len(self.phones) ** 2

    def unit(self, code: int) -> tuple[str, tuple[str, ...]]:
        """Return the letter and the phones of a unit's code."""
        letter, sound = divmod(code, self.num_sounds)
        count = len(self.phones)
        if sound > count:
            first, second = divmod(sound - 1 - count, count)
            return self.letters[letter], (self.phones[first], self.phones[second])
        return self.letters[letter], (self.phones[sound - 1],) if sound else ()


def align_spellings(
    spellings: Spellings, iterations: int = ITERATIONS
) -> tuple[list[npt.NDArray[np.int64]], npt.NDArray[np.float64]]:
    """Return the most likely units of each entry, one per letter.

    Returns
    -------
    units : list of int64 (letters,)
        Codes, see `Spellings.unit`; empty for an entry with more phones than its letters can stand for.
    log_likelihoods : float64 (iterations,)
        Of the entries that have units, natural, before each iteration; they do not fall.

    Raises
    ------
    DataError
        If there are too many letters and phones for a table of all units, or no entry can be aligned.
    """
    size = len(spellings.letters) * spellings.num_sounds
    if size > LARGEST_TABLE:
        raise DataError(
            f"{len(spellings.letters):,} letters and {len(spellings.phones):,} phones make too many pairs to learn "
            "from a lexicon; expected an alphabet, not a script with thousands of characters"
        )
    arrays = (spellings.letter_ids, spellings.phone_ids, spellings.letter_begins, spellings.phone_begins)
    num_phones = len(spellings.phones)
    probs = np.full(size, 1.0 / size)
    log_likelihoods = np.zeros(iterations)
    for iteration in range(iterations):
        expected = np.zeros(size)
        log_likelihoods[iteration] = _expect(arrays, num_phones, probs, expected)
        if not expected.any():
            raise DataError(
                "no word of the lexicon can be aligned with its phones; expected letters that stand for at most "
                f"{MOST_PHONES} phones each"
            )
        probs = expected / expected.sum()
    units = np.zeros(len(spellings.letter_ids), np.int64)
    is_aligned = np.zeros(len(spellings.letter_begins) - 1, np.bool_)
    with np.errstate(divide="ignore"):
        _best(arrays, num_phones, np.log(probs), units, is_aligned)
    parts = np.split(units, spellings.letter_begins[1:-1])
    return [part if aligned else part[:0] for part, aligned in zip(parts, is_aligned, strict=True)], log_likelihoods


@compiled
def _unit(letter: Any, phone_ids: Any, place: int, count: int, num_phones: int) -> Any:
    """Return the code of a letter with the `count` phones that begin at `place`."""
    sound = np.int64(0)
    if count == 1:
        sound = np.int64(1 + phone_ids[place])
    elif count == 2:
        sound = np.int64(1 + num_phones + phone_ids[place] * num_phones + phone_ids[place + 1])
    return np.int64(letter) * (1 + num_phones + num_phones * num_phones) + sound


@compiled
def _expect(arrays: Any, num_phones: int, probs: Any, expected: Any) -> float:
    """Add each unit's expected occurrences to `expected`, and return the log-likelihood (forward and backward)."""
    letter_ids, phone_ids, letter_begins, phone_begins = arrays
    log_likelihood = 0.0
    for entry in range(len(letter_begins) - 1):
        letters = letter_ids[letter_begins[entry] : letter_begins[entry + 1]]
        phones = phone_ids[phone_begins[entry] : phone_begins[entry + 1]]
        L, M = len(letters), len(phones)
        forward, backward = np.zeros((L + 1, M + 1)), np.zeros((L + 1, M + 1))
        forward[0, 0] = backward[L, M] = 1.0
        for i in range(L):
            for j in range(M + 1):
                if forward[i, j] > 0.0:
                    for count in range(min(MOST_PHONES, M - j) + 1):
                        prob = probs[_unit(letters[i], phones, j, count, num_phones)]
                        forward[i + 1, j + count] += forward[i, j] * prob * GAIN
        total = forward[L, M]
        if not 0.0 < total < np.inf:
            continue
        log_likelihood += np.log(total) - L * np.log(GAIN)
        for i in range(L - 1, -1, -1):
            for j in range(M + 1):
                for count in range(min(MOST_PHONES, M - j) + 1):
                    unit = _unit(letters[i], phones, j, count, num_phones)
                    gain = probs[unit] * GAIN * backward[i + 1, j + count]
                    backward[i, j] += gain
                    expected[unit] += forward[i, j] * gain / total
    return log_likelihood


@compiled
def _best(arrays: Any, num_phones: int, log_probs: Any, units: Any, is_aligned: Any) -> None:
    """Write the most likely units of each entry where its letters are, and whether it has any (Viterbi)."""
    letter_ids, phone_ids, letter_begins, phone_begins = arrays
    for entry in range(len(letter_begins) - 1):
        first = letter_begins[entry]
        letters = letter_ids[first : letter_begins[entry + 1]]
        phones = phone_ids[phone_begins[entry] : phone_begins[entry + 1]]
        L, M = len(letters), len(phones)
        best = np.full((L + 1, M + 1), -np.inf)
        counts = np.zeros((L + 1, M + 1), np.int64)
        best[0, 0] = 0.0
        for i in range(L):
            for j in range(M + 1):
                for count in range(min(MOST_PHONES, M - j) + 1):
                    score = best[i, j] + log_probs[_unit(letters[i], phones, j, count, num_phones)]
                    if score > best[i + 1, j + count]:
                        best[i + 1, j + count] = score
                        counts[i + 1, j + count] = count
        is_aligned[entry] = best[L, M] > -np.inf
        j = M
        for i in range(L, 0, -1):
            count = counts[i, j]
            j -= count
            units[first + i - 1] = _unit(letters[i - 1], phones, j, count, num_phones)
