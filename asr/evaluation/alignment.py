"""Align references with hypotheses, word by word: correct, substituted, inserted and deleted words."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class AlignedWord(NamedTuple):
    """One step of an alignment; `reference` is None for an insertion, `hypothesis` for a deletion."""

    reference: str | None
    hypothesis: str | None


def align_words(reference: str, hypothesis: str) -> tuple[AlignedWord, ...]:
    """Align the words of two texts with the fewest errors (Levenshtein); words are what white space separates.

    Returns
    -------
    tuple of AlignedWord
        In order. Of several alignments with equally few errors it is one, the same every time.
    """
    words, guesses = reference.split(), hypothesis.split()
    if words == guesses:
        return tuple(AlignedWord(word, word) for word in words)
    if not words or not guesses:
        return (*(AlignedWord(word, None) for word in words), *(AlignedWord(None, word) for word in guesses))
    import jiwer

    steps: list[AlignedWord] = []
    for chunk in jiwer.process_words(" ".join(words), " ".join(guesses)).alignments[0]:
        expected = words[chunk.ref_start_idx : chunk.ref_end_idx]
        got = guesses[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            steps += [AlignedWord(None, word) for word in got]
        elif chunk.type == "delete":
            steps += [AlignedWord(word, None) for word in expected]
        else:
            steps += [AlignedWord(*pair) for pair in zip(expected, got, strict=True)]
    return tuple(steps)


@dataclass(frozen=True)
class Confusions:
    """How often which words were confused, the most frequent first, equally frequent ones in alphabetical order.

    Parameters
    ----------
    substitutions : tuple of ((reference, hypothesis), int)
    insertions, deletions : tuple of (str, int)
    """

    substitutions: tuple[tuple[tuple[str, str], int], ...]
    insertions: tuple[tuple[str, int], ...]
    deletions: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, alignments: Iterable[Sequence[AlignedWord]]) -> "Confusions":
        """Count the errors of alignments."""
        substitutions: Counter[tuple[str, str]] = Counter()
        insertions: Counter[str] = Counter()
        deletions: Counter[str] = Counter()
        for alignment in alignments:
            for expected, got in alignment:
                if expected is None:
                    insertions[got or ""] += 1
                elif got is None:
                    deletions[expected] += 1
                elif expected != got:
                    substitutions[expected, got] += 1
        return cls(
            tuple(sorted(substitutions.items(), key=lambda item: (-item[1], item[0]))),
            tuple(sorted(insertions.items(), key=lambda item: (-item[1], item[0]))),
            tuple(sorted(deletions.items(), key=lambda item: (-item[1], item[0]))),
        )
