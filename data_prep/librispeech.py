"""LibriSpeech: 960 h of read English; all parts of it.

    python data_prep/librispeech.py --splits train-clean-100 dev-clean test-clean --out data/librispeech

Only if asked for: ``train-960``, the training parts as one; ``speaker_train``, ``speaker_dev`` and ``speaker_test``,
which divide the speakers of the available training parts, for an archive that lacks the dev and test parts.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import find_audio, held_out, read_lines

# OpenSLR's md5sum.txt
CHECKSUMS = {
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
}
WHOLE = "train-960"
BY_SPEAKER = ("speaker_train", "speaker_dev", "speaker_test")


# LibriSpeech/train-clean-5/1088/134315/1088-134315.trans.txt, one line per utterance of reader 1088, chapter 134315:
# 1088-134315-0023 CLOSED THE DOOR CAREFULLY AND RETURNED TO THE HOUSE
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield the utterances of every part that is there; those of training parts also as a whole and by speaker."""
    for part in sorted(path.name for path in root.iterdir() if path.is_dir()):
        for transcripts in sorted((root / part).glob("*/*/*.trans.txt")):
            speaker = transcripts.parent.parent.name
            for line in read_lines(transcripts):
                name, _, text = line.partition(" ")
                audio = find_audio(transcripts.parent, name)
                yield RawUtterance(name, audio, text, speaker, part)
                if part.startswith("train"):
                    yield RawUtterance(name, audio, text, speaker, WHOLE)
                    share = held_out(speaker, dev_percent=10, test_percent=10)
                    yield RawUtterance(name, audio, text, speaker, f"speaker_{share}")


CORPUS = Corpus(
    name="librispeech",
    title="LibriSpeech ASR corpus",
    homepage="https://www.openslr.org/12/",
    licence="CC BY 4.0",
    citation="V. Panayotov, G. Chen, D. Povey, S. Khudanpur: LibriSpeech: an ASR corpus based on public domain audio "
    "books. ICASSP 2015",
    archives=tuple(
        Archive(
            f"https://www.openslr.org/resources/12/{part}.tar.gz",
            checksum=f"md5:{checksum}",
            splits=(part, *((WHOLE, *BY_SPEAKER) if part.startswith("train") else ())),
            stems=("LibriSpeech",),
        )
        for part, checksum in CHECKSUMS.items()
    ),
    markers=("train-*/*/*/*.trans.txt", "dev-*/*/*/*.trans.txt", "test-*/*/*/*.trans.txt"),
    splits=(*CHECKSUMS, WHOLE, *BY_SPEAKER),
    on_request=(WHOLE, *BY_SPEAKER),
    at_hand=BY_SPEAKER,
    train_splits=("train-clean-100", "train-clean-360", "train-other-500", WHOLE, "speaker_train"),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
