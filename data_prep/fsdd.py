"""Free Spoken Digit Dataset: English digits by six speakers, isolated and joined to strings of 3 to 7.

    python data_prep/fsdd.py --out data/fsdd

Two ways of splitting. By recording, as the publisher does (``train``, ``dev``, ``test``, ``test_isolated``): the
recordings 0 to 4 of each digit and speaker are the test set; 5 to 9 are our dev set. By speaker (``speaker_train``,
``speaker_dev``, ``speaker_test``): lucas and theo are only in the test; the recordings 5 to 9 of the other
four are the dev set. Strings join recordings of one speaker and one split, with gaps of up to 0.2 s.
"""

import random
from collections.abc import Iterator
from pathlib import Path

from asr.features import LogMelConfig
from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import audio_in

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_RECORDINGS = range(5)
DEV_RECORDINGS = range(5, 10)
TEST_SPEAKERS = ("lucas", "theo")

STRING_DIGITS = (3, 7)
MAX_GAP_SECONDS = 0.2
# How often each recording is used in strings.
USES = {"train": 5, "speaker_train": 5}
USES_HELD_OUT = 3


# The transcript is the file name, {digit}_{speaker}_{index}.wav:
# recordings/7_jackson_32.wav
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield isolated digits for training, and strings for training, dev and test."""
    pools: dict[tuple[str, str], list[Path]] = {}
    for path in audio_in(root / "recordings"):
        digit, speaker, index = path.stem.split("_")
        for split in _splits(speaker, int(index)):
            pools.setdefault((split, speaker), []).append(path)
            isolated = "test_isolated" if split == "test" else split
            if isolated in ("train", "speaker_train", "test_isolated"):
                yield RawUtterance(path.stem, path, DIGITS[int(digit)], speaker, isolated)
    for (split, speaker), pool in sorted(pools.items()):
        yield from _strings(split, speaker, pool)


def _splits(speaker: str, index: int) -> tuple[str, str]:
    """Return the split by recording and the split by speaker."""
    part = "test" if index in TEST_RECORDINGS else "dev" if index in DEV_RECORDINGS else "train"
    if speaker in TEST_SPEAKERS:
        return part, "speaker_test"
    return part, "speaker_dev" if part == "dev" else "speaker_train"


def _strings(split: str, speaker: str, pool: list[Path]) -> Iterator[RawUtterance]:
    """Shuffle the recordings of one speaker and cut them into strings, as often as each is to be used."""
    choice = random.Random(f"{split} {speaker}")
    number = 0
    for _ in range(USES.get(split, USES_HELD_OUT)):
        left = choice.sample(pool, len(pool))
        while left:
            length = choice.randint(*STRING_DIGITS)
            if 0 < len(left) - length < STRING_DIGITS[0]:
                # Neither a rest too short for a string nor a string too short.
                length = len(left) - STRING_DIGITS[0] if len(left) >= 2 * STRING_DIGITS[0] else len(left)
            string, left = left[:length], left[length:]
            yield RawUtterance(
                id=f"{split}-{speaker}-{number:04d}",
                audio=tuple(string),
                text=" ".join(DIGITS[int(path.stem[0])] for path in string),
                speaker=speaker,
                split=split,
                gaps_seconds=tuple(round(choice.uniform(0, MAX_GAP_SECONDS), 3) for _ in string[1:]),
            )
            number += 1


CORPUS = Corpus(
    name="fsdd",
    title="Free Spoken Digit Dataset (FSDD)",
    homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    licence="CC BY-SA 4.0",
    citation="Z. Jackson et al.: Free Spoken Digit Dataset. doi:10.5281/zenodo.1342401",
    archives=(
        Archive(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.zip",
            name="free-spoken-digit-dataset-master",
        ),
    ),
    markers=("recordings/0_george_0.*",),
    splits=("train", "dev", "test", "test_isolated", "speaker_train", "speaker_dev", "speaker_test"),
    train_splits=("train", "speaker_train"),
    features=LogMelConfig(sample_rate=8_000, n_mels=40),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
