"""A lexicon's size, possible mistakes in it, and what it lacks."""

from collections import Counter
from collections.abc import Iterable

from asr.lexicon.dictionary import STRESSED, PronouncingDictionary

# Phones that stand in fewer entries are likely to be slips.
FEW_ENTRIES = 3
MANY_PRONUNCIATIONS = 8
SHOWN = 10


def describe(lexicon: PronouncingDictionary) -> list[str]:
    """Return lines on a lexicon: its size, its phones, and entries that may be mistakes."""
    entries = list(lexicon.entries())
    uses = Counter(phone for entry in entries for phone in set(entry.phones))
    first = {phone: entry.word for entry in reversed(entries) for phone in entry.phones}
    shared = Counter(entry.phones for entry in entries)
    lines = [
        f"{len(lexicon):,} words, {len(entries):,} pronunciations{', weighted' if lexicon.is_weighted else ''}",
        f"{len(uses)} phones: {' '.join(lexicon.phones)}",
        f"{sum(count > 1 for count in shared.values()):,} pronunciations belong to several words, which only a "
        "language model can tell apart",
    ]
    if any(STRESSED.search(phone) for phone in uses):
        lines.append("vowels are marked with stress (AH0); asr lexicon build removes it")
    rare = sorted(
        (phone for phone, count in uses.items() if count <= FEW_ENTRIES), key=lambda phone: (uses[phone], phone)
    )
    long = [entry.word for entry in entries if len(entry.phones) > 2 * len(entry.word)]
    many = [word for word in lexicon if len(lexicon[word]) > MANY_PRONUNCIATIONS]
    for problem, found in (
        (f"phones in {FEW_ENTRIES} entries or fewer", [f"{phone} (in {first[phone]!r})" for phone in rare]),
        ("entries with more than two phones per letter", long),
        (f"words with more than {MANY_PRONUNCIATIONS} pronunciations", many),
    ):
        if found:
            lines.append(f"{len(found):,} {problem}: {_shown(found)}")
    return lines


def missing_from_text(lexicon: PronouncingDictionary, sentences: Iterable[str]) -> str:
    """Return a line on the words of a text that a lexicon lacks, the most frequent ones named."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    missing = {word: counts[word] for word in lexicon.missing(counts)}
    if not missing:
        return f"all {len(counts):,} words of the text are in the lexicon"
    most = sorted(missing, key=lambda word: (-missing[word], word))
    return (
        f"{len(missing):,} of the text's {len(counts):,} words are not in the lexicon, "
        f"{100 * sum(missing.values()) / counts.total():.2f} % of all that it says: "
        f"{_shown([f'{word} ({missing[word]:,})' for word in most])}"
    )


def missing_from_lm(lexicon: PronouncingDictionary, words: Iterable[str]) -> str:
    """Return a line on the words of a language model that a lexicon lacks; empty if it has them all."""
    known = [word for word in words if word not in ("<unk>", "<s>", "</s>")]
    missing = lexicon.missing(known)
    if not missing:
        return ""
    return (
        f"{len(missing):,} of the language model's {len(known):,} words are not in the lexicon and cannot be "
        f"recognised: {_shown(missing)}"
    )


def _shown(found: list[str]) -> str:
    return ", ".join(found[:SHOWN]) + (", …" if len(found) > SHOWN else "")
