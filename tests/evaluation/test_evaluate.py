"""Evaluation: the words are those of transcription, whatever shares the batch."""

import pytest

pytest.importorskip("pyarrow", reason="stores need the [data] extra")

from asr.data.corpus import PrepareOptions, load_corpus, prepare
from asr.data.store import FeatureStore
from asr.evaluation.evaluate import Evaluation, UtteranceResult, evaluate
from asr.evaluation.wer import ErrorCounts, word_errors
from asr.transcription.bundle import Bundle
from asr.transcription.decoding import DecodingOptions, make_decoder
from asr.transcription.runtime import OnnxRuntime
from asr.transcription.transcribe import Transcriber


def test_a_store_gives_the_words_that_its_recordings_give(tmp_path):
    bundle = Bundle.load("an4")
    options = PrepareOptions(features=bundle.features, splits=("dev",), cache=tmp_path / "cache", quiet=True)
    prepare(load_corpus("digits"), tmp_path / "data", options)
    store = FeatureStore.open(tmp_path / "data" / "dev")
    decoder = make_decoder(bundle, DecodingOptions())
    result = evaluate(store, bundle, OnnxRuntime(bundle, threads=1), decoder)
    assert [utterance.id for utterance in result.utterances] == list(store.ids)
    assert any(utterance.hypothesis for utterance in result.utterances)
    transcriber = Transcriber(bundle, threads=1)
    recordings = {path.stem: path for path in (tmp_path / "cache").rglob("*.opus")}
    for utterance in result.utterances[::4]:
        assert transcriber.transcribe(recordings[utterance.id]).text == utterance.hypothesis, utterance.id
    texts = [utterance.hypothesis for utterance in result.utterances]
    assert result.words == word_errors(store.texts, texts)


def test_the_interval_holds_the_rate_and_shrinks_with_the_set():
    errors, hits = ErrorCounts(substitutions=1, hits=4), ErrorCounts(hits=5)
    utterances = [UtteranceResult(str(i), "", "", errors if i % 2 else hits, ErrorCounts()) for i in range(40)]
    small, large = Evaluation(tuple(utterances)), Evaluation(tuple(utterances * 20))
    assert small.words.rate == large.words.rate == 0.1
    (low, high), (lower, higher) = small.interval(), large.interval()
    assert low < lower < 0.1 < higher < high
    assert Evaluation(tuple(utterances[::2])).interval() == (0.0, 0.0)
