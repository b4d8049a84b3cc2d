"""Noise or impulse responses, any folders of them, for augmentation: a store of waveforms without transcripts.

    python data_prep/noise.py --source noise --out data/noise
    python data_prep/noise.py --source RIRS_NOISES --out data/rirs

Recordings below a folder whose name has "rir" in it become the split ``rir``, all others ``noise``.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.data.corpus import Archive, Corpus, Limits, RawUtterance, audio_in, main


# There is no transcript; the folder tells what is heard:
# noise/esc10/rain/1-17367-A.opus
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield every recording below `root`, with its folder as the speaker."""
    for path in audio_in(root):
        place = path.relative_to(root)
        split = "rir" if any("rir" in part.lower() for part in place.parent.parts) else "noise"
        yield RawUtterance("-".join(place.with_suffix("").parts), path, "", path.parent.name, split)


CORPUS = Corpus(
    name="noise",
    title="Noise and impulse responses",
    licence="that of the recordings",
    archives=(Archive("", name="noise", how_to_get="any folder or archive of recordings will do"),),
    splits=("noise", "rir"),
    train_splits=(),
    profile=None,
    kind="audio",
    limits=Limits(min_seconds=0.01, max_seconds=600),
    parse=parse,
)

if __name__ == "__main__":
    main(CORPUS)
