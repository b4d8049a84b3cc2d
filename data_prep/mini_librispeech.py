"""Mini LibriSpeech: 5 h of training speech and 2 h of development speech out of LibriSpeech.

    python data_prep/mini_librispeech.py --out data/mini_librispeech

Without ``dev-clean-2``, use ``--splits speaker_train speaker_dev speaker_test``: they divide the readers of
``train-clean-5``, each in one of the three.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines

# OpenSLR's md5sum.txt
CHECKSUMS = {
    "train-clean-5": "5df7d4e78065366204ca6845bb08f490",
    "dev-clean-2": "6d7ab67ac6a1d2c993d050e16d61080d",
}
BY_SPEAKER = ("speaker_train", "speaker_dev", "speaker_test")


# LibriSpeech/train-clean-5/1088/134315/1088-134315.trans.txt, one line per utterance of reader 1088:
# 1088-134315-0055 IN THAT CASE WAS A NEW STEEL KEY
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances of both parts; those of the training part once more by held-out speaker."""
    for part in CHECKSUMS:
        for transcripts in sorted((root / part).glob("*/*/*.trans.txt")):
            speaker = transcripts.parent.parent.name
            for line in read_lines(transcripts):
                name, _, text = line.partition(" ")
                audio = find_audio(transcripts.parent, name)
                yield RawUtterance(name, audio, text, speaker, part)
                if part == "train-clean-5":
                    share = held_out(speaker, dev_percent=12, test_percent=12)
                    yield RawUtterance(name, audio, text, speaker, f"speaker_{share}")


CORPUS = Corpus(
    name="mini_librispeech",
    title="Mini LibriSpeech",
    homepage="https://www.openslr.org/31/",
    licence="CC BY 4.0",
    citation="V. Panayotov, G. Chen, D. Povey, S. Khudanpur: LibriSpeech: an ASR corpus based on public domain audio "
    "books. ICASSP 2015",
    archives=tuple(
        Archive(
            f"https://www.openslr.org/resources/31/{part}.tar.gz",
            checksum=f"md5:{checksum}",
            splits=(part, *(BY_SPEAKER if part == "train-clean-5" else ())),
            stems=("LibriSpeech",),
        )
        for part, checksum in CHECKSUMS.items()
    ),
    markers=("train-clean-5/*/*/*.trans.txt", "dev-clean-2/*/*/*.trans.txt"),
    splits=(*CHECKSUMS, *BY_SPEAKER),
    on_request=BY_SPEAKER,
    train_splits=("train-clean-5", "speaker_train"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
