"""What is in a batch: similar lengths, everybody in turn, and nothing lost."""

import threading
import time

import numpy as np
import pytest

from asr.errors import UsageError
from asr.live import Listener, Listeners, LiveModel, transcript_of
from asr.server.batching import MAX_STRETCH, BatchingRuntime, LiveBatches, _Job
from asr.server.options import ServerOptions, parse_models
from asr.transcription.recognition import BATCH_FRAMES, run_in_batches


class Network:
    """Notes its batches; gives what identifies each utterance."""

    name, batches = "a network", True

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[list[int]] = []
        self.seconds = seconds

    def __call__(self, features):
        self.calls.append([len(x) for x in features])
        time.sleep(self.seconds)
        return [x[:1] * 2 for x in features]


def utterances(lengths, mark, width=2):
    return [np.full((length, width), mark + index, np.float32) for index, length in enumerate(lengths)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_caller_gets_what_is_theirs_and_batches_keep_their_limits(workers):
    seed = 1
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    network = Network(0.002)
    runtime = BatchingRuntime(network, workers)
    answers = {}

    def call(number):
        with runtime.request():
            features = utterances(rng.integers(20, 2500, 7).tolist(), 1000 * number)
            answers[number] = [float(rows[0, 0]) for rows in runtime(features)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runtime.close()
    assert answers == {number: [2.0 * (1000 * number + index) for index in range(7)] for number in range(20)}
    assert sum(map(len, network.calls)) == 140
    assert len(network.calls) < 140
    for lengths in network.calls:
        assert max(lengths) <= MAX_STRETCH * min(lengths)
        assert len(lengths) == 1 or max(lengths) * len(lengths) <= BATCH_FRAMES


def test_a_short_request_does_not_wait_for_the_end_of_a_long_one():
    network = Network(0.01)
    runtime = BatchingRuntime(network)
    ends = {}

    def call(name, lengths):
        runtime(utterances(lengths, 0))
        ends[name] = time.monotonic()

    long = threading.Thread(target=call, args=("long", [2500] * 60))
    long.start()
    while not network.calls:
        time.sleep(0.001)
    call("short", [300])
    long.join()
    runtime.close()
    assert ends["short"] < ends["long"]
    assert [300] in network.calls[:4]


def test_an_error_reaches_those_who_wait_and_no_others():
    class Broken(Network):
        def __call__(self, features):
            if any(x[0, 0] < 0 for x in features):
                raise ValueError("broken")
            return super().__call__(features)

    runtime = BatchingRuntime(Broken())
    with pytest.raises(ValueError, match="broken"):
        runtime(utterances([10], -5))
    assert runtime(utterances([10], 3))[0][0, 0] == 6
    # Also of those who share its batch.
    jobs = [_Job(x) for x in utterances([10] * 6, -2)]
    runtime._run(jobs)
    runtime.close()
    got = [str(job.result.exception() or job.result.result()[0, 0]) for job in jobs]
    assert got == ["broken", "broken", "0.0", "2.0", "4.0", "6.0"]


def test_waveforms_count_by_their_time():
    """An utterance of 5 s counts as 500 frames; by its samples each would be alone."""
    network, most = Network(0.01), BATCH_FRAMES // 500
    runtime = BatchingRuntime(network)
    runtime(utterances([80_000] * most, 0, width=1))
    runtime.close()
    assert max(map(len, network.calls)) == most
    network.calls.clear()
    run_in_batches(network, utterances([80_000] * 2 * most, 0, width=1))
    assert list(map(len, network.calls)) == [most, most]


def live(tmp):
    model = LiveModel(tmp, context_seconds=0.2)
    return LiveBatches(Listeners(model))


def test_turns_of_streams_are_in_order_and_one_that_fails_is_alone(streaming_bundle, monkeypatch):
    rng = np.random.default_rng(1)
    sounds = [rng.uniform(-0.3, 0.3, 16_000).astype(np.float32) for _ in range(3)]
    batches = live(str(streaming_bundle))
    listener = Listener(batches.listeners.model)
    parts = np.array_split(sounds[0], 7)
    expected = [event for part in parts for event in listener.push(part)] + listener.flush()
    numbers = [batches.listeners.open() for _ in range(3)]
    monkeypatch.setattr(
        batches.listeners._streams[numbers[1]].features, "add", lambda _: (_ for _ in ()).throw(MemoryError("full"))
    )
    # All at once: turns wait for those before them.
    results = {number: [batches.push(number, part) for part in parts] for number in numbers}
    flushed = {number: batches.flush(number) for number in numbers}
    closed = [batches.close_stream(number) for number in numbers]
    with pytest.raises(MemoryError):
        results[numbers[1]][0].result(60)
    with pytest.raises(UsageError, match="not open"):
        flushed[numbers[1]].result(60)
    got = [event for result in results[numbers[0]] for event in result.result(60)] + flushed[numbers[0]].result(60)
    assert [type(event) for event in got] == [type(event) for event in expected]
    assert transcript_of(got).text == transcript_of(expected).text != ""
    assert [result.result(60) for result in closed] == [[]] * 3
    assert len(batches.listeners) == 0
    batches.close()
    # A client that goes after the end finds nothing to close.
    assert batches.close_stream(numbers[0]).result(60) == []
    with pytest.raises(RuntimeError, match="has ended"):
        batches.push(numbers[0], parts[0])


def test_options_that_would_let_anybody_in_are_refused():
    with pytest.raises(UsageError, match="no key is set"):
        ServerOptions({"an4": "an4"}, host="0.0.0.0")
    assert ServerOptions({"an4": "an4"}, host="0.0.0.0", no_auth=True).default_model == "an4"
    assert ServerOptions({"an4": "an4"}, host="::1").port == 8000
    with pytest.raises(UsageError, match="two models are named 'a'"):
        parse_models(["a", "a=b"])
    assert parse_models(["an4", "calls=/models/x"]) == {"an4": "an4", "calls": "/models/x"}
