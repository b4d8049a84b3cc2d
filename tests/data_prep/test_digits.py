"""The embedded corpus is what its generator says, and its splits share neither voices nor strings."""

import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import load_audio
from asr.preparation.command import load_corpus

SCRIPTS = Path(__file__).resolve().parents[2] / "data_prep"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("synthesise", SCRIPTS / "digits" / "synthesise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    with tarfile.open(SCRIPTS / "digits" / "digits.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "digits"


@pytest.fixture(scope="module")
def utterances(folder):
    return list(load_corpus(SCRIPTS / "digits.py").parse(folder))


def test_the_generator_gives_these_texts(generator, utterances):
    planned = generator.plan(np.random.default_rng(generator.SEED))
    assert [(u.id, u.speaker, u.split, u.text) for u in utterances] == [
        (p.name, p.voice.speaker, p.voice.split, p.text) for p in planned
    ]


def test_voices_and_strings_are_in_one_split(generator, utterances):
    for key in (lambda voice: voice.variant, lambda voice: voice.speaker):
        assert len({key(voice) for voice in generator.VOICES}) == len(generator.VOICES)
    strings = [u.text for u in utterances if len(u.text.split()) > 2]
    assert len(strings) == len(set(strings))
    assert sum(voice.split == "train" for voice in generator.VOICES) >= 24
    assert {word for u in utterances for word in u.text.split()} == set(generator.DIGITS)


def test_every_recording_is_there_and_as_long_as_its_words(folder, utterances):
    assert {u.audio for u in utterances} == set(folder.rglob("*.opus"))
    for utterance in utterances:
        with soundfile.SoundFile(utterance.audio) as sound:
            assert (sound.samplerate, sound.channels) == (16_000, 1)
            seconds = sound.frames / sound.samplerate
        words = len(utterance.text.split())
        # Silence of 0.2 to 0.8 s, and words of 0.15 to 0.8 s.
        assert 0.2 + 0.15 * words < seconds < 0.8 + 0.8 * words, utterance.id


def test_the_example_is_an_utterance_of_the_test(utterances):
    example = load_audio(SCRIPTS / "digits" / "example.wav", 16_000).samples
    [twin] = [u for u in utterances if u.id == "en-us_m6_01"]
    assert twin.split == "test"
    assert f"*{twin.text}*" in (SCRIPTS / "digits" / "README.md").read_text(encoding="utf-8")
    decoded = load_audio(twin.audio, 16_000).samples[: len(example)]
    assert np.corrcoef(example, decoded)[0, 1] > 0.9


def test_it_is_small():
    files = [path for path in (SCRIPTS / "digits").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000


def test_the_archive_is_written_alike_each_time(generator, tmp_path):
    for name in "ab":
        generator.write_archive(tmp_path / name, {"x/2": b"two", "x/1": b"one"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "a").read_bytes())) as archive:
        assert [(m.name, m.mtime, m.uid) for m in archive] == [("digits/x/1", 0, 0), ("digits/x/2", 0, 0)]
