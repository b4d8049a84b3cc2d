"""English text for language models: novels, dialogues, textbooks and transcripts, one packed file per source.

    python data_prep/english_text.py --repositories clones --speech speech --out text

``clones`` holds clones of the repositories below (docs/english.md lists the commands); ``speech`` is what
data_prep/english.py reads. Text becomes sentences, one per line, in the profile of the transcripts. Repeated paragraphs
count once. A whole book, dialogue or chapter is left out if it shares eight words in a row with a
development transcript or with ``speech/exclude_8grams.txt``: texts that the model is tested on must not be in it.
"""

import argparse
import csv
import gzip
import hashlib
import io
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.errors import AsrError, DataError, UsageError
from asr.files import atomic_path
from asr.lexicon.formats import read_lexicon
from asr.preparation.command import load_corpus
from asr.preparation.overlap import read_runs, runs_of, shares_a_run
from asr.preparation.parsing import held_out
from asr.spoken import spoken
from asr.text import SPOKEN_ENGLISH

# Authors who died later, in the last ninety years, are left out; translators and illustrators of their time too.
LAST_YEAR_OF_DEATH = 1936
RECENT_AUTHORS = (
    "Barrie", "Blackwood", "Bunin", "Burroughs", "Christie", "Emshwiller", "Garnett", "Haslett", "Hesse", "Hoskins",
    "Joyce", "Kafka", "Kelley", "Lockhart", "Maude", "Montgomery", "Orban", "Potter", "Russell", "Shaw", "Smith",
    "Tolkien", "Wells", "Wharton", "Wodehouse", "Wrenn", "Wyllie", "Ford", "Forster", "Woolf",
)  # fmt: skip

# Shorter paragraphs ("Yes.") are no copies of one another.
WORDS_OF_A_COPY = 8
# Of running English at least this fraction of the words are among the commonest ones.
COMMON = frozenset(
    (
        "the", "of", "and", "to", "a", "in", "that", "it", "is", "was", "i", "he", "for", "you", "his", "with", "as",
        "on", "her", "had", "not", "be", "at", "but", "she", "they", "him", "by", "have", "this", "all", "my", "me",
        "so", "from", "or", "we", "an", "no", "were", "which", "what", "there", "one", "if", "do", "your", "are",
        "when", "who", "their", "will", "them", "been", "would",
    )
)  # fmt: skip
LEAST_COMMON = 0.2
# Scans that lost their apostrophes have "don t".
MOST_LONE_T = 1 / 3000
# How often a word must occur to be in the vocabulary: one of the lexicon, any other.
LEAST_KNOWN, LEAST_UNKNOWN = 5, 20

SENTENCE_END = re.compile(r"""(?<=[.!?])["'”’)\]]*\s+(?=["'“‘(\[]*[^\W\d_a-z])""")
OUTSIDE = re.compile(r"[^a-z' ]")
ASIDE = re.compile(r"\[[^\]]*\]|<[^>]*>|\{[^}]*\}")
WITHOUT_NUMBERS = replace(SPOKEN_ENGLISH, spoken="")


@dataclass(frozen=True)
class Text:
    """What is kept or left out as a whole: a book, a dialogue, a chapter."""

    name: str
    paragraphs: list[str]


class Repository:
    """Files of a clone, or of a bare repository, at its newest commit."""

    def __init__(self, folder: Path, name: str) -> None:
        owner, _, project = name.partition("/")
        places = [folder / project, folder / f"{owner}+{project}" / "repo"]
        found = [place for place in places if place.is_dir()]
        if not found:
            raise DataError(f"{folder}: has no {project}: run git clone https://github.com/{name} in it")
        self._git = ["git", "-C", str(found[0])]

    def read(self, pattern: str) -> Iterator[tuple[str, str]]:
        """Yield path and text of the files whose whole path matches `pattern`."""
        listed = subprocess.run([*self._git, "ls-tree", "-rz", "--name-only", "HEAD"], capture_output=True, check=True)
        for path in listed.stdout.decode().split("\0"):
            if not re.fullmatch(pattern, path, re.DOTALL):
                continue
            shown = subprocess.run([*self._git, "cat-file", "blob", f"HEAD:{path}"], capture_output=True, check=False)
            if shown.returncode:
                print(f"{self._git[2]}: {path} cannot be read, left out (a partial clone?)", file=sys.stderr)
                continue
            try:
                yield path, shown.stdout.decode("utf-8-sig")
            except UnicodeDecodeError:
                yield path, shown.stdout.decode("latin-1")


# *** START OF THIS PROJECT GUTENBERG EBOOK THE DEAD ALIVE ***
# …
# “HEART all right,” said the doctor. “Lungs all right. No organic
# disease that I can discover.
def gutenberg(folder: Path) -> Iterator[Text]:
    """Yield the books of Project Gutenberg, AUTHOR/TITLE.txt."""
    books = Repository(folder, "rcdm-uga/Gutenberg_Text")
    by_recent = {Path(path).name for path, _ in books.read(rf"(?:{'|'.join(RECENT_AUTHORS)})\b[^/]*/.*\.txt")}
    for path, text in books.read(r"[^/]*/.*\.txt"):
        # A book lies below each of its authors, illustrators and translators.
        if Path(path).name in by_recent:
            continue
        body = re.search(r"\*\*\* ?START OF TH.*?\*\*\*(.*?)\*\*\* ?END OF TH", text, re.DOTALL)
        if body:
            yield Text(path, re.split(r"\n\s*\n", body[1].replace("\r", "")))


