"""Word and character errors as counts that add; two rates cannot be averaged by mistake."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of hypotheses against their references.

    Parameters
    ----------
    substitutions, insertions, deletions, hits : int
        Of words or characters, along an alignment with the fewest errors (Levenshtein).
    """

    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    hits: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.hits + other.hits,
        )

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions together."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def reference_length(self) -> int:
        """Words or characters of the references."""
        return self.substitutions + self.deletions + self.hits

    @property
    def rate(self) -> float | None:
        """Errors per reference word or character, may exceed 1; None where the references are empty."""
        return self.errors / self.reference_length if self.reference_length else None

    def to_dict(self) -> dict[str, int]:
        """Return the four counts, for JSON."""
        return {
            "substitutions": self.substitutions,
            "insertions": self.insertions,
            "deletions": self.deletions,
            "hits": self.hits,
        }

    def kaldi_line(self, name: str = "WER") -> str:
        """Return Kaldi's result line, e.g. ``%WER 8.41 [ 65 / 773, 9 ins, 12 del, 44 sub ]``."""
        rate = "n/a" if self.rate is None else f"{100 * self.rate:.2f}"
        return (
            f"%{name} {rate} [ {self.errors} / {self.reference_length}, {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub ]"
        )


def word_errors(references: Iterable[str], hypotheses: Iterable[str]) -> ErrorCounts:
    """Count word errors; white space separates words.

    Parameters
    ----------
    references, hypotheses : iterable of str
        Equally many; either may hold empty texts.

    Raises
    ------
    ValueError
        If they are not equally many.
    """
    pairs = zip(references, hypotheses, strict=True)
    return sum((_count(" ".join(r.split()), " ".join(h.split()), words=True) for r, h in pairs), ErrorCounts())


def character_errors(references: Iterable[str], hypotheses: Iterable[str]) -> ErrorCounts:
    """Count character errors; runs of white space count as one space. As `word_errors` otherwise."""
    pairs = zip(references, hypotheses, strict=True)
    return sum((_count(" ".join(r.split()), " ".join(h.split()), words=False) for r, h in pairs), ErrorCounts())


def _count(reference: str, hypothesis: str, *, words: bool) -> ErrorCounts:
    if not reference or reference == hypothesis:
        length = len(hypothesis.split()) if words else len(hypothesis)
        return ErrorCounts(hits=length) if reference else ErrorCounts(insertions=length)
    import jiwer

    aligned = (jiwer.process_words if words else jiwer.process_characters)(reference, hypothesis)
    return ErrorCounts(aligned.substitutions, aligned.insertions, aligned.deletions, aligned.hits)
