"""English of many kinds: audiobooks, volunteers, learners, callers and single readers, one split per set.

    python data_prep/english.py --source speech --out data/english

``speech`` holds one folder per set (docs/english.md says where each comes from): LibriSpeech, LJSpeech-1.1,
cv-corpus-1 and speechocean762 as extracted from their archives, the others with a table ``SET/SET.tsv``, whose columns
are audio, text, speaker and disagreement. All must exist, unless ``--allow-missing`` is given or ``--splits`` names
some.

Some speakers of each kind, or sentences if the speakers are unknown, are held out for development: ``dev`` holds all of
them, to choose by, and the splits ``dev_…`` hold one kind each, to report. Other utterances by these speakers, and
those that repeat these sentences or share eight words in a row with them, are left out; so are those that share eight
words in a row with ``speech/exclude_8grams.txt``, if it exists: the texts of recordings that the model is to be tested
on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from asr.features import LogMelConfig
from asr.preparation.archives import find_root
from asr.preparation.command import load_corpus, main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.formats import read_source
from asr.preparation.overlap import read_runs, runs_of, shares_a_run
from asr.preparation.parsing import held_out
from asr.text import SPOKEN_ENGLISH

# Of a published text, a recogniser's word error rate against it above which the text is not that of the recording.
MAX_DISAGREEMENT = 0.3
# Two sentences with more of their words in common are the same sentence, misheard by a machine.
SAME_SENTENCE = 0.7

# Set: whose speakers it shares, its licence.
TABLES = {
    "cv1_valid_test": ("common_voice", "CC0"),
    "cv13": ("common_voice", "CC0"),
    "cv18": ("common_voice", "CC0"),
    "cv19": ("common_voice", "CC0"),
    "cv20": ("common_voice", "CC0"),
    "minds14_en": ("minds14", "CC BY 4.0"),
    "kathleen": ("arctic", "CC0"),
    "vctk_p239": ("vctk", "ODC-By"),
    "cv13_pseudo": ("common_voice", "CC0"),
    "voice_age": ("common_voice", "CC0"),
}
WRITTEN_BY_MACHINES = ("cv13_pseudo", "voice_age")
# Their speakers are known, and they are as today's releases of Common Voice are.
HELD_OUT_BY_SPEAKER = ("cv18", "cv19", "cv20")
# Set, and its script: the folder in its archive.
ARCHIVES = {
    "librispeech": "LibriSpeech",
    "ljspeech": "LJSpeech-1.1",
    "common_voice": "cv-corpus-1",
    "speechocean762": "speechocean762",
}
DEV = ("dev_audiobooks", "dev_common_voice", "dev_learners")


def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances of the sets that are in `root`, without what the development sets forbid."""
    utterances = [*_of_archives(root), *_of_tables(root)]
    held = [utterance for utterance in utterances if utterance.split in DEV]
    yield from held
    yield from (replace(utterance, split="dev") for utterance in held)
    dev_texts = {SPOKEN_ENGLISH.clean(utterance.text) for utterance in held}
    dev_words = [frozenset(text.split()) for text in dev_texts]
    dev_speakers = {utterance.speaker for utterance in held} - {""}
    exclusions = root / "exclude_8grams.txt"
    excluded = runs_of(dev_texts) | (read_runs(exclusions) if exclusions.exists() else frozenset())
    for utterance in utterances:
        if utterance.split in DEV or utterance.speaker in dev_speakers:
            continue
        text = SPOKEN_ENGLISH.clean(utterance.text)
        if text in dev_texts or shares_a_run(text, excluded):
            continue
        if utterance.split in WRITTEN_BY_MACHINES and _resembles(text, dev_words):
            continue
        yield utterance


def _resembles(text: str, others: Iterable[frozenset[str]]) -> bool:
    words = frozenset(text.split())
    return any(len(words & other) > SAME_SENTENCE * len(words | other) for other in others)


def _of_archives(root: Path) -> Iterator[RawUtterance]:
    """Yield what the scripts of the sets do that have one, in the splits of this corpus."""
    for name, folder in ARCHIVES.items():
        if not (root / folder).is_dir():
            continue
        corpus = load_corpus(Path(__file__).with_name(f"{name}.py"))
        for utterance in corpus.parse(find_root(root / folder, corpus.markers)):
            split = _split(name, utterance)
            if split:
                speaker = "" if name == "common_voice" else f"{name}-{utterance.speaker}"
                yield replace(utterance, split=split, speaker=speaker)


def _split(name: str, utterance: RawUtterance) -> str:
    """Return the split here of an utterance of an archive; empty: it is of another cut of the same recordings."""
    if name == "librispeech":
        # Speakers are in several of the publisher's parts; three of train-clean-5's are held out.
        shares = {"speaker_train": name, "speaker_test": name, "speaker_dev": "dev_audiobooks"}
        return shares.get(utterance.split, "")
    if name == "common_voice":
        # Release 1 names no speakers; these are shared out by sentence.
        shares = {"train": name, "dev": "dev_common_voice", "test": "dev_common_voice"}
        return shares.get(utterance.split, "")
    if name == "speechocean762" and utterance.split == "test":
        return "dev_learners" if held_out(utterance.speaker, dev_percent=25, test_percent=0) == "dev" else name
    return name


# cv13/cv13.tsv; a table that machines wrote has a disagreement in every line:
# audio	text	speaker	disagreement
# clips/common_voice_en_37238108.mp3	My very best concert bonnet.	c3524f5e7c
def _of_tables(root: Path) -> Iterator[RawUtterance]:
    for name, (family, _) in TABLES.items():
        table = root / name / f"{name}.tsv"
        if not table.exists():
            continue
        for row in read_source(table, {}):
            disagreement = float(row["disagreement"] or 0)
            if name not in WRITTEN_BY_MACHINES:
                if disagreement > MAX_DISAGREEMENT:
                    continue
                disagreement = 0.0
            speaker = f"{family}-{row['speaker']}" if row["speaker"] else ""
            is_dev = name in HELD_OUT_BY_SPEAKER and held_out(speaker, dev_percent=25, test_percent=0) == "dev"
            audio = table.parent / row["audio"]
            split = "dev_common_voice" if is_dev else name
            yield RawUtterance(audio.stem, audio, row["text"], speaker, split, disagreement=disagreement)


CORPUS = Corpus(
    name="english",
    title="English of many kinds",
    homepage="https://www.openslr.org/, https://commonvoice.mozilla.org/",
    licence="CC0; CC BY 4.0 (LibriSpeech, MInDS-14); ODC-By (VCTK); public domain (LJ Speech); free for any use "
    "(speechocean762)",
    archives=(Archive("", name="english", how_to_get="collect the sets as docs/english.md tells"),),
    markers=(
        "LibriSpeech/*/*/*/*.trans.txt",
        "cv-corpus-1/*/validated.tsv",
        *(f"{set_}/{set_}.tsv" for set_ in TABLES),
    ),
    splits=("dev", *DEV, *ARCHIVES, *TABLES),
    train_splits=(*ARCHIVES, *TABLES),
    complete=True,
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    profile=SPOKEN_ENGLISH,
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
