r"""Prove that the English model is not tested on anything that it learns from; print what was compared.

    python data_prep/english_check.py data/english --text text --exclude speech/exclude_8grams.txt \
        --chapters speech/LibriSpeech/CHAPTERS.TXT

It reads the stores of data_prep/english.py and the text of data_prep/english_text.py, but uses none of the code that
made them. It ends with status 1 if a development set shares a sentence, a speaker, a book of LibriSpeech or eight words
in a row with the training data, or if these contain eight words in a row from the list of exclusions.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from asr.decoder.ngram.text import read_sentences
from asr.errors import AsrError, DataError
from asr.preparation.overlap import read_runs, runs, runs_of
from asr.preparation.parsing import read_lines
from asr.store.store import FeatureStore


@dataclass(frozen=True)
class Judges:
    """What must not be learned from."""

    sentences: frozenset[str]
    speakers: frozenset[str]
    books: frozenset[str]
    runs: frozenset[str]
    excluded: frozenset[str]


def compare_store(store: FeatureStore, judges: Judges, books: dict[str, str]) -> int:
    """Print what a training store shares with the judges; return how much that is."""
    texts = list(store.texts)
    found = {
        "sentences": sum(text in judges.sentences for text in texts),
        "speakers": len(set(store.speakers) & judges.speakers),
        "books": len(_books(store, books) & judges.books),
        "eight words": _shared(texts, judges.runs),
        "excluded": _shared(texts, judges.excluded),
    }
    unnamed = "" if all(store.speakers) else ", speakers unknown"
    _show(f"{store.split}: {len(store):,} utterances, {store.hours:.2f} h{unnamed}", found)
    return sum(found.values())


def compare_text(path: Path, judges: Judges) -> int:
    """Print what a text shares with the judges; return how much that is. Runs may cross sentences, as in books."""
    sentences = [line.strip() for line in read_sentences([path])]
    whole = " ".join(sentences)
    # A dev sentence of a few words ("i don't know") is no book; eight words are.
    found = {"eight words": 0, "excluded": 0}
    for run in runs(whole):
        found["eight words"] += run in judges.runs
        found["excluded"] += run in judges.excluded
    _show(f"{path.name}: {len(sentences):,} sentences, {whole.count(' ') + 1:,} words", found)
    return sum(found.values())


def _shared(texts: Iterable[str], forbidden: frozenset[str]) -> int:
    return sum(any(run in forbidden for run in runs(text)) for text in texts)


def _books(store: FeatureStore, books: dict[str, str]) -> set[str]:
    """Return the books that utterances of LibriSpeech, SPEAKER-CHAPTER-NUMBER, are of."""
    chapters = {name.split("-")[1] for name in store.ids if name.count("-") == 2}
    return {books[chapter] for chapter in chapters if chapter in books}


def _show(title: str, found: dict[str, int]) -> None:
    print(title, ", ".join(f"{name} shared: {count}" for name, count in found.items()), sep="\t", flush=True)


# ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE
# 1      | 110  | 19.77 | train-other-500  | 53   | 1023  | In Chancery | Bleak House
def read_books(path: Path) -> dict[str, str]:
    """Return the number in Project Gutenberg of the book that each chapter of LibriSpeech is of."""
    rows = ([field.strip() for field in line.split("|")] for line in read_lines(path) if not line.startswith(";"))
    return {row[0]: row[5] for row in rows if len(row) > 5 and row[5]}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, help="the folder of stores")
    parser.add_argument("--text", type=Path, help="the folder of text, *.txt.gz")
    parser.add_argument("--exclude", type=Path, help="runs of eight words of further texts to be judged by")
    parser.add_argument("--chapters", type=Path, help="LibriSpeech's CHAPTERS.TXT, which names books")
    parsed = parser.parse_args()
    splits = sorted(path.parent.name for path in parsed.stores.glob("*/store.json"))
    held = [FeatureStore.open(parsed.stores / split) for split in splits if split.startswith("dev")]
    if not held or len(held) == len(splits):
        raise DataError(f"{parsed.stores}: has the stores {', '.join(splits) or 'none'}; expected dev… and others")
    books = read_books(parsed.chapters) if parsed.chapters else {}
    texts = {text for store in held for text in store.texts}
    judges = Judges(
        frozenset(texts),
        frozenset(speaker for store in held for speaker in store.speakers) - {""},
        frozenset(book for store in held for book in _books(store, books)),
        runs_of(texts),
        read_runs(parsed.exclude) if parsed.exclude else frozenset(),
    )
    print(
        f"judges: {', '.join(store.split for store in held)}: {len(judges.sentences):,} sentences, "
        f"{len(judges.speakers):,} speakers, {len(judges.books):,} books, {len(judges.runs):,} runs of eight words; "
        f"{len(judges.excluded):,} excluded runs"
    )
    shared = sum(
        compare_store(FeatureStore.open(parsed.stores / split), judges, books)
        for split in splits
        if not split.startswith("dev")
    )
    shared += sum(compare_text(path, judges) for path in sorted(parsed.text.glob("*.txt.gz"))) if parsed.text else 0
    print("shared: nothing" if not shared else f"shared: {shared}")
    return 1 if shared else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AsrError as error:
        sys.exit(f"error: {error}")
