"""AN4's test recordings, for the scripts beside this one."""

import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import load_audio

SAMPLE_RATE = 16_000
# As in data_prep/an4.py.
DEV_SPEAKERS = frozenset({"fbbh", "fjam", "fnsv", "mblb", "meab", "mjbh", "mnjl", "mtje"})


@dataclass(frozen=True)
class Recording:
    """A recording's name, its samples ``(num_samples,)`` float32 at 16 kHz, and what is said, in lower case."""

    name: str
    samples: NDArray[np.float32]
    text: str


def read_test_set() -> list[Recording]:
    """Return the 130 test recordings of the archive an4_sphere.tar.* in the folder ``$ASR_ARCHIVES``, by name."""
    return read_recordings("test")


def read_recordings(split: str) -> list[Recording]:
    """Return the recordings of a split of AN4: "test", or "dev", eight training speakers held out; by name."""
    part, folder_name = ("test", "an4test_clstk") if split == "test" else ("train", "an4_clstk")
    folder = Path(os.environ.get("ASR_ARCHIVES", "data/downloads"))
    archives = sorted(folder.glob("an4_sphere.tar.*"))
    if not archives:
        sys.exit(f"{folder} holds no an4_sphere.tar.*: set ASR_ARCHIVES to a folder that does")
    samples, texts = {}, {}
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and f"/{folder_name}/" in member.name and member.name.endswith(".sph"):
                if split == "dev" and Path(member.name).parent.name not in DEV_SPEAKERS:
                    continue
                samples[Path(member.name).stem] = load_audio(file.read(), SAMPLE_RATE).samples
            elif file and member.name.endswith(f"an4_{part}.transcription"):
                for line in file.read().decode().splitlines():
                    text, _, name = line.strip().rstrip(")").rpartition("(")
                    texts[name] = text.replace("<s>", "").replace("</s>", "").strip().lower()
    return [Recording(name, samples[name], texts[name]) for name in sorted(samples)]
