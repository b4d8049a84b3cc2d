"""How transcripts are normalised: one profile shared by preparation, language models and scoring.

A profile brings text to Unicode NFC, writes numbers and abbreviations as words if it is to, changes the case, applies
replacements, and collapses white space. What is then outside the alphabet is refused, mapped, dropped or rejected, as
the profile says; never silently.
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

Case = Literal["lower", "upper", "keep"]
Unknown = Literal["refuse", "map", "drop", "reject"]
Spoken = Literal["", "en"]

CASES = ("lower", "upper", "keep")
POLICIES = ("refuse", "map", "drop", "reject")
SPOKEN = ("", "en")

# Characters that mean what an ASCII character means, and invisible ones that mean nothing.
TYPOGRAPHY = {
    "’": "'", "‘": "'", "ʼ": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‐": "-",
    "‑": "-", "…": "...", "\ufeff": "", "\u200b": "", "\u00ad": "",
}  # fmt: skip

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
    case : {"keep", "lower", "upper"}
    replacements : dict of str to str
        Applied in order after the change of case, to the NFC text; each replaces every occurrence. Where one takes
        away ``, ; : ! ?`` or several full stops right before a word, a space is left: "hello,world" is two words.
    alphabet : str
        The characters that may be left, the space among them; empty: any character.
    unknown : {"refuse", "map", "drop", "reject"}
        What becomes of a character outside the alphabet: an error; its base letters (é → e, ﬁ → fi) where these are
        in the alphabet, else an error; nothing; or the whole utterance is left out.
    spoken : {"", "en"}
        The language in which numbers, dates, money and abbreviations are written as words, before all else; see
        `asr.spoken`. Empty: they stay as they are.

    Raises
    ------
    UsageError
        If `case`, `unknown` or `spoken` is none of these.
    """

    name: str = "verbatim"
    case: Case = "keep"
    replacements: dict[str, str] = field(default_factory=dict)
    alphabet: str = ""
    unknown: Unknown = "refuse"
    spoken: Spoken = ""

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
        if self.case == "lower":
            text = text.lower()
        elif self.case == "upper":
            text = text.upper()
        for old, new in self.replacements.items():
            if not new and old in PARTING:
                text = PARTING[old].sub(" ", text)
            text = text.replace(old, new)
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
        base = "".join(part for part in decomposed if not unicodedata.combining(part))
        return base if base and all(part in self.alphabet for part in base) else character

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextProfile":
        """Return the profile that `to_dict` gave.

        Raises
        ------
        UsageError
            If a key is unknown or a value out of its range.
        """
        return settings.from_dict(cls, values, "text profile")


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
PROFILES = {profile.name: profile for profile in (VERBATIM, ENGLISH, SPOKEN_ENGLISH)}
