"""LJ Speech: 24 h of one reader, case and punctuation kept by the publisher, normalised here.

python data_prep/ljspeech.py --out data/ljspeech
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines
from asr.text import ENGLISH


# metadata.csv, with quotes that mean nothing; id | as printed | numbers and abbreviations as they are read:
# LJ001-0007|the earliest book printed with movable types, the Gutenberg, or "forty-two line Bible" of about 1455,|the
# earliest book printed with movable types, the Gutenberg, or "forty-two line Bible" of about fourteen fifty-five,
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances; the publisher gives no splits, so a hash of the id decides: 90, 5 and 5 %."""
    for line in read_lines(root / "metadata.csv"):
        name, printed, *spoken = line.split("|")
        yield RawUtterance(
            name, find_audio(root / "wavs", name), spoken[0] if spoken else printed, "LJ", held_out(name)
        )


CORPUS = Corpus(
    name="ljspeech",
    title="The LJ Speech Dataset",
    homepage="https://keithito.com/LJ-Speech-Dataset/",
    licence="public domain",
    citation="K. Ito, L. Johnson: The LJ Speech Dataset. 2017",
    version="1.1",
    archives=(Archive("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"),),
    markers=("metadata.csv",),
    splits=("train", "dev", "test"),
    # Names such as Düsseldorf and words such as manœuvre keep their base letters.
    profile=replace(ENGLISH, unknown="map", replacements=ENGLISH.replacements | {"œ": "oe", "æ": "ae"}),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
