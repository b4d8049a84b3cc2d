"""Noise or impulse responses, any folders of them, for augmentation: a store of waveforms without transcripts.

    python data_prep/noise.py --source noise --out data/noise
    python data_prep/noise.py --source RIRS_NOISES --out data/rirs

Recordings become the split ``rir`` or ``noise`` by the first name, from the file's up to that of the folder given, with
"rir" or "rirs" as a word of it (``simulated_rirs``), or "noise" or "noises"; all others are ``noise``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from asr.preparation.checks import Limits
from asr.preparation.command import main
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.parsing import audio_in


def split_of(place: Path) -> str:
    """Return "rir" or "noise" for the recording `place`, whose folders count as far as they are named."""
    for name in (place.stem, *reversed(place.parent.parts)):
        words = set(re.split(r"[^a-z]+", name.lower()))
        # RIRS_NOISES has noises in real_rirs_isotropic_noises, among responses: there the files' names tell.
        if words & {"rir", "rirs"}:
            return "rir"
        if words & {"noise", "noises"} or (name == place.stem and "noise" in name.lower()):
            return "noise"
    return "noise"


# There is no transcript; the folder tells what is heard:
# noise/esc10/rain/1-17367-A.opus
def parse(root: Path) -> Iterator[RawUtterance]:
    """Yield every recording below `root`, with its folder as the speaker."""
    for path in audio_in(root):
        place = path.relative_to(root)
        split = split_of(Path(root.absolute().name) / place)
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
