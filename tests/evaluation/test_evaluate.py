"""Evaluation: the words are those of transcription, whatever shares the batch and whichever kind of store it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="stores need the [data] extra")

from asr.audio import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.front_end import LogMelFrontEnd
from asr.bundle.runtime import OnnxRuntime
from asr.cli import app
from asr.errors import DataError, UsageError
from asr.evaluation.evaluate import evaluate
from asr.evaluation.hypotheses import read_evaluation
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.features import mel_filterbank
from asr.preparation.manifests import manifest_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.store.store import AudioStore, FeatureStore, open_store
from asr.transcription.decoding import DecodingOptions, make_decoder
from asr.transcription.transcribe import Transcriber
from asr.wer import ErrorCounts, word_errors

EXAMPLE = Path(__file__).parents[2] / "data_prep" / "digits" / "example.wav"


def test_a_store_gives_the_words_that_its_recordings_give(digits, bundle):
    store = FeatureStore.open(digits / "features" / "dev")
    runtime, decoder = OnnxRuntime(bundle, threads=1), make_decoder(bundle, DecodingOptions())
    result = evaluate(store, bundle, runtime, decoder)
    assert [utterance.id for utterance in result.utterances] == list(store.ids)
    assert any(utterance.hypothesis for utterance in result.utterances)
    transcriber = Transcriber(bundle, threads=1)
    recordings = {path.stem: path for path in (digits / "cache").rglob("*.opus")}
    for utterance in result.utterances[::4]:
        assert transcriber.transcribe(recordings[utterance.id]).text == utterance.hypothesis, utterance.id
        assert " ".join(word.text for word in utterance.timed_words) == utterance.hypothesis
    texts = [utterance.hypothesis for utterance in result.utterances]
    assert result.words == word_errors(store.texts, texts)
    waveforms = AudioStore.open(digits / "audio" / "dev")
    assert [u.hypothesis for u in evaluate(waveforms, bundle, runtime, decoder).utterances] == texts
    features = replace(bundle.features, sample_rate=8000)
    other = replace(bundle, features=features, filterbank=mel_filterbank(features))
    with pytest.raises(DataError, match="sampled at 16000 Hz; expected 8000 Hz"):
        evaluate(waveforms, other, runtime, decoder)


def test_dead_air_gives_the_words_that_transcription_gives(tmp_path):
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    none, half = np.zeros(round(0.4 * rate), np.float32), len(speech) // 2
    parts = {"around": (none, speech, none), "end": (speech, none), "within": (speech[:half], none, speech[half:])}
    for name, pieces in parts.items():
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(pieces), rate)
        (tmp_path / f"{name}.txt").write_text("five one six six seven nine eight")
    prepare(manifest_corpus("mine", {"test": tmp_path}), tmp_path / "out", PrepareOptions(quiet=True, kind="audio"))
    store = open_store(tmp_path / "out" / "test")
    bundle = Bundle.load("an4")
    runtime, decoder = OnnxRuntime(bundle, threads=1), make_decoder(bundle, DecodingOptions())
    transcriber = Transcriber(bundle, threads=1)
    utterances = evaluate(store, bundle, runtime, decoder).utterances
    assert {utterance.id for utterance in utterances} == set(parts)
    for utterance in utterances:
        samples = load_audio(tmp_path / f"{utterance.id}.wav", bundle.features.sample_rate).samples
        # Uncut: a pause of 0.7 s would end an utterance of transcription.
        assert utterance.hypothesis == decoder(transcriber.log_probs(samples))[0].text


def test_dead_air_becomes_as_faint_as_a_pause():
    front_end = Bundle.load("an4").front_end
    assert isinstance(front_end, LogMelFrontEnd)
    rng = np.random.default_rng(1)
    samples = np.zeros(32_000, np.float32)
    samples[8000:24_000] = 0.1 * rng.standard_normal(16_000)
    features = front_end.log_mel(samples).astype(np.float16)
    filled = front_end.fill_dead_air(features)
    sound = slice(52, 149)
    np.testing.assert_array_equal(filled[sound], features[sound])
    # 40 dB below the loudest frames, in nats.
    assert features[20].mean() < filled[20].mean() < features[sound].mean() - 6
    nothing = front_end.log_mel(np.zeros(8000, np.float32)).astype(np.float16)
    np.testing.assert_array_equal(front_end.fill_dead_air(nothing), nothing)


def result(counts, **facts):
    return UtteranceResult("", "", "", counts, ErrorCounts(), **facts)


def test_the_interval_holds_the_rate_and_shrinks_with_the_set():
    errors, hits = ErrorCounts(substitutions=1, hits=4), ErrorCounts(hits=5)
    utterances = [result(errors if i % 2 else hits) for i in range(40)]
    small, large = Evaluation(tuple(utterances)), Evaluation(tuple(utterances * 20))
    assert small.words.rate == large.words.rate == 0.1
    (low, high), (lower, higher) = small.interval(), large.interval()
    assert low < lower < 0.1 < higher < high
    assert Evaluation(tuple(utterances[::2])).interval() == (0.0, 0.0)
    with pytest.raises(DataError, match="no utterance"):
        Evaluation(()).interval()


def test_groups_part_the_set():
    lengths = [0, 1, 2, 3, 4, 7, 8, 40]
    utterances = tuple(
        result(ErrorCounts(hits=n, insertions=1), speaker="ab"[n % 2], duration_seconds=n / 2 + 0.5) for n in lengths
    )
    whole = Evaluation(utterances)
    assert [list(whole.by_words()), list(whole.by_speaker())] == [
        ["0", "1", "2–3", "4–7", "8–15", "32–63"],
        ["a", "b"],
    ]
    assert list(whole.by_duration()) == ["0–1 s", "1–2 s", "2–4 s", "4–8 s", "16–32 s"]
    for groups in (whole.by_words(), whole.by_speaker(), whole.by_duration()):
        assert sum((group.words for group in groups.values()), ErrorCounts()) == whole.words
        assert sorted(id(u) for group in groups.values() for u in group.utterances) == sorted(map(id, utterances))
    assert whole.by_words()["0"].words.rate is None
    assert whole.wrong_sentences == len(lengths)


def test_speakers_that_differ_widen_the_interval_by_speaker():
    alike = Evaluation(
        tuple(
            result(ErrorCounts(1, hits=9) if i % 2 else ErrorCounts(hits=10), speaker=f"s{i // 10}") for i in range(200)
        )
    )
    unlike = Evaluation(
        tuple(
            result(ErrorCounts(1, hits=9) if i < 100 else ErrorCounts(hits=10), speaker=f"s{i // 10}")
            for i in range(200)
        )
    )
    assert alike.interval_by_speaker() == (0.05, 0.05)
    low, high = unlike.interval()
    by_speaker = unlike.interval_by_speaker()
    assert by_speaker is not None
    lower, higher = by_speaker
    assert lower < low < 0.05 < high < higher
    assert Evaluation((result(ErrorCounts(hits=1)),) * 3).interval_by_speaker() is None


def test_the_command_writes_what_it_prints(digits, tmp_path):
    arguments = ["evaluate", "--model", "an4", "--data", str(digits / "features" / "dev"), "--threads", "1"]
    ran = CliRunner().invoke(app, [*arguments, "--details", "1", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    found = read_evaluation(tmp_path / "out")
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    lines = ran.stdout.splitlines()
    assert lines[:2] == [found.words.kaldi_line("WER"), found.characters.kaldi_line("CER")]
    assert lines[3].startswith(f"greedy, {len(found.utterances)} utterances, 95 % interval of the WER")
    assert results["word_errors"] == {**found.words.to_dict(), "wer": round(100 * found.words.rate, 3)}
    assert [results["low"], results["high"]] == [round(100 * rate, 2) for rate in found.interval()]
    assert results["by_speaker"].keys() == found.by_speaker().keys()
    assert results["timing"]["real_time_factor"] > 0
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count('id="detail-') == 1
    assert [u.words for u in read_evaluation(tmp_path / "out" / "hyp.trn").utterances] == [
        u.words for u in found.utterances
    ]
    ran = CliRunner().invoke(app, [*arguments, "--audio", "somewhere"])
    assert isinstance(ran.exception, UsageError)
