"""Does a stream that goes on and on hear worse? AN4's test recordings at its beginning, and again half an hour later.

    ASR_ARCHIVES=FOLDER python benchmarks/drift.py --model exp/an4_streaming/bundle [--minutes 30]

FOLDER holds an4_sphere.tar.* (CMU). The stream is the test recordings, those of dev again and again, and the test
recordings once more. With pauses of 1.5 s the network begins anew after each utterance; with pauses of 0.2 s, and no
rule that ends an utterance at a pause, its state goes on for ever. Both are beside the recordings heard one by one.
"""

import argparse
from itertools import cycle

import numpy as np
from an4_recordings import SAMPLE_RATE, Recording, read_recordings

from asr.live import EndpointRule, EndpointRules, Listener, LiveModel, Stable, transcript_of
from asr.wer import word_errors

PIECE_SECONDS = 0.25
NEVER = EndpointRule(True, 1e9, 1e9)


def joined(recordings: list[Recording], pause_seconds: float) -> np.ndarray:
    """Return recordings one after the other, with pauses of faint noise."""
    rng = np.random.default_rng(1)
    parts = []
    for recording in recordings:
        pause = 1e-4 * rng.standard_normal(round(pause_seconds * SAMPLE_RATE)).astype(np.float32)
        parts += [recording.samples, pause]
    return np.concatenate(parts)


def filled(recordings: list[Recording], pause_seconds: float, seconds: float) -> list[Recording]:
    """Return so many recordings, again from the first after the last, that they last so long."""
    taken: list[Recording] = []
    for recording in cycle(recordings):
        if seconds <= 0:
            return taken
        taken.append(recording)
        seconds -= len(recording.samples) / SAMPLE_RATE + pause_seconds
    return taken


def hear(model: LiveModel, parts: list[np.ndarray]) -> list[str]:
    """Return what is said in each part of one stream."""
    listener, step = Listener(model, sample_rate=SAMPLE_RATE), round(PIECE_SECONDS * SAMPLE_RATE)
    stream = np.concatenate(parts)
    events = [event for first in range(0, len(stream), step) for event in listener.push(stream[first : first + step])]
    words = [word for event in events + listener.close() if isinstance(event, Stable) for word in event.words]
    ends = np.cumsum([len(part) for part in parts]) / SAMPLE_RATE
    places = np.searchsorted(ends, [word.start_seconds for word in words])
    return [
        " ".join(word.text for word, place in zip(words, places, strict=True) if place == part)
        for part in range(len(parts))
    ]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--minutes", type=float, default=30.0, help="from the one to the other")
    options = parser.parse_args()
    test, dev = read_recordings("test"), read_recordings("dev")
    texts = [recording.text for recording in test]
    model = LiveModel(options.model)
    alone = []
    for recording in test:
        listener = Listener(model, sample_rate=SAMPLE_RATE)
        alone.append(transcript_of(listener.push(recording.samples) + listener.close()).text)
    print(f"one by one: WER {100 * (word_errors(texts, alone).rate or 0):.2f} %")
    for pause, rules in ((1.5, EndpointRules()), (0.2, EndpointRules(rule1=NEVER, rule2=NEVER))):
        model.endpoint = rules
        first = joined(test, pause)
        between = joined(filled(dev, pause, 60 * options.minutes - len(first) / SAMPLE_RATE), pause)
        parts = [first, between, first]
        heard = hear(model, parts)
        whole = [" ".join(texts)]
        rates = [100 * (word_errors(whole, [said]).rate or 0) for said in (heard[0], heard[2])]
        minutes = sum(map(len, parts)) / SAMPLE_RATE / 60
        print(
            f"pauses of {pause} s, {minutes:.0f} minutes: WER {rates[0]:.2f} % at minute 0, "
            f"{rates[1]:.2f} % at minute {options.minutes:.0f}"
        )


if __name__ == "__main__":
    main()