def novels(folder: Path) -> Iterator[Text]:
    """Yield 100 English novels, corpus/AUTHOR_TITLE_YEAR.txt; a paragraph is a line, or empty lines part them."""
    for path, text in Repository(folder, "computationalstylistics/100_english_novels").read(r"corpus/.*\.txt"):
        if path.split("/")[1].split("_")[0] not in RECENT_AUTHORS:
            lines = text.replace("\r", "").split("\n")
            wrapped = sum(map(len, lines)) < 100 * sum(map(bool, lines))
            yield Text(path, re.split(r"\n\s*\n", "\n".join(lines)) if wrapped else lines)


# <p>“They were father and son,” replied Baldred—“Sir Simon Darcy and Master Reginald Darcy.</p>
def eltec(folder: Path) -> Iterator[Text]:
    """Yield the European Literary Text Collection's English novels, level1/*.xml, in TEI."""
    collection = Repository(folder, "COST-ELTeC/ELTeC-eng")
    ((_, table),) = collection.read(r"ELTeC-eng_metadata\.tsv")
    rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
    deaths = {row["filename"]: row["author-death"] or "" for row in rows}
    for path, text in collection.read(r"level1/.*\.xml"):
        died = deaths.get(Path(path).stem, "")
        if died.isdigit() and int(died) <= LAST_YEAR_OF_DEATH:
            body = ET.fromstring(text).iter("{http://www.tei-c.org/ns/1.0}p")
            yield Text(path, ["".join(paragraph.itertext()) for paragraph in body])


def self_dialogues(folder: Path) -> Iterator[Text]:
    """Yield dialogues that one person each wrote: corpus/TOPIC/*.csv, turns in columns Answer.sentence1 and on."""
    repository = Repository(folder, "jfainberg/self_dialogue_corpus")
    ((_, blocked),) = repository.read(r"blocked_workers\.txt")
    for path, text in repository.read(r"corpus/.*\.csv"):
        for row in csv.DictReader(io.StringIO(text)):
            turns = sorted((key for key in row if key.startswith("Answer.sentence")), key=lambda key: (len(key), key))
            if row["WorkerId"] not in blocked.split():
                yield Text(f"{path} {row['AssignmentId']}", [row[turn] or "" for turn in turns])


def assistant_dialogues(folder: Path) -> Iterator[Text]:
    """Yield dialogues with assistants (Schema-Guided Dialogue): train, dev and test, in JSON."""
    repository = Repository(folder, "google-research-datasets/dstc8-schema-guided-dialogue")
    for path, text in repository.read(r"(?:train|dev|test)/dialogues_.*\.json"):
        for dialogue in json.loads(text):
            yield Text(f"{path} {dialogue['dialogue_id']}", [turn["utterance"] for turn in dialogue["turns"]])


TEXTBOOKS = (
    "life-liberty-and-pursuit-happiness", "principles-economics-bundle", "introduction-business",
    "introduction-anthropology", "college-success",
)  # fmt: skip


# <para id="fs-idm363603584">Goals can be big or small. A goal can range from <emphasis effect="italics">I am …
def textbooks(folder: Path) -> Iterator[Text]:
    """Yield the chapters of OpenStax textbooks, modules/*/index.cnxml."""
    for book in TEXTBOOKS:
        for path, text in Repository(folder, f"openstax/osbooks-{book}").read(r"modules/.*\.cnxml"):
            marks = [element for element in ET.fromstring(text).iter() if element.tag.endswith(("}para", "}item"))]
            yield Text(f"{book}/{path}", ["".join(mark.itertext()) for mark in marks])


SOURCES: dict[str, Callable[[Path], Iterator[Text]]] = {
    "gutenberg": gutenberg,
    "novels": novels,
    "eltec": eltec,
    "self_dialogues": self_dialogues,
    "assistant_dialogues": assistant_dialogues,
    "textbooks": textbooks,
}


def sentences(paragraph: str) -> list[str]:
    """Return the normalised sentences of a paragraph; none if it is no running English."""
    if not re.search("[a-z]", paragraph):
        return []
    text = spoken(ASIDE.sub(" ", paragraph))
    cleaned = WITHOUT_NUMBERS.clean(SENTENCE_END.sub(" ¶ ", text))
    kept = []
    for sentence in cleaned.split("¶"):
        if OUTSIDE.search(sentence):
            sentence, unknown = WITHOUT_NUMBERS.treat(sentence)
            if unknown:
                continue
        if sentence.strip():
            kept.append(sentence.strip())
    words = " ".join(kept).split()
    is_english = len(words) < 2 * WORDS_OF_A_COPY or sum(word in COMMON for word in words) > LEAST_COMMON * len(words)
    return kept if is_english else []


