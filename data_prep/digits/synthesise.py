"""Synthesise the corpus of connected digits: ``python data_prep/digits/synthesise.py`` rewrites digits.tar.

It needs espeak-ng on the path (the committed audio was made by version 1.51). Texts, voices, rooms and
noise come from one seed, so that a second run gives the same utterances; only another espeak-ng or Opus encoder
changes the samples.
"""

import io
import itertools
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

SEED = 20_240_229
SAMPLE_RATE = 16_000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
UTTERANCES_PER_VOICE = {"train": 20, "dev": 16, "test": 14}

# Digits in an utterance, and how often.
LENGTHS = (1, 2, 3, 4, 5, 6, 7)
LENGTH_WEIGHTS = (0.06, 0.06, 0.18, 0.22, 0.2, 0.15, 0.13)

# libsndfile maps 0..1 to 256..6 kbit/s: a wish of 12 kbit/s, which comes to 15 with the container.
OPUS_COMPRESSION = 0.976


@dataclass(frozen=True)
class Voice:
    """A speaker: an accent and a variant (vocal tract, source) of espeak-ng, with his pitch and pace.

    Parameters
    ----------
    split : {"train", "dev", "test"}
    accent : str
        A voice of espeak-ng: ``en-us``.
    variant : str
        A file of its ``voices/!v``: formants, voicing, breath, roughness, or the Klatt synthesiser. No variant
        speaks in two splits.
    pitch : int
        0..99; 50 is the variant's own.
    words_per_minute : int
    """

    split: str
    accent: str
    variant: str
    pitch: int
    words_per_minute: int

    @property
    def speaker(self) -> str:
        """Speaker id: ``en-us_m1``."""
        return f"{self.accent}_{self.variant.lower()}"


VOICES = tuple(
    Voice(*fields)
    for fields in (
        ("train", "en-us", "m1", 50, 150),
        ("train", "en-us", "m3", 40, 170),
        ("train", "en-us", "m7", 55, 140),
        ("train", "en-us", "f1", 50, 160),
        ("train", "en-us", "klatt", 50, 150),
        ("train", "en-us", "klatt3", 60, 165),
        ("train", "en-us", "Andy", 45, 180),
        ("train", "en-us", "Annie", 50, 155),
        ("train", "en-us", "Gene", 35, 145),
        ("train", "en-us", "belinda", 45, 170),
        ("train", "en-us", "adam", 50, 160),
        ("train", "en-us", "Storm", 50, 135),
        ("train", "en-gb", "m2", 50, 160),
        ("train", "en-gb", "m4", 60, 150),
        ("train", "en-gb", "f2", 50, 170),
        ("train", "en-gb", "klatt2", 40, 155),
        ("train", "en-gb", "Lee", 50, 140),
        ("train", "en-gb", "paul", 55, 165),
        ("train", "en-gb", "anika", 30, 150),
        ("train", "en-gb", "grandpa", 50, 130),
        ("train", "en-gb-scotland", "m5", 50, 155),
        ("train", "en-gb-scotland", "f3", 50, 145),
        ("train", "en-gb-scotland", "Jacky", 40, 165),
        ("train", "en-gb-scotland", "ed", 45, 150),
        ("train", "en-gb-x-rp", "m8", 50, 150),
        ("train", "en-gb-x-rp", "Diogo", 50, 160),
        ("train", "en-gb-x-rp", "Andrea", 40, 145),
        ("train", "en-gb-x-rp", "klatt4", 50, 170),
        ("train", "en-029", "Mike", 60, 150),
        ("train", "en-029", "Alicia", 35, 160),
        ("train", "en-029", "Michael", 50, 140),
        ("train", "en-gb-x-gbclan", "grandma", 45, 150),
        ("train", "en-gb-x-gbclan", "marcelo", 50, 165),
        ("dev", "en-us", "f4", 50, 155),
        ("dev", "en-gb", "Nguyen", 50, 150),
        ("dev", "en-gb-x-rp", "quincy", 50, 160),
        ("dev", "en-029", "steph", 50, 145),
        ("test", "en-us", "m6", 50, 155),
        ("test", "en-us", "f5", 45, 150),
        ("test", "en-gb", "shelby", 50, 160),
        ("test", "en-gb", "edward", 50, 145),
        ("test", "en-gb-scotland", "sandro", 50, 150),
        ("test", "en-gb-x-rp", "victor", 55, 165),
        ("test", "en-029", "antonio", 45, 140),
        ("test", "en-us-nyc", "aunty", 40, 155),
    )
)


