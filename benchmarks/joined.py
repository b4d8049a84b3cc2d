"""Recordings joined into one file, and each between stretches of silence, beside the same recordings as they are.

    ASR_ARCHIVES=FOLDER python benchmarks/joined.py [--model an4]
    python benchmarks/joined.py --model english --data data/english/dev_audiobooks --audio speech [--first 40]

By default the recordings are AN4's 130 test recordings; FOLDER holds an4_sphere.tar.* (CMU). With --data they are those
of a store, found below --audio.

1. Each recording between 2 s of digital silence, or of noise of two levels: the WER of the whole, uncut, with no dead
   air filled in, and how many texts differ from those without.
2. All joined without pauses, and with pauses of a second of digital silence, of noise of two levels, and of each
   recording's own room tone (its first tenth of a second, repeated), cut as `asr transcribe` cuts: the WER, and how
   many of the words recognised correctly begin and end within 0.1 s of where forced alignment of the separate recording
   with its transcript has them (words of recordings that can be aligned).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from an4_recordings import SAMPLE_RATE, Recording, read_test_set
from numpy.typing import NDArray

import asr
from asr.audio import load_audio
from asr.errors import DataError
from asr.evaluation.alignment import align_words
from asr.evaluation.details import Recordings
from asr.store.store import open_store
from asr.transcription.aligning import align_audio
from asr.transcription.decoding import make_decoder
from asr.wer import word_errors

LEVELS = {"digital silence": 0.0, "noise at -60 dB": 1e-3, "noise at -80 dB": 1e-4}
AROUND_SECONDS = 2.0
PAUSE_SECONDS = 1.0
TOLERANCE_SECONDS = 0.1


def stored_recordings(data: Path, audio: Path, first: int) -> list[Recording]:
    """Return the first utterances of a store, with their recordings below `audio`."""
    store, folder = open_store(data), Recordings(audio)
    found = []
    for index in range(min(first, len(store))):
        place = folder.find(store.ids[index], store.sources[index])
        if place is None:
            sys.exit(f"{audio} lacks the recording {store.sources[index]}: give the folder that {data} was made from")
        path, start = place
        end = start + float(store.durations_seconds[index])
        samples = load_audio(path, SAMPLE_RATE, start_seconds=start, end_seconds=end).samples
        found.append(Recording(store.ids[index], samples, store.texts[index]))
    return found


def noise(level: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return white noise of an amplitude."""
    return np.asarray(level * rng.standard_normal(round(seconds * SAMPLE_RATE)), np.float32)


def pause(kind: str, recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what is put after a recording."""
    if kind == "room tone":
        return np.resize(recording.samples[: SAMPLE_RATE // 10], round(PAUSE_SECONDS * SAMPLE_RATE))
    return noise(LEVELS[kind], PAUSE_SECONDS, rng) if kind in LEVELS else np.zeros(0, np.float32)


def measure_silence_around(transcriber: asr.Transcriber, recordings: list[Recording]) -> None:
    """Print what silence before and after changes, by the network and the decoder alone."""
    bundle = transcriber.bundle
    if bundle.normalisation != "global" or bundle.features.sample_rate != SAMPLE_RATE:
        print(f"silence around: left out, since {bundle.name} has no global normalisation at {SAMPLE_RATE} Hz")
        return
    decoder = make_decoder(bundle, asr.DecodingOptions())
    references = [recording.text for recording in recordings]

    def texts(level: float | None) -> list[str]:
        rng = np.random.default_rng(0)
        found = []
        for recording in recordings:
            around = [noise(level or 0.0, AROUND_SECONDS if level is not None else 0.0, rng) for _ in range(2)]
            samples = np.concatenate((around[0], recording.samples, around[1]))
            found.append(decoder(transcriber.log_probs(samples))[0].text)
        return found

    plain = texts(None)
    print(f"{'as they are, uncut':32} {word_errors(references, plain).kaldi_line()}")
    for kind, level in LEVELS.items():
        padded = texts(level)
        changed = sum(before != after for before, after in zip(plain, padded, strict=True))
        apart = word_errors(plain, padded).errors
        print(
            f"{AROUND_SECONDS:g} s of {kind:15} around {word_errors(references, padded).kaldi_line()}; "
            f"{changed} of {len(plain)} texts differ, in {apart} words"
        )


def hits(reference: str, hypothesis: str) -> list[tuple[int, int]]:
    """Return the places in both of each word that is recognised correctly."""
    places, said, heard = [], 0, 0
    for word in align_words(reference, hypothesis):
        if word.reference == word.hypothesis:
            places.append((said, heard))
        said += word.reference is not None
        heard += word.hypothesis is not None
    return places


def word_times(transcriber: asr.Transcriber, recording: Recording) -> list[tuple[float, float]]:
    """Return begin and end of each word in seconds, by forced alignment; NaN where the lexicon lacks a word."""
    try:
        aligned = align_audio(transcriber, recording.samples, recording.text, source_rate=SAMPLE_RATE)
    except DataError:
        return [(np.nan, np.nan)] * len(recording.text.split())
    return [(word.start_seconds, word.end_seconds) for word in aligned.words]


def measure_joined(transcriber: asr.Transcriber, recordings: list[Recording]) -> None:
    """Print what joining the recordings costs in words and in their times."""
    references = [recording.text for recording in recordings]
    separate = [transcriber.transcribe(r.samples, source_rate=SAMPLE_RATE).text for r in recordings]
    print(f"{'separate':16} {word_errors(references, separate).kaldi_line()}")
    aligned = [word_times(transcriber, recording) for recording in recordings]
    for kind in (*LEVELS, "room tone", "no pauses"):
        rng = np.random.default_rng(0)
        parts, expected, now = [], [], 0
        for recording, words in zip(recordings, aligned, strict=True):
            expected += [(start + now / SAMPLE_RATE, end + now / SAMPLE_RATE) for start, end in words]
            parts += [recording.samples, pause(kind, recording, rng)]
            now += len(parts[-2]) + len(parts[-1])
        transcript = transcriber.transcribe(np.concatenate(parts), source_rate=SAMPLE_RATE)
        said = " ".join(references)
        right = hits(said, transcript.text)
        times = np.array([expected[i] for i, _ in right])
        found = np.array([(transcript.words[j].start_seconds, transcript.words[j].end_seconds) for _, j in right])
        is_aligned = np.isfinite(times[:, 0])
        near = 100 * (np.abs(times - found)[is_aligned] <= TOLERANCE_SECONDS).mean(axis=0)
        counts = word_errors([said], [transcript.text])
        print(
            f"{kind:16} {counts.kaldi_line()}; of {is_aligned.sum()} correct words {near[0]:.1f} % begin and "
            f"{near[1]:.1f} % end within {TOLERANCE_SECONDS} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="an4")
    parser.add_argument("--data", type=Path, help="a store; by default AN4's test recordings are read")
    parser.add_argument("--audio", type=Path, help="the folder with the store's recordings")
    parser.add_argument("--first", type=int, default=1 << 30, help="how many of the store's utterances")
    arguments = parser.parse_args()
    if (arguments.data is None) != (arguments.audio is None):
        parser.error("--data and --audio belong together")
    recordings = (
        read_test_set()
        if arguments.data is None
        else stored_recordings(arguments.data, arguments.audio, arguments.first)
    )
    transcriber = asr.load(arguments.model)
    measure_silence_around(transcriber, recordings)
    measure_joined(transcriber, recordings)


if __name__ == "__main__":
    main()
