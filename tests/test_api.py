"""The public names and their signatures, frozen: a change here is a change for every user."""

import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest

import asr
import asr.decoder

READ = "source_rate=None, start_seconds=0.0, end_seconds=None, channels=None, audio_track=None"
SCALES = "lm_level=None, label_priors=None, prior_weight=None, blank_scale=None, unlisted=None"
SIGNATURES = f"""\
AudioStream(source, sample_rate, *, {READ})
DecodingOptions(beam_size=None, lm='own', alpha=None, beta=None, nbest=1, hotwords=(), lexicon='', oov=None, {SCALES})
ErrorCounts(substitutions=0, insertions=0, deletions=0, hits=0)
LogMel(config, filterbank=None)
Segment(start, end, text, words, alternatives=())
Transcriber(model, *, device='cpu', threads=0, precision='float32', decoder=None, runtime=None)
Transcriber.log_probs(self, samples)
Transcriber.transcribe(self, source, *, source_rate=None)
Transcriber.transcribe_many(self, sources, *, source_rate=None, progress=None, on_segment=None)
Transcript(segments, duration, language='', warnings=(), channel=0)
Waveform(samples, sample_rate)
character_errors(references, hypotheses)
load(model='english', *, device='cpu', threads=0, precision='float32', **decoding)
load_audio(source, sample_rate, *, {READ})
word_errors(references, hypotheses)
"""


def test_public_names_can_be_had():
    assert sorted(asr._MODULES) == sorted(asr.__all__)
    for name in asr.__all__:
        assert getattr(asr, name).__name__ == name
    for name in asr.decoder.__all__:
        assert getattr(asr.decoder, name).__name__ == name


def test_public_names_are_these():
    assert asr.__all__ == [
        "AsrError", "AudioStream", "AudioWarning", "Bundle", "DecodingOptions", "ErrorCounts", "LogMel", "LogMelConfig",
        "Segment", "Transcriber", "Transcript", "Waveform", "Word", "character_errors", "load", "load_audio",
        "word_errors",
    ]  # fmt: skip
    assert {
        "BeamOptions", "BeamSearchDecoder", "GreedyDecoder", "Hotwords", "Hypothesis", "Lexicon", "NGramModel", "Word",
        "align",
    } <= set(asr.decoder.__all__)  # fmt: skip


def test_signatures_are_these():
    def signature(name: str) -> str:
        value = asr
        for part in name.split("."):
            value = getattr(value, part)
        parameters = inspect.signature(value).parameters.values()
        bare = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
        return f"{name}{inspect.Signature(bare)}"

    names = [line.partition("(")[0] for line in SIGNATURES.splitlines()]
    assert "\n".join(map(signature, names)) == SIGNATURES.rstrip()


def test_dir_lists_the_public_names():
    # In a new process: names that were used are attributes too.
    code = "import asr; print(*dir(asr)); print(sorted([*asr.__all__, '__version__']) == dir(asr))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.endswith(
        "True\n"
    )


@pytest.fixture(scope="module")
def speech():
    rng = np.random.default_rng(3)
    return asr.Waveform((0.05 * rng.standard_normal(24_000)).astype(np.float32), 16_000)


def test_a_waveform_is_transcribed_at_its_own_rate(speech):
    reader = asr.load("an4", threads=1)
    expected = reader.transcribe(speech.samples, source_rate=speech.sample_rate)
    assert reader.transcribe(speech) == expected
    assert expected.duration == pytest.approx(1.5)


def test_a_language_model_is_taken_from_memory_or_from_its_file(speech):
    bundle = asr.Bundle.load("an4")
    path = bundle.directory / "lm.bin"
    by_file = asr.load(bundle, threads=1, lm=path, beam_size=8).transcribe(speech)
    in_memory = asr.load(bundle, threads=1, lm=asr.decoder.NGramModel.read(path), beam_size=8).transcribe(speech)
    assert in_memory == by_file


def test_a_pickled_transcriber_opens_its_model_again(speech):
    for decoding in ({}, {"beam_size": 8, "lm": None}, {"beam_size": 8, "hotwords": ["fort"]}):
        reader = asr.load("an4", threads=1, **decoding)
        again = pickle.loads(pickle.dumps(reader))
        assert again.transcribe(speech) == reader.transcribe(speech)
        np.testing.assert_array_equal(again.log_probs(speech.samples), reader.log_probs(speech.samples))
