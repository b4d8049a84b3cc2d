"""CMU AN4: spelled words, numbers and commands in American English.

python data_prep/an4.py --out data/an4
"""

import re
from collections.abc import Iterator
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, read_lines

# Of the 74 training speakers (21 women, 53 men), three women and five men, drawn once. mdcs and mdcs2, fsaf2 and the
# like may be one person on two days, so none of the eight has such a double.
DEV_SPEAKERS = frozenset({"fbbh", "fjam", "fnsv", "mblb", "meab", "mjbh", "mnjl", "mtje"})


# etc/an4_train.transcription and etc/an4_test.transcription, not in the order of the .fileids:
# <s> YES </s> (an251-fash-b)
# GO (an409-fcaw-b)
TRANSCRIPT = re.compile(r"(?:<s> )?(?P<text>.*?)(?: </s>)? \((?P<id>[^()]+)\)\s*")


def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances; the recording of an251-fash-b is ``wav/an4_clstk/fash/an251-fash-b.sph``."""
    for split, folder in (("train", "an4_clstk"), ("test", "an4test_clstk")):
        for line in read_lines(root / "etc" / f"an4_{split}.transcription"):
            match = TRANSCRIPT.fullmatch(line)
            if match is None:
                continue
            speaker = match["id"].split("-")[1]
            yield RawUtterance(
                id=match["id"],
                audio=find_audio(root / "wav" / folder / speaker, match["id"]),
                text=match["text"],
                speaker=speaker,
                split="dev" if speaker in DEV_SPEAKERS else split,
            )


CORPUS = Corpus(
    name="an4",
    title="CMU AN4 (census) database",
    homepage="http://www.speech.cs.cmu.edu/databases/an4/",
    licence="CMU, free for any use, notice kept",
    citation="A. Acero: Acoustical and Environmental Robustness in Automatic Speech Recognition. Kluwer, 1993",
    archives=(Archive("http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz"),),
    markers=("etc/an4_train.transcription",),
    splits=("train", "dev", "test"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
