"""speechocean762: English read by speakers of Mandarin, half of them children.

    python data_prep/speechocean762.py --out data/speechocean762

The transcript is the prompt, so some words differ from what was said.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines


# Kaldi directories, tab or space between the fields. train/text, train/utt2spk and train/wav.scp:
# 000010011	WE CALL IT BEAR
# 000010011 0001
# 000010011	WAVE/SPEAKER0001/000010011.WAV
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances; a hash picks about a tenth of the training speakers for development."""
    for part in ("train", "test"):
        speakers = dict(line.split(maxsplit=1) for line in read_lines(root / part / "utt2spk"))
        places = dict(line.split(maxsplit=1) for line in read_lines(root / part / "wav.scp"))
        for line in read_lines(root / part / "text"):
            name, text = line.split(maxsplit=1)
            place = root / places[name]
            split = part if part == "test" else held_out(speakers[name], dev_percent=10, test_percent=0)
            yield RawUtterance(name, find_audio(place.parent, place.stem), text, speakers[name], split)


CORPUS = Corpus(
    name="speechocean762",
    title="speechocean762",
    homepage="https://www.openslr.org/101/",
    licence="free for any use, commercial use too",
    citation="J. Zhang et al.: speechocean762: An Open-Source Non-native English Speech Corpus For Pronunciation "
    "Assessment. Interspeech 2021",
    archives=(Archive("https://www.openslr.org/resources/101/speechocean762.tar.gz"),),
    markers=("train/utt2spk",),
    splits=("train", "dev", "test"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
