"""Guess the pronunciation of unlisted words, as learned from a lexicon: joint n-grams of letters and phones.

Bisani & Ney (2008), "Joint-sequence models for grapheme-to-phoneme conversion", Speech Communication 50: a word and its
phones are one sequence of units, each a letter with its phones, and an n-gram model says how likely it is. The model
is estimated on each entry's best alignment, and read by beam search.
"""

import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asr.decoder.ngram import NGramModel, estimate
from asr.decoder.ngram.quantised import pack_levels, unpack_levels
from asr.errors import DataError
from asr.files import atomic_path
from asr.lexicon.alignment import MOST_PHONES, Spellings, align_spellings
from asr.lexicon.dictionary import PronouncingDictionary, Pronunciation
from asr.lexicon.search import search

FORMAT = "ctc-asr g2p 1"
ORDER = 7
# Twice as many, or twice as wide, change no figure of CMUdict's held-out words.
BEAM_SIZE = 64
BEAM_WIDTH = 12.0


class G2P:
    """Guesses how words are pronounced (grapheme to phoneme).

    Parameters
    ----------
    units : sequence of (str, tuple of str)
        A letter and its phones, two at most; unit i is word i + 3 of the model.
    lm : NGramModel
        Of words as sequences of units.

    Examples
    --------
    >>> model = G2P.train(PronouncingDictionary([("abba", ["A", "B", "A"]), ("bab", ["B", "A", "B"])]), order=2)
    >>> model.pronounce("abab")[0].phones
    ('A', 'B', 'A', 'B')
    """

    def __init__(self, units: Sequence[tuple[str, tuple[str, ...]]], lm: NGramModel) -> None:
        self.units = tuple(units)
        self.lm = lm
        self.letters = tuple(sorted({letter for letter, _ in units}))
        self.phones = tuple(sorted({phone for _, said in units for phone in said}))
        self._letter_ids = {letter: index for index, letter in enumerate(self.letters)}

    @classmethod
    def train(cls, lexicon: PronouncingDictionary, order: int = ORDER, cutoffs: Sequence[int] = ()) -> "G2P":
        """Learn from a lexicon; CMUdict takes some ten seconds on one core.

        Parameters
        ----------
        lexicon : PronouncingDictionary
            Words with more than two phones per letter, such as abbreviations, are left out.
        order, cutoffs
            Of the n-gram model, see `asr.decoder.ngram.estimate`.

        Raises
        ------
        DataError
            If no word can be aligned with its phones, or the letters are too many for an alphabet.
        """
        spellings = Spellings.of([(word, phones) for word, phones, _ in lexicon.entries()])
        aligned, _ = align_spellings(spellings)
        with warnings.catch_warnings():
            # Units are few and regular, and the discounts that stand in do well.
            warnings.filterwarnings("ignore", message="the text is too small or too regular")
            # Numbers as names: letters that differ in case only are no fault of this text.
            lm = estimate((" ".join(map(str, units.tolist())) for units in aligned), order, cutoffs)
        return cls([spellings.unit(int(name)) for name in lm.words[3:]], lm)

    def pronounce(
        self, word: str, nbest: int = 1, *, beam_size: int = BEAM_SIZE, beam_width: float = BEAM_WIDTH
    ) -> list[Pronunciation]:
        """Return the most likely pronunciations of a word, best first.

        Parameters
        ----------
        word : str
            A letter that the model does not know is taken in its other case, or without its accents.
        nbest : int
            The most pronunciations to return.
        beam_size, beam_width
            The most hypotheses kept after each letter, and how many nats they may be below the best.

        Returns
        -------
        list of Pronunciation
            Log-weights are natural logarithms of P(phones | word), normalised over the pronunciations found, so that
            the probabilities add up to one. Empty if no letter of the word has a sound.

        Raises
        ------
        DataError
            If the word has letters that the model does not know, or is empty.
        """
        ids = np.array([self._letter_ids[letter] for letter in self._known_letters(word)], np.int32)
        lm = (self.lm.query_arrays, self.lm.start_state, self.lm.end_id)
        found, log_probs = search(lm, self._index, ids, (beam_size, beam_width))
        # A pronunciation of no phones is none.
        said = (found >= 0).sum(axis=1)
        found, log_probs, said = found[said > 0], log_probs[said > 0], said[said > 0]
        total = np.logaddexp.reduce(log_probs, initial=-np.inf)
        return [
            Pronunciation(tuple(self.phones[phone] for phone in row[:length]), min(0.0, float(log_prob - total)))
            for row, log_prob, length in zip(found[:nbest].tolist(), log_probs[:nbest], said[:nbest], strict=True)
        ]

    def can_pronounce(self, word: str) -> bool:
        """Tell whether the model knows all letters of a word."""
        try:
            return bool(self._known_letters(word))
        except DataError:
            return False

    def _known_letters(self, word: str) -> str:
        known: list[str] = []
        for letter in unicodedata.normalize("NFC", word):
            forms = [letter, letter.lower(), letter.upper()]
            forms += [_base(form) for form in forms]
            fitting = next((form for form in forms if form and all(part in self._letter_ids for part in form)), None)
            if fitting is None:
                raise DataError(
                    f"cannot guess how {word!r} is pronounced: {letter!r} (U+{ord(letter):04X}) is not a letter that "
                    f"the pronunciation model knows; expected {''.join(self.letters)!r}: spell it differently, or add "
                    "the word to the lexicon"
                )
            known.append(fitting)
        if not known:
            raise DataError("cannot guess how an empty word is pronounced; expected letters")
        return "".join(known)

    @cached_property
    def _index(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The units sorted by letter, as `search` takes them."""
        phone_ids = {phone: index for index, phone in enumerate(self.phones)}
        letters = np.array([self._letter_ids[letter] for letter, _ in self.units])
        sounds = np.full((len(self.units), MOST_PHONES), -1, np.int32)
        for row, (_, said) in zip(sounds, self.units, strict=True):
            row[: len(said)] = [phone_ids[phone] for phone in said]
        order = np.argsort(letters, kind="stable")
        begins = np.searchsorted(letters[order], np.arange(len(self.letters) + 1)).astype(np.int64)
        return begins, (order + 3).astype(np.int32), np.ascontiguousarray(sounds[order])

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file: a compressed ``.npz`` of NumPy, see `asr.decoder.ngram.quantised`."""
        units = np.array([" ".join((letter, *said)) for letter, said in self.units])
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, format=np.array(FORMAT), units=units, **pack_levels(self.lm.levels()))  # type: ignore[arg-type]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "G2P":
        """Read a file that `write` wrote.

        Raises
        ------
        DataError
            If it is missing, damaged, or another kind of file.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                if str(file["format"]) != FORMAT:
                    raise DataError(f"{path}: is {file['format']}; this version reads {FORMAT!r}: train it again")
                named = [str(unit).split(" ") for unit in file["units"]]
                levels = unpack_levels(file, len(named) + 3)
        except DataError:
            raise
        except OSError as error:
            raise DataError(
                f"cannot read the pronunciation model {path}: {error.strerror or error}; asr lexicon train makes one"
            ) from None
        # What zipfile, zlib and NumPy raise on damaged files has no common base class.
        except Exception as error:
            raise DataError(f"{path}: is damaged, or not a pronunciation model ({error}); train it again") from None
        words = ["<unk>", "<s>", "</s>", *map(str, range(len(named)))]
        return cls([(letter, tuple(said)) for letter, *said in named], NGramModel.from_levels(words, levels))


def extend(
    lexicon: PronouncingDictionary, words: Iterable[str], model: G2P, nbest: int = 1
) -> tuple[PronouncingDictionary, list[str], list[str]]:
    """Add the words that a lexicon lacks, as a model guesses them.

    Returns
    -------
    lexicon : PronouncingDictionary
        The log-weights of guesses are below the most likely one's, which has 0, where there are several.
    added : list of str
    left_out : list of str
        Words with letters that the model does not know, or without any sound.
    """
    missing = lexicon.missing(words)
    added = [word for word in missing if model.can_pronounce(word)]
    guessed = [
        (word, said.phones, said.log_weight - readings[0].log_weight)
        for word in added
        for readings in [model.pronounce(word, nbest)]
        for said in readings
    ]
    spoken = {word for word, _, _ in guessed}
    left_out = [word for word in missing if word not in spoken]
    return (lexicon.with_entries(guessed) if guessed else lexicon), [word for word in added if word in spoken], left_out


def _base(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in parts if not unicodedata.combining(part))
