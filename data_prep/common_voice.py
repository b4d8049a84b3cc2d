"""Mozilla Common Voice, one language, in the layout of today's releases.

    python data_prep/common_voice.py --archive cv-corpus-21.0-2025-03-14-en.tar.gz --out data/common_voice

For a language other than English: ``--source cv-corpus-21.0-2025-03-14/de --profile verbatim``.
"""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePath

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines

OFFICIAL = ("train", "dev", "test")


# validated.tsv, train.tsv, …: a header, tabs, no quoting; releases differ in the other columns:
# client_id	path	sentence	up_votes	down_votes	age	gender	accents	locale	segment
# ca4e0a72…	common_voice_en_000000.opus	be careful with your prognostications said the stranger	1	0				en
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the official splits; with only ``validated.tsv``, a hash of the sentence decides."""
    official = [split for split in OFFICIAL if (root / f"{split}.tsv").exists()]
    for split in official:
        for row in _rows(root / f"{split}.tsv"):
            yield _utterance(root, row, split)
    if (root / "validated.tsv").exists():
        for row in _rows(root / "validated.tsv"):
            yield _utterance(root, row, "validated")
            if not official:
                yield _utterance(root, row, held_out(row["sentence"].casefold()))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    return csv.DictReader(read_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)


def _utterance(root: Path, row: dict[str, str], split: str) -> RawUtterance:
    stem = PurePath(row["path"]).stem
    return RawUtterance(stem, find_audio(root / "clips", stem), row["sentence"], row["client_id"], split)


CORPUS = Corpus(
    name="common_voice",
    title="Mozilla Common Voice",
    homepage="https://commonvoice.mozilla.org/",
    licence="CC0",
    citation="R. Ardila et al.: Common Voice: A Massively-Multilingual Speech Corpus. LREC 2020",
    archives=(
        Archive(
            "",
            name="cv-corpus-1",
            how_to_get="accept its terms at https://datacollective.mozillafoundation.org and fetch one language",
        ),
    ),
    markers=("validated.tsv", "train.tsv"),
    splits=(*OFFICIAL, "validated"),
    on_request=("validated",),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
