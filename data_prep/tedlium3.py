"""TED-LIUM 3: 452 h of TED talks.

python data_prep/tedlium3.py --out data/tedlium3
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, read_lines
from asr.text import ENGLISH

# The parts in legacy/ are those that results are published for; data/ holds all talks together.
SPLITS = ("train", "dev", "test")


# legacy/train/stm/911Mothers_2010W.stm, NIST's segment time marks: talk, channel, speaker, start and end in seconds,
# labels, words; clitics stand apart ("i 'm"), breath and what nobody understood is <unk>:
# 911Mothers_2010W 1 911Mothers_2010W 16.12 25.02 <NA> the fact that we have what most people consider an unusual
# friendship <unk> and it is and yet it feels natural to us
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the segments, ``<unk>`` left out of their text, but none of those to ignore in scoring."""
    for split in SPLITS:
        for marks in sorted((root / "legacy" / split / "stm").glob("*.stm")):
            for line in read_lines(marks):
                talk, _, speaker, start, end, _, words = [*line.split(maxsplit=6), ""][:7]
                if words in ("", "ignore_time_segment_in_scoring"):
                    continue
                yield RawUtterance(
                    id=f"{talk}-{round(float(start) * 100):07d}-{round(float(end) * 100):07d}",
                    audio=find_audio(root / "legacy" / split / "sph", talk),
                    text=re.sub(r" '(?=\w)", "'", re.sub(r"\(\d+\)|<[^>]*>|\{[^}]*\}", "", words)),
                    speaker=speaker,
                    split=split,
                    start_seconds=float(start),
                    end_seconds=float(end),
                )


CORPUS = Corpus(
    name="tedlium3",
    title="TED-LIUM release 3",
    homepage="https://www.openslr.org/51/",
    licence="CC BY-NC-ND 3.0",
    citation="F. Hernandez et al.: TED-LIUM 3: Twice as Much Data and Corpus Repartition for Experiments on Speaker "
    "Adaptation. SPECOM 2018",
    version="3",
    archives=(Archive("https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz"),),
    markers=("legacy/*/stm",),
    splits=SPLITS,
    # Captions of talks hold digits and symbols here and there.
    profile=replace(ENGLISH, unknown="reject"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
