"""Connected digits, zero to nine, by the voices of a speech synthesiser: the corpus in this repository.

    python data_prep/digits.py --out data/digits

Nothing is downloaded. ``data_prep/digits/`` says how the audio was made, and by which voices. No voice of the
dev and test sets occurs in training.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from asr.features import LogMelConfig
from asr.preparation.command import main
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.parsing import read_lines


# transcripts.tsv:
# file<TAB>speaker<TAB>split<TAB>text
# test/en-us_m6_01.opus<TAB>en-us_m6<TAB>test<TAB>five one six six seven six
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances in the order of the list."""
    for line in islice(read_lines(root / "transcripts.tsv"), 1, None):
        file, speaker, split, text = line.split("\t")
        yield RawUtterance(id=Path(file).stem, audio=root / file, text=text, speaker=speaker, split=split)


CORPUS = Corpus(
    name="digits",
    title="Connected digits by synthesised voices",
    licence="CC0-1.0",
    citation="eSpeak NG, https://github.com/espeak-ng/espeak-ng, version 1.51",
    embedded=Path(__file__).resolve().parent / "digits" / "digits.tar",
    markers=("transcripts.tsv",),
    splits=("train", "dev", "test"),
    features=LogMelConfig(n_mels=40),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