@dataclass
class Collector:
    """Texts to sentences, each paragraph once over all sources; `vocabulary` counts the words of what is kept."""

    excluded: frozenset[str]
    counts: Counter[str] = field(default_factory=Counter)
    vocabulary: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)

    def __call__(self, text: Text) -> list[str]:
        """Return the sentences of a text, none if it is left out; `counts` says why."""
        paragraphs = [found for paragraph in text.paragraphs if (found := sentences(paragraph))]
        whole = " ".join(sentence for paragraph in paragraphs for sentence in paragraph)
        words = Counter(whole.split())
        if not words:
            return []
        if words["t"] > MOST_LONE_T * words.total():
            self.counts["left out: apostrophes lost"] += 1
            return []
        if shares_a_run(whole, self.excluded):
            self.counts["left out: shares eight words"] += 1
            return []
        kept: list[str] = []
        for paragraph in paragraphs:
            joined = " ".join(paragraph)
            if joined.count(" ") + 1 >= WORDS_OF_A_COPY:
                key = hashlib.blake2b(joined.encode(), digest_size=8).digest()
                if key in self._seen:
                    self.counts["paragraphs again"] += 1
                    continue
                self._seen.add(key)
            kept += paragraph
        self.counts["texts"] += 1
        self.counts["sentences"] += len(kept)
        kept_words = [word for sentence in kept for word in sentence.split()]
        self.counts["words"] += len(kept_words)
        self.vocabulary.update(kept_words)
        return kept


def write(name: str, texts: Iterator[Text], out: Path, collector: Collector) -> None:
    """Write the sentences of one source to ``OUT/NAME.txt.gz``, and print what was counted."""
    collector.counts = Counter()
    with atomic_path(out / f"{name}.txt.gz") as temporary, gzip.open(temporary, "wt", 6, encoding="ascii") as file:
        for text in texts:
            file.writelines(f"{sentence}\n" for sentence in collector(text))
    print(name, ", ".join(f"{key}: {count:,}" for key, count in collector.counts.items()), sep="\t", flush=True)


def write_vocabulary(path: Path, transcripts: Counter[str], texts: Counter[str], lexicon: Container[str]) -> None:
    """Write the words of the transcripts and those that occur often enough in the texts, one per line."""
    # What begins with an apostrophe, and is in no lexicon, began a quotation.
    often = (
        word
        for word, count in texts.items()
        if (count >= LEAST_KNOWN and word in lexicon) or (count >= LEAST_UNKNOWN and word[0] != "'")
    )
    words = sorted({*transcripts, *often})
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{word}\n" for word in words), encoding="ascii")
    print(path.name, f"words: {len(words):,}", sep="\t")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=Path, required=True, help="the folder of clones")
    parser.add_argument("--speech", type=Path, required=True, help="the folder of speech, for its transcripts")
    parser.add_argument("--out", type=Path, required=True, help="receives NAME.txt.gz, one file per source")
    parser.add_argument("--lexicon", type=Path, help="write words.txt too: the vocabulary, by this lexicon")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES), help="only these [all]")
    parser.add_argument("--gutenberg-percent", type=float, default=100.0, help="of its books [100: 190 M words]")
    parsed = parser.parse_args()
    if not 0 < parsed.gutenberg_percent <= 100:
        raise UsageError(f"--gutenberg-percent {parsed.gutenberg_percent:g}: expected more than 0, and at most 100")
    lexicon = read_lexicon(parsed.lexicon) if parsed.lexicon else None
    speech = list(load_corpus(Path(__file__).with_name("english.py")).parse(parsed.speech))
    development = [SPOKEN_ENGLISH.clean(utterance.text) for utterance in speech if utterance.split == "dev"]
    exclusions = parsed.speech / "exclude_8grams.txt"
    excluded = runs_of(development) | (read_runs(exclusions) if exclusions.exists() else frozenset())
    print(f"{len(development):,} development transcripts, {len(excluded):,} runs of eight words to leave out")
    parsed.out.mkdir(parents=True, exist_ok=True)
    collector = Collector(excluded)
    for name in parsed.sources:
        texts = SOURCES[name](parsed.repositories)
        if name == "gutenberg":
            # By title: the same books on every machine.
            rest = 100 - parsed.gutenberg_percent
            texts = (text for text in texts if held_out(Path(text.name).name, rest, 0) == "train")
        write(name, texts, parsed.out, collector)
    written_by_people = (
        Text(utterance.id, [utterance.text])
        for utterance in speech
        if not utterance.split.startswith("dev") and not utterance.disagreement
    )
    # A source of its own weight: what books have too stays.
    transcripts = Collector(excluded)
    write("transcripts", written_by_people, parsed.out, transcripts)
    if lexicon is not None:
        write_vocabulary(parsed.out / "words.txt", transcripts.vocabulary, collector.vocabulary, lexicon)


if __name__ == "__main__":
    try:
        main()
    except AsrError as error:
        sys.exit(f"error: {error}")
