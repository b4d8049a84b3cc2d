"""Recordings heard as streams say what a listener says; when words were shown is what the events say."""

from types import SimpleNamespace

import numpy as np
import pytest

from asr.audio import AudioPart, Waveform
from asr.bundle.runtime import make_runtime
from asr.decoder import Word
from asr.evaluation.streaming import _said, evaluate_streaming
from asr.lexicon import PronouncingDictionary
from asr.live import Listener, LiveModel, Partial, Stable, replay, transcript_of
from asr.live.replay import Latency, Timeline, hear_audio, hear_features
from asr.tokenizer import PhoneTokenizer

RATE = 8000


def noise(seed, seconds=4):
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.choice([0.0, 0.01, 0.1, 0.3], seconds * 10), RATE // 10)
    return (rng.standard_normal(len(level)) * level).clip(-1, 1).astype(np.float32)


def partial(*texts):
    return Partial(" ".join(texts), 0.0, tuple(Word(text, 0.0, 0.0, 1.0) for text in texts))


def test_words_are_shown_when_the_events_say():
    one, two = Word("one", 0.1, 0.4, 1.0), Word("two", 0.5, 0.8, 1.0)
    timeline = Timeline()
    timeline.add([partial("o")], 0.3)
    timeline.add([partial("one", "to")], 0.6)
    timeline.add([Stable((one,)), partial("two")], 0.8)
    timeline.add([partial("too")], 0.9)
    timeline.add([partial("two")], 1.0)
    timeline.add([Stable((two,))], 1.2, is_end=True)
    first, second = timeline.shown()
    assert (first.partial_seconds, first.stable_seconds, timeline.first_seconds) == (0.6, 0.8, 0.3)
    # It was taken back in between.
    assert second.partial_seconds == 1.0
    assert np.isnan(second.stable_seconds)
    latency = Latency()
    latency.add([(first, one), (second, two)], timeline.first_seconds)
    assert latency.first_partial == pytest.approx([0.2])
    assert latency.partial == pytest.approx([0.2, 0.2])
    assert latency.stable == pytest.approx([0.4])


def test_a_machine_that_falls_behind_shows_words_later_and_later(monkeypatch):
    """Of pieces of 1 s that take 3 s each, the third is heard 7 s after it was said."""
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr("asr.live.replay.time.perf_counter", lambda: next(clock))

    class Slow:
        def push(self, piece):
            return [partial(f"{len(piece)}")]

        def close(self):
            return []

    timeline = replay._hear(Slow(), [np.zeros(10)] * 3, 0.1, Latency())
    assert timeline.transcript().duration == pytest.approx(3)
    assert [seconds for seconds, _, _ in timeline._moments] == pytest.approx([4, 7, 10, 10])


@pytest.mark.parametrize("name", ["one", "ahead", "two"])
def test_a_recording_says_what_a_listener_says(bundles, name):
    model, samples = LiveModel(bundles[name]), noise(1)
    listener = Listener(model)
    whole = transcript_of(listener.push(samples) + listener.close())
    assert whole.words
    heard = hear_audio(model, AudioPart(Waveform(samples, RATE)), Latency())
    assert heard.transcript().segments == whole.segments
    assert heard.transcript().duration == pytest.approx(4.0)
    later = heard.transcript(10.0).words
    assert [word.start_seconds - 10 for word in later] == pytest.approx([word.start_seconds for word in whole.words])
    by_features = hear_features(model, bundles[name].front_end(samples), Latency()).transcript()
    assert by_features.text == whole.text


def test_an_evaluation_counts_the_errors_of_streams(bundles):
    model = LiveModel(bundles["one"])
    texts = [hear_features(model, model.bundle.front_end(noise(seed)), Latency()).transcript().text for seed in (1, 2)]
    store = Store([noise(1), noise(2)], [texts[0], texts[1] + " two"])
    runtime = make_runtime(model.bundle)
    result, latency = evaluate_streaming(store, model, model.bundle, runtime)
    assert [utterance.words.errors for utterance in result.utterances] == [0, 1]
    assert result.utterances[1].words.deletions == 1
    assert len(latency.first_partial) == 2
    assert latency.audio_seconds == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize(("name", "separator"), [("one", " "), ("characters", "")])
def test_all_words_have_a_delay_where_all_are_right(bundles, name, separator):
    model = LiveModel(bundles[name])
    heard = [hear_features(model, model.bundle.front_end(noise(seed)), Latency()).transcript() for seed in (1, 2)]
    texts = [separator.join(word.text for word in transcript.words) for transcript in heard]
    store = Store([noise(1), noise(2)], texts)
    result, latency = evaluate_streaming(store, model, model.bundle, make_runtime(model.bundle))
    assert [utterance.words.errors for utterance in result.utterances] == [0, 0]
    assert len(latency.partial) == sum(len(transcript.words) for transcript in heard)


def test_only_words_that_the_aligner_can_write_have_times():
    lexicon = PronouncingDictionary([("one", ["W", "AH", "N"]), ("two", ["T", "UW"])])
    aligner = SimpleNamespace(tokenizer=PhoneTokenizer.from_lexicon(lexicon), frame_seconds=0.5)
    scores = np.zeros((8, len(aligner.tokenizer)), np.float32)
    scores[np.arange(8), [0, *aligner.tokenizer.encode("one two"), 0]] = 5.0
    log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    said = _said("one two", aligner, log_probs)
    assert [(word.text, word.start_seconds, word.end_seconds) for word in said] == [
        ("one", 0.5, 2.0),
        ("two", 2.5, 3.5),
    ]
    assert _said("one three", aligner, log_probs) == _said("one two two two", aligner, log_probs) == ()


class Store:
    """What an evaluation wants of a store, of features that a model makes of samples."""

    def __init__(self, samples, texts):
        self.samples, self.texts = samples, texts
        self.ids, self.speakers, self.sources = ["a", "b"], ["", ""], ["a.wav", "b.wav"]
        self.durations_seconds = np.array([len(part) / RATE for part in samples])


@pytest.fixture(autouse=True)
def front_end(monkeypatch):
    from asr.bundle.front_end import LogMelFrontEnd

    monkeypatch.setattr(LogMelFrontEnd, "stored", lambda self, store, index: self(store.samples[index]))
    monkeypatch.setattr(LogMelFrontEnd, "check_store", lambda _self, _store, _owner: None)
