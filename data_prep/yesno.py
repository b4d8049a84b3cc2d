"""OpenSLR's yesno: one man says "yes" or "no" in Hebrew, eight times per recording.

python data_prep/yesno.py --out data/yesno
"""

from collections.abc import Iterator
from pathlib import Path

from asr.features import LogMelConfig
from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import audio_in

WORDS = {"0": "no", "1": "yes"}


# The file name is the transcript:
# 0_0_1_1_0_1_1_0.wav
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the recordings; half of them are for the test, as in Kaldi's recipe, every tenth is for development."""
    for number, path in enumerate(audio_in(root)):
        split = "test" if number % 2 else "dev" if number % 10 == 0 else "train"
        yield RawUtterance(path.stem, path, " ".join(WORDS[digit] for digit in path.stem.split("_")), "one", split)


CORPUS = Corpus(
    name="yesno",
    title="YesNo (OpenSLR 1)",
    homepage="https://www.openslr.org/1/",
    licence="free for any use",
    citation="OpenSLR 1: YesNo, created for the Kaldi project",
    archives=(Archive("https://www.openslr.org/resources/1/waves_yesno.tar.gz"),),
    markers=("0_0_0_0_1_1_1_1.*",),
    splits=("train", "dev", "test"),
    features=LogMelConfig(sample_rate=8_000, n_mels=40),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
