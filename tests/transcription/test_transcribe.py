"""The shipped model on the recordings that it is reported for; and what surrounds speech does not matter."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from asr.audio import load_audio
from asr.transcription.transcribe import Transcriber
from asr.wer import word_errors

ARCHIVES = Path(os.environ.get("ASR_ARCHIVES", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def an4():
    """AN4's test set: samples and lower-case transcript of each utterance."""
    found = sorted(ARCHIVES.glob("an4_sphere.*"))
    if not found:
        pytest.skip(f"no an4_sphere archive in {ARCHIVES}; ASR_ARCHIVES names another folder")
    recordings, texts = {}, {}
    with tarfile.open(found[0]) as archive:
        for member in archive:
            if "/an4test_clstk/" in member.name and member.name.endswith(".sph"):
                audio = io.BytesIO(archive.extractfile(member).read())
                recordings[Path(member.name).stem] = load_audio(audio, 16_000).samples
            elif member.name.endswith("an4_test.transcription"):
                for line in archive.extractfile(member).read().decode().splitlines():
                    text, _, name = line.rstrip(") ").rpartition("(")
                    texts[name] = text.strip().lower()
    return [(recordings[name], texts[name]) for name in sorted(recordings)]


def errors(transcriber, utterances):
    hypotheses = [transcriber.transcribe(samples, source_rate=16_000).text for samples, _ in utterances]
    return word_errors([text for _, text in utterances], hypotheses)


def test_the_shipped_model_has_the_word_error_rate_that_it_states(an4):
    transcriber = Transcriber("an4", threads=1)
    counts = errors(transcriber, an4)
    stated = next(row for row in transcriber.bundle.results if (row["split"], row["decoder"]) == ("test", "greedy"))
    assert (len(an4), counts.reference_length) == (130, 773)
    # Processors round differently.
    assert 100 * counts.rate == pytest.approx(stated["wer"], abs=0.4)


@pytest.mark.parametrize("amplitude", [0.0, 1e-4], ids=["nothing", "faint noise"])
@pytest.mark.parametrize("seconds", [1, 3])
def test_silence_around_speech_hardly_matters(an4, seconds, amplitude):
    around = amplitude * np.random.default_rng(1).standard_normal(16_000 * seconds).astype(np.float32)
    some = an4[::4]
    padded = [(np.concatenate((around, samples, around)), text) for samples, text in some]
    transcriber = Transcriber("an4", threads=1)
    assert errors(transcriber, padded).rate < errors(transcriber, some).rate + 0.03