@dataclass(frozen=True)
class Utterance:
    """One utterance, not yet said."""

    name: str
    voice: Voice
    text: str


def plan(rng: np.random.Generator) -> Iterator[Utterance]:
    """Yield every utterance; three digits or more in a row are never the whole of two utterances."""
    said: set[str] = set()
    for voice in VOICES:
        for index in range(UTTERANCES_PER_VOICE[voice.split]):
            length = int(rng.choice(LENGTHS, p=LENGTH_WEIGHTS))
            text = random_digits(rng, length)
            while length > 2 and text in said:
                text = random_digits(rng, length)
            said.add(text)
            yield Utterance(f"{voice.speaker}_{index:02d}", voice, text)


def random_digits(rng: np.random.Generator, length: int) -> str:
    """Return `length` digits in words."""
    return " ".join(DIGITS[digit] for digit in rng.integers(len(DIGITS), size=length))


def speak(utterance: Utterance, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return espeak-ng's samples ``(num_samples,)`` at 16 kHz, silence at both ends removed, peak 1."""
    voice = utterance.voice
    pitch = np.clip(voice.pitch + rng.integers(-5, 6), 0, 99)
    pace = round(voice.words_per_minute * rng.uniform(0.88, 1.12))
    command = ["espeak-ng", "-v", f"{voice.accent}+{voice.variant}", "-p", f"{pitch}", "-s", f"{pace}", "--stdout"]
    output = subprocess.run([*command, utterance.text], capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(output))
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    samples /= np.abs(samples).max()
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return np.asarray(samples[loud[0] : loud[-1] + 1])


def record(speech: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return `speech` as if recorded in a small room: silence around it, an echo tail, noise, a level."""
    before, after = rng.uniform(0.1, 0.4, size=2) * SAMPLE_RATE
    samples = np.pad(speech, (round(before), round(after)))

    reverberation_seconds = rng.uniform(0.1, 0.3)  # until the tail has fallen by 60 dB
    seconds = np.arange(round(reverberation_seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / reverberation_seconds)
    direct_to_tail_db = rng.uniform(6, 20)
    tail *= 10 ** (-direct_to_tail_db / 20) / np.linalg.norm(tail)
    tail[0] = 1.0
    samples = fftconvolve(samples, tail)[: len(samples)]

    # Noise falls by 3 dB an octave, as in rooms.
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 10.0), n=len(samples))
    signal_to_noise_db = rng.uniform(20, 40)
    samples += noise / noise.std() * np.std(speech) * 10 ** (-signal_to_noise_db / 20)

    peak_db = rng.uniform(-18, -1)
    return np.asarray(samples * 10 ** (peak_db / 20) / np.abs(samples).max(), dtype=np.float32)


def encode(samples: NDArray[np.float32]) -> bytes:
    """Return `samples` as Ogg Opus."""
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_COMPRESSION)
    return file.getvalue()


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """Write `files` (name → content) to a tar file with neither times nor owners."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"digits/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def main() -> None:
    """Write digits.tar, and example.wav: the first five digits or more of the first voice of the test."""
    version = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True).stdout
    print(re.split(r"  +", version)[0], file=sys.stderr)
    folder = Path(__file__).resolve().parent
    planned = list(plan(np.random.default_rng(SEED)))
    files: dict[str, bytes] = {}
    lines = ["file\tspeaker\tsplit\ttext\n"]
    example: Utterance | None = None
    for number, utterance in enumerate(planned):
        # A generator for each utterance: a changed voice leaves the others as they are.
        rng = np.random.default_rng((SEED, number))
        samples = record(speak(utterance, rng), rng)
        file = f"{utterance.voice.split}/{utterance.name}.opus"
        files[file] = encode(samples)
        lines.append(f"{file}\t{utterance.voice.speaker}\t{utterance.voice.split}\t{utterance.text}\n")
        if example is None and utterance.voice.split == "test" and len(utterance.text.split()) >= 5:
            example = utterance
            soundfile.write(folder / "example.wav", samples, SAMPLE_RATE, subtype="PCM_16")
            print(f"example.wav: {utterance.text} ({utterance.name})", file=sys.stderr)
    files["transcripts.tsv"] = "".join(lines).encode()
    write_archive(folder / "digits.tar", files)
    for split, group in itertools.groupby(planned, key=lambda utterance: utterance.voice.split):
        print(f"{split}: {len(list(group))} utterances", file=sys.stderr)


if __name__ == "__main__":
    main()
