"""AN4's 130 test recordings joined into one file, beside the same recordings one by one: words and their times.

    ASR_ARCHIVES=FOLDER python benchmarks/joined.py [--model an4]

FOLDER holds an4_sphere.tar.* (CMU). The recordings are joined without pauses, and with pauses of a second of digital
silence, of noise of two levels, and of each recording's own room tone (its first tenth of a second, repeated).

For each: the WER, and for the words that are recognised correctly how many begin and how many end within 0.1 s of
where forced alignment of the separate recording with its transcript has them.
"""

import argparse

import numpy as np
from an4_recordings import SAMPLE_RATE, Recording, read_test_set
from numpy.typing import NDArray

import asr
from asr.evaluation.alignment import align_words
from asr.transcription.aligning import align_audio
from asr.wer import word_errors

PAUSE_SECONDS = 1.0
TOLERANCE_SECONDS = 0.1


def pause(kind: str, recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what is put after a recording."""
    size = round(PAUSE_SECONDS * SAMPLE_RATE)
    if kind == "no pauses":
        return np.zeros(0, np.float32)
    if kind == "room tone":
        tone = recording.samples[: SAMPLE_RATE // 10]
        return np.resize(tone, size)
    level = {"digital silence": 0.0, "noise at -80 dB": 1e-4, "noise at -60 dB": 1e-3}[kind]
    return (level * rng.standard_normal(size)).astype(np.float32)


def hits(reference: str, hypothesis: str) -> list[tuple[int, int]]:
    """Return the places in both of each word that is recognised correctly."""
    places, said, heard = [], 0, 0
    for word in align_words(reference, hypothesis):
        if word.reference == word.hypothesis:
            places.append((said, heard))
        said += word.reference is not None
        heard += word.hypothesis is not None
    return places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    transcriber = asr.load(parser.parse_args().model)
    recordings = read_test_set()
    references = [recording.text for recording in recordings]
    separate = [transcriber.transcribe(r.samples, source_rate=SAMPLE_RATE).text for r in recordings]
    print(f"{'separate':16} {word_errors(references, separate).kaldi_line()}")
    aligned = [align_audio(transcriber, r.samples, r.text, source_rate=SAMPLE_RATE).words for r in recordings]
    for kind in ("digital silence", "noise at -60 dB", "noise at -80 dB", "room tone", "no pauses"):
        rng = np.random.default_rng(0)
        parts, expected, now = [], [], 0
        for recording, words in zip(recordings, aligned, strict=True):
            expected += [
                (word.start_seconds + now / SAMPLE_RATE, word.end_seconds + now / SAMPLE_RATE) for word in words
            ]
            parts += [recording.samples, pause(kind, recording, rng)]
            now += len(parts[-2]) + len(parts[-1])
        transcript = transcriber.transcribe(np.concatenate(parts), source_rate=SAMPLE_RATE)
        said = " ".join(references)
        right = hits(said, transcript.text)
        times = np.array([expected[i] for i, _ in right])
        found = np.array([(transcript.words[j].start_seconds, transcript.words[j].end_seconds) for _, j in right])
        near = 100 * (np.abs(times - found) <= TOLERANCE_SECONDS).mean(axis=0)
        counts = word_errors([said], [transcript.text])
        print(
            f"{kind:16} {counts.kaldi_line()}; of {len(right)} correct words {near[0]:.1f} % begin and {near[1]:.1f} % "
            f"end within {TOLERANCE_SECONDS} s"
        )


if __name__ == "__main__":
    main()
