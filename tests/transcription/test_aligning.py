"""Alignment of audio: times do not drift where long audio is cut."""

from types import SimpleNamespace

import numpy as np
import pytest

from asr.decoder import Labels
from asr.transcription.aligning import align_audio
from asr.transcription.recognition import EndOfRecording
from asr.transcription.segments import cut_audio
from asr.transcription.stitching import Stitcher

RATE, HOP = 8000, 320
LABELS = ("<blank>", *"abcdefghi", " ")


class ClickReader:
    """Stands for a model: hears a click of amplitude k / 10 as the letter k, and a space, if it has one, after it."""

    def __init__(self, labels=LABELS):
        self.labels = labels
        tokenizer = SimpleNamespace(tokens=labels, kind="characters")
        self.bundle = SimpleNamespace(tokenizer=tokenizer, frame_seconds=HOP / RATE, language="")

    def utterances(self, source, source_rate):  # noqa: ARG002
        stitcher = Stitcher(Labels(self.labels), HOP, RATE)
        pieces = cut_audio([source], RATE, HOP)
        found = [u for piece, samples in pieces for u in stitcher.push(piece, self.log_probs(samples))]
        return found, EndOfRecording(len(source) / RATE, ("cut",), None)

    def log_probs(self, samples):
        peaks = np.abs(samples[: len(samples) // HOP * HOP].reshape(-1, HOP)).max(axis=1)
        letters = np.rint(peaks * 10).astype(int)
        after = self.labels.index(" ") if " " in self.labels else 0
        tokens = np.where((letters == 0) & (np.roll(letters, 1) > 0), after, letters)
        probs = np.full((len(tokens), len(self.labels)), 0.01 / len(self.labels))
        probs[np.arange(len(tokens)), tokens] += 0.99
        return np.log(probs).astype(np.float32)


@pytest.mark.parametrize(("seconds", "labels"), [(5, LABELS), (120, LABELS), (120, LABELS[:-1])])
def test_words_are_where_they_were_put(seconds, labels):
    reader, separator = ClickReader(labels), " " if " " in labels else ""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1e-3, seconds * RATE).astype(np.float32)
    clicks = np.arange(RATE // 2, len(samples) - RATE, RATE) + rng.integers(0, RATE // 4, seconds - 1)
    letters = rng.integers(1, 10, len(clicks))
    samples[clicks] = letters / 10
    text = separator.join(labels[letter] for letter in letters)
    transcript = align_audio(reader, samples, text, source_rate=RATE)
    assert transcript.text == text
    assert transcript.duration == seconds
    assert transcript.warnings == ("cut",)
    # A text that was not said is put somewhere all the same: that is told.
    other = align_audio(reader, samples, separator.join(labels[letter % 9 + 1] for letter in letters), source_rate=RATE)
    assert "words can hardly be heard" in other.warnings[1]
    starts = np.array([word.start_seconds for word in transcript.words])
    ends = np.array([word.end_seconds for word in transcript.words])
    # A frame begins at most one hop before the click; the frames after a cut stand on a grid of their own.
    assert (starts <= clicks / RATE + 1e-9).all()
    assert (ends > clicks / RATE).all()
    assert np.allclose(ends - starts, HOP / RATE)
    assert (np.diff(starts) > 0).all()
