"""A listener hears the same however the samples come, alone or beside others, and takes no stable word back."""

import asyncio

import numpy as np
import pytest

from asr.errors import AudioError, DecodingError, UsageError
from asr.live import (
    EndOfUtterance,
    EndpointRule,
    EndpointRules,
    Listener,
    Listeners,
    LiveModel,
    Partial,
    Stable,
    listen,
    transcript_of,
)

RATE = 8000
# Utterances of a second or so, of what a network with random weights takes for speech.
RULES = EndpointRules(EndpointRule(False, 0.5, 0.0), EndpointRule(True, 0.2, 0.5), EndpointRule(False, 0.0, 2.0))


def sound(seed, seconds=5.0):
    """Noise that comes and goes, so that there is something to hear and something between."""
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(round(seconds * RATE)).astype(np.float32)
    level = np.repeat(rng.choice([0.0, 0.01, 0.1, 0.3], len(samples) // 400 + 1), 400)[: len(samples)]
    return np.clip(samples * level, -1, 1).astype(np.float32)


def said(events):
    """What can be said at once of all events, whatever the chunks: not the partials."""
    return [event for event in events if not isinstance(event, Partial)]


def merged(events):
    """Stable words of an utterance as one, since they may come in parts."""
    words, rows = [], []
    for event in said(events):
        if isinstance(event, Stable):
            words += event.words
        else:
            rows.append((words, event))
            words = []
    return rows + ([(words, None)] if words else [])


def assert_same(got, expected):
    """The same events; several chunks in one call of the network may round otherwise than one by one."""

    def plain(events):
        rows, confidences = [], []
        for event in events:
            if isinstance(event, Partial):
                rows.append(event.text)
                continue
            words = event.words if isinstance(event, Stable) else event.transcript.words
            rows.append([(word.text, word.start_seconds, word.end_seconds) for word in words])
            confidences += [word.confidence for word in words]
            if isinstance(event, EndOfUtterance):
                rows.append((event.start_seconds, event.transcript.duration, event.reason))
        return rows, confidences

    assert plain(got)[0] == plain(expected)[0]
    assert plain(got)[1] == pytest.approx(plain(expected)[1], abs=1e-4)


@pytest.mark.parametrize("name", ["one", "ahead", "two"])
@pytest.mark.parametrize("decoding", [{}, {"beam_size": 8, "hotwords": ["two"]}])
def test_the_cutting_of_samples_changes_nothing(bundles, name, decoding):
    model = LiveModel(bundles[name], chunk_seconds=0.12, context_seconds=0.2, endpoint=RULES, **decoding)
    samples = sound(1, 3.0)
    listener = Listener(model)
    whole = listener.push(samples) + listener.close()
    assert any(isinstance(event, EndOfUtterance) for event in whole)
    assert any(isinstance(event, Stable) for event in whole)
    seed = 11
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    # With the other cases, 200 cuttings.
    for number in range(34):
        count = (1, 3, 40, 400)[number % 4]
        listener, events = Listener(model), []
        for chunk in np.split(samples, np.sort(rng.integers(0, len(samples) + 1, count))):
            events += listener.push(chunk)
        assert_same(events + listener.close(), whole)


def test_streams_together_are_streams_alone(bundles):
    model = LiveModel(bundles["one"], chunk_seconds=0.12, endpoint=RULES)
    sounds = [sound(seed, 2.0 + seed / 10) for seed in range(16)]
    alone = []
    for samples in sounds:
        listener = Listener(model)
        alone.append(listener.push(samples) + listener.close())
    listeners = Listeners(model)
    numbers = [listeners.open() for _ in sounds]
    events = {number: [] for number in numbers}
    for start in range(0, 3 * RATE, 700):
        chunks = {number: samples[start : start + 700] for number, samples in zip(numbers, sounds, strict=True)}
        for number, new in listeners.push(chunks).items():
            events[number] += new
    for number, expected in zip(numbers, alone, strict=True):
        got = events[number] + listeners.close(number)
        assert [[word.text for word in words] for words, _ in merged(got)] == [
            [word.text for word in words] for words, _ in merged(expected)
        ]
        for (words, _), (others, _) in zip(merged(got), merged(expected), strict=True):
            for word, other in zip(words, others, strict=True):
                assert word.start_seconds == pytest.approx(other.start_seconds)
                assert word.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_stable_words_are_those_of_the_transcript_at_the_times_of_the_stream(bundles):
    listener = Listener(bundles["one"], endpoint=RULES, sample_rate=RATE)
    events = listener.push(sound(3, 8.0)) + listener.close()
    for words, end in merged(events):
        assert end is not None
        assert [word.text for word in words] == [word.text for word in end.transcript.words]
        for word, own in zip(words, end.transcript.words, strict=True):
            assert word.start_seconds == pytest.approx(own.start_seconds + end.start_seconds)
            assert 0 <= own.start_seconds < own.end_seconds <= end.transcript.duration + 1e-6
    starts = [end.start_seconds for _, end in merged(events)]
    assert starts == sorted(starts)
    assert transcript_of(events).text == " ".join(end.transcript.text for _, end in merged(events))


def test_one_push_of_an_utterance_says_what_the_model_says_of_the_whole(bundles):
    from asr.transcription.transcribe import Transcriber

    samples = sound(5, 3.0)
    for name in ("one", "ahead"):
        whole = Transcriber(bundles[name], threads=1)
        log_probs = whole.log_probs(samples)
        expected = whole._decoder(log_probs)[0].words
        never = EndpointRules(*[EndpointRule(True, 1e9, 1e9)] * 3)
        listener = Listener(bundles[name], endpoint=never)
        events = listener.push(samples) + listener.close()
        words = [word for words, _ in merged(events) for word in words]
        assert [word.text for word in words] == [word.text for word in expected]


@pytest.mark.parametrize("decoding", [{}, {"beam_size": 8}])
def test_streams_of_a_model_without_spaces_have_none(bundles, decoding):
    from asr.transcription.transcribe import load

    samples, bundle = sound(5, 3.0), bundles["characters"]
    whole = load(bundle, threads=1, **decoding)
    expected = whole._decoder(whole.log_probs(samples))[0]
    assert expected.text == "".join(word.text for word in expected.words)
    never = EndpointRules(*[EndpointRule(True, 1e9, 1e9)] * 3)
    listener = Listener(bundle, endpoint=never, **decoding)
    events = listener.push(samples) + listener.close()
    assert transcript_of(events).text == expected.text
    # Each partial is the text of its words, and continues what is stable.
    stable = []
    for event in events:
        if isinstance(event, Stable):
            stable += event.words
        elif isinstance(event, Partial):
            assert event.text == "".join(word.text for word in event.words)
            assert [*stable, *event.words] == sorted([*stable, *event.words], key=lambda word: word.start_seconds)
    listener = Listener(bundle, endpoint=RULES, **decoding)
    several = transcript_of(listener.push(samples) + listener.close())
    assert len(several.segments) > 1
    assert several.text == "".join(word.text for word in several.words)


def test_flush_ends_at_once_and_the_clock_goes_on(bundles):
    listener = Listener(bundles["one"], endpoint=RULES)
    first = listener.push(sound(6, 1.0)) + listener.flush()
    assert [event.reason for event in first if isinstance(event, EndOfUtterance)][-1] == "flush"
    second = listener.push(sound(6, 1.0)) + listener.flush()
    shift = [b.start_seconds - a.start_seconds for a, b in zip(*(
        [event for event in events if isinstance(event, EndOfUtterance)] for events in (first, second)
    ), strict=True)]  # fmt: skip
    assert shift == pytest.approx([1.0] * len(shift))
    listener.reset()
    assert listener.push(sound(6, 1.0)) + listener.flush() == first


def test_the_clock_and_what_is_heard_go_on_where_an_utterance_ends(bundles):
    """With rules that end an utterance at every pause, each frame of the stream is heard once, at its time."""
    for name in ("one", "ahead", "two"):
        model = LiveModel(bundles[name], chunk_seconds=0.12, context_seconds=0.2, endpoint=RULES)
        listener = Listener(model)
        events = listener.push(sound(3, 8.0))
        assert sum(isinstance(event, EndOfUtterance) for event in events) > 2
        start = listener.utterance_start
        end = [event for event in events + listener.close() if isinstance(event, EndOfUtterance)][-1]
        assert end.start_seconds >= start
        assert end.start_seconds + end.transcript.duration == pytest.approx(8.0, abs=2 * model.frame_seconds)


@pytest.mark.parametrize("name", ["one", "ahead"])
def test_after_a_pause_the_network_knows_nothing_of_what_was_before(bundles, name):
    """State that goes on for ever drifts: after each pause a stream is as one that begins there."""
    model = LiveModel(bundles[name], chunk_seconds=0.12, endpoint=RULES)
    features = model.log_mel(sound(4, 8.0))
    listener = Listener(model)
    events = listener.push_features(features) + listener.close()
    pauses = [event for event in events if isinstance(event, EndOfUtterance) and event.reason == "silence"]
    assert pauses
    for pause in pauses[:3]:
        seconds = pause.start_seconds + pause.transcript.duration
        fresh = Listener(model)
        expected = fresh.push_features(features[round(seconds / 0.01) :]) + fresh.close()
        rest = merged(events[events.index(pause) + 1 :])
        assert [[word.text for word in words] for words, _ in rest] == [
            [word.text for word in words] for words, _ in merged(expected)
        ]
        starts = [word.start_seconds for words, _ in merged(expected) for word in words]
        assert [word.start_seconds for words, _ in rest for word in words] == pytest.approx(
            [start + seconds for start in starts]
        )


class Failing:
    """A decoder that cannot go on after some chunks."""

    def __init__(self, decoder, count):
        self.decoder, self.count = decoder, count

    def stream(self):
        self.inner, self.num_frames = self.decoder.stream(), 1
        self.take_stable, self.partial_words = self.inner.take_stable, ()
        return self

    def push_checked(self, frames):
        self.count -= 1
        if self.count < 0:
            raise DecodingError("no hypothesis is left")
        self.inner.push_checked(frames)

    def finish(self):
        raise DecodingError("no hypothesis is left")


@pytest.mark.parametrize("failing", ["decoder", "samples", "network"])
def test_a_stream_that_fails_takes_no_other_along(bundles, failing, monkeypatch):
    model = LiveModel(bundles["one"], chunk_seconds=0.12, endpoint=RULES, beam_size=4)
    samples = [sound(seed, 2.0) for seed in range(3)]
    alone = []
    for part in samples:
        listener = Listener(model)
        alone.append(listener.push(part) + listener.close())
    listeners = Listeners(model)
    numbers = [listeners.open(), listeners.open(decoder=Failing(model.decoder, 3) if failing == "decoder" else None)]
    numbers.append(listeners.open())
    if failing == "network":
        samples[1] = np.ones(2 * RATE, np.float32)
        run = model.network.runtime
        monkeypatch.setattr(model.network, "runtime", LoudFails(run, float(model.log_mel(samples[1]).max())))
    parts = [np.array_split(part, 5) for part in samples]
    if failing == "samples":
        parts[1][2] = np.array([np.nan], np.float32)
    events, errors = {number: [] for number in numbers}, []
    for index in range(5):
        pushed = {number: parts[place][index] for place, number in enumerate(numbers) if place != 1 or not errors}
        for number, result in listeners.push_each(pushed).items():
            if isinstance(result, Exception):
                errors.append((number, type(result)))
            else:
                events[number] += result
    kind = {"decoder": DecodingError, "samples": AudioError, "network": RuntimeError}[failing]
    assert errors == [(numbers[1], kind)]
    for place in (0, 2):
        assert_same(events[numbers[place]] + listeners.close(numbers[place]), alone[place])
    # One whose samples are none goes on with others; one that cannot go on is closed.
    assert len(listeners) == (1 if failing == "samples" else 0)
    if failing != "samples":
        with pytest.raises(UsageError, match="is not open"):
            listeners.push({numbers[1]: samples[1]})


class LoudFails:
    """A network that fails wherever somebody shouts."""

    def __init__(self, runtime, level):
        self._runtime, self._level = runtime, level

    def __getattr__(self, name):
        return getattr(self._runtime, name)

    def __call__(self, features, *rest):
        if features.max() > self._level - 0.1:
            raise RuntimeError("loud")
        return self._runtime(features, *rest)


def test_a_stream_whose_end_fails_is_closed(bundles):
    model = LiveModel(bundles["one"], endpoint=RULES, beam_size=4)
    listeners = Listeners(model)
    number = listeners.open(decoder=Failing(model.decoder, 10**6))
    listeners.push({number: sound(1, 0.5)})
    with pytest.raises(DecodingError):
        listeners.flush(number)
    # It began anew.
    assert listeners.utterance_start(number) == pytest.approx(0.5)
    with pytest.raises(DecodingError):
        listeners.close(number)
    assert len(listeners) == 0


def test_the_clock_of_features_goes_on_after_a_flush(bundles):
    model = LiveModel(bundles["one"], endpoint=RULES)
    listener = Listener(model)
    listener.push_features(model.log_mel(sound(6, 1.0))[:100])
    listener.flush()
    assert listener.utterance_start == pytest.approx(1.0)


def test_who_falls_behind_is_told(bundles):
    listener = Listener(bundles["one"], chunk_seconds=0.12)
    listener.push(sound(1, 1.0))
    assert listener.behind_seconds == pytest.approx(1.0, abs=0.25)
    for part in np.array_split(sound(2, 1.0), 20):
        listener.push(part)
        assert listener.behind_seconds == 0


def test_silence_for_long_says_nothing_and_keeps_nothing(bundles):
    listener = Listener(bundles["quiet"], endpoint=EndpointRules())
    events = [event for _ in range(60) for event in listener.push(np.zeros(RATE, np.float32))]
    assert events == []


def test_what_cannot_be_heard_is_refused(bundles):
    listener = Listener(bundles["one"])
    with pytest.raises(AudioError, match="NaN"):
        listener.push(np.array([np.nan], np.float32))
    with pytest.raises(UsageError, match="over the whole utterance"):
        Listener(bundles["whole"])
    with pytest.raises(UsageError, match="context_seconds is 0"):
        Listener(bundles["two"], context_seconds=0.0)
    with pytest.raises(UsageError, match="beam_size: a LiveModel has its own options"):
        Listener(LiveModel(bundles["one"]), beam_size=3)
    listener.close()
    with pytest.raises(UsageError, match="closed"):
        listener.push(np.zeros(3, np.float32))


def test_an_asynchronous_stream(bundles):
    model = LiveModel(bundles["one"], endpoint=RULES)
    samples = sound(8, 2.0)
    listener = Listener(model)
    expected = listener.push(samples) + listener.close()

    async def chunks():
        for chunk in np.array_split(samples, 7):
            yield chunk

    async def collect():
        return [event async for event in listen(Listener(model), chunks())]

    assert asyncio.run(collect()) == expected
