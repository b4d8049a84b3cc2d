"""How transcripts are normalised: one profile shared by preparation, language models and scoring.

A profile converts text to Unicode NFC, optionally writes numbers and abbreviations as words, changes the case, applies
replacements, and collapses white space. Characters outside the alphabet are then refused, mapped, dropped or rejected,
as the profile says; never silently.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from asr import settings
from asr.errors import DataError, UsageError, did_you_mean
from asr.spoken import spoken

Case = Literal["lower", "upper", "keep", "lower-turkish"]
Unknown = Literal["refuse", "map", "drop", "reject"]
Spoken = Literal["", "en"]

CASES = ("lower", "upper", "keep", "lower-turkish")
POLICIES = ("refuse", "map", "drop", "reject")
SPOKEN = ("", "en")

# Characters that mean what an ASCII character means, and invisible ones that mean nothing.
TYPOGRAPHY = {
    "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‐": "-",
    "‑": "-", "…": "...", "\ufeff": "", "\u200b": "", "\u00ad": "",
}  # fmt: skip

# What stands for letters that Unicode does not decompose.
BASES = {
    "ß": "ss", "ø": "o", "ł": "l", "œ": "oe", "æ": "ae", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ŧ": "t",
    "ŋ": "ng", "ĸ": "k", "ə": "e", "ɓ": "b", "ɗ": "d", "ɛ": "e", "ɣ": "g", "ƙ": "k", "ɔ": "o", "ƒ": "f",
}  # fmt: skip
BASES |= {letter.upper(): base.upper() for letter, base in BASES.items() if len(letter.upper()) == 1} | {"ẞ": "SS"}

# Within words these stay, wherever punctuation is dropped: don't, l'eau; and what joins or parts letters of Persian and
# of Indian scripts.
INSIDE_WORDS = "'\u200c\u200d"

# Marks that part words even where no space follows; a single full stop does not: it is in abbreviations.
PARTING = {
    mark: re.compile(pattern + r"""(?=['"(\[]?[^\W\d_])""")
    for mark, pattern in {**{mark: re.escape(mark) for mark in ",;:!?"}, ".": r"\.{2,}"}.items()
}


@dataclass(frozen=True)
class TextProfile:
    """How the transcripts of a corpus are normalised.

    Parameters
    ----------
    name : str
        For messages and for ``--profile``.
    case : {"keep", "lower", "upper", "lower-turkish"}
        Turkish and Azerbaijani lower I to ı, and İ to i.
    replacements : dict of str to str
        Applied in order after the change of case, to the NFC text; each replaces every occurrence. Where one takes
        away ``, ; : ! ?`` or several full stops right before a word, a space is left: "hello,world" is two words.
    alphabet : str
        The characters that may be left, the space among them; empty: any character.
    unknown : {"refuse", "map", "drop", "reject"}
        How to treat a character outside the alphabet: an error; its base letters (é → e, ﬁ → fi, ß → ss, ø → o)
        if these are in the alphabet, else an error; drop it; or leave out the whole utterance.
    spoken : {"", "en"}
        The language in which numbers, dates, money and abbreviations are written as words, before all else; see
        `asr.spoken`. Empty: they stay as they are.
    words_only : bool
        Whether to drop everything except letters of any script, their marks, digits, and apostrophes within words.

    Raises
    ------
    UsageError
        If `case`, `unknown` or `spoken` has another value.
    """

    name: str = "verbatim"
    case: Case = "keep"
    replacements: dict[str, str] = field(default_factory=dict)
    alphabet: str = ""
    unknown: Unknown = "refuse"
    spoken: Spoken = ""
    words_only: bool = False

    def __post_init__(self) -> None:
        choices = (("case", self.case, CASES), ("unknown", self.unknown, POLICIES), ("spoken", self.spoken, SPOKEN))
        for key, value, known in choices:
            if value not in known:
                raise UsageError(
                    f"text profile {self.name!r}: {key} is {value!r}; expected one of {', '.join(map(repr, known))}"
                    + did_you_mean(str(value), known)
                )

    def clean(self, text: str) -> str:
        """Return `text` in NFC, in the profile's case, replaced, white space collapsed; unknown characters stay."""
        text = unicodedata.normalize("NFC", text)
        if self.spoken:
            text = spoken(text)
        if self.case.startswith("lower"):
            if self.case == "lower-turkish":
                text = text.replace("I", "ı").replace("İ", "i")
            # İ is lowered to i and a dot above, of which i has one.
            text = text.lower().replace("i\u0307", "i")
        elif self.case == "upper":
            text = text.upper()
        for old, new in self.replacements.items():
            if not new and old in PARTING:
                text = PARTING[old].sub(" ", text)
            text = text.replace(old, new)
        if self.words_only:
            text = _words_only(text)
        return " ".join(unicodedata.normalize("NFC", text).split())

    def unknown_characters(self, text: str) -> Counter[str]:
        """Count the characters of cleaned `text` that the alphabet lacks."""
        if not self.alphabet:
            return Counter()
        return Counter(character for character in text if character not in self.alphabet)

    def __call__(self, text: str) -> str:
        """Return `text` normalised, unknown characters treated as the profile says.

        Raises
        ------
        DataError
            If characters outside the alphabet are left, unless they are dropped.
        """
        text, unknown = self.treat(self.clean(text))
        if unknown:
            raise DataError(
                f"transcript {text!r} has {describe_characters(unknown)} outside the alphabet of profile "
                f"{self.name!r}; expected only {self.alphabet!r}: map, drop or reject them, or extend the alphabet"
            )
        return text

    def treat(self, text: str) -> tuple[str, Counter[str]]:
        """Return cleaned `text` with unknown characters mapped or dropped, and those that are left."""
        if self.unknown_characters(text):
            if self.unknown == "map":
                text = " ".join("".join(self._base(character) for character in text).split())
            elif self.unknown == "drop":
                text = " ".join("".join(c for c in text if c in self.alphabet).split())
        return text, self.unknown_characters(text)

    def _base(self, character: str) -> str:
        if character in self.alphabet:
            return character
        decomposed = unicodedata.normalize("NFKD", character)
        base = "".join(BASES.get(part, part) for part in decomposed if not unicodedata.combining(part))
        return base if all(part in self.alphabet for part in base) else character

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        values = asdict(self)
        # Only where it says something: what was prepared by other profiles stays the same.
        return values if self.words_only else {key: value for key, value in values.items() if key != "words_only"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextProfile":
        """Return the profile that `to_dict` gave.

        Raises
        ------
        UsageError
            If a key is unknown or a value out of its range.
        """
        return settings.from_dict(cls, values, "text profile")


def _words_only(text: str) -> str:
    """Return `text` with spaces for all that is no part of a word; a full stop leaves nothing: u.s. is us."""
    kept = [unicodedata.category(character)[0] in "LMN" for character in text]
    parts = []
    for place, character in enumerate(text):
        is_inside = 0 < place < len(text) - 1 and kept[place - 1] and kept[place + 1]
        if kept[place] or (character in INSIDE_WORDS and is_inside):
            parts.append(character)
        elif not (character == "." and is_inside and text[place - 1].isalpha() and text[place + 1].isalpha()):
            parts.append(" ")
    return "".join(parts)


def describe_characters(characters: Iterable[str]) -> str:
    """Return ``"'é' (U+00E9), …"`` for a message."""
    return ", ".join(f"{character!r} (U+{ord(character):04X})" for character in sorted(characters))


LETTERS = "abcdefghijklmnopqrstuvwxyz"

VERBATIM = TextProfile()
ENGLISH = TextProfile(
    name="english",
    case="lower",
    replacements=TYPOGRAPHY | {"-": " ", "/": " "} | dict.fromkeys(',.;:!?"()[]', ""),
    alphabet=LETTERS + "' ",
)
# Names such as Düsseldorf and words such as manœuvre keep their base letters.
SPOKEN_ENGLISH = replace(
    ENGLISH,
    name="spoken_english",
    replacements=ENGLISH.replacements | {"æ": "ae", "œ": "oe", "*": "", "_": ""},
    unknown="map",
    spoken="en",
)
# Of languages that have no profile of their own: lower case, no punctuation, all letters.
WORDS = TextProfile(name="words", case="lower", replacements=TYPOGRAPHY, words_only=True)
TURKISH = replace(WORDS, name="turkish", case="lower-turkish")
PROFILES = {profile.name: profile for profile in (VERBATIM, ENGLISH, SPOKEN_ENGLISH, WORDS, TURKISH)}
