"""Greedy decoding, labels, and what must not go into a decoder."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from asr.decoder import BeamSearchDecoder, GreedyDecoder, Labels, Word, log_softmax
from asr.errors import DecodingError

ROOT = Path(__file__).parents[2]
LABELS = ["<blank>", " ", "a", "b"]


def frames_of(tokens, num_labels, sure=0.9):
    probs = np.full((len(tokens), num_labels), (1 - sure) / (num_labels - 1))
    probs[np.arange(len(tokens)), tokens] = sure
    return np.log(probs)


@given(arrays(np.float64, st.tuples(st.integers(1, 40), st.just(4)), elements=st.floats(-8, 8)))
def test_the_best_path_collapsed(logits):
    log_probs = log_softmax(logits)
    hypothesis = GreedyDecoder(LABELS, frame_seconds=0.04)(log_probs)[0]
    path = log_probs.argmax(axis=1)
    assert hypothesis.tokens == tuple(token for token, _ in itertools.groupby(path) if token)
    assert hypothesis.text == " ".join("".join(LABELS[token] for token in hypothesis.tokens).split())
    assert hypothesis.score == pytest.approx(log_probs.max(axis=1).sum(dtype=float))
    times = [time for word in hypothesis.words for time in (word.start_seconds, word.end_seconds)]
    assert times == sorted(times)
    assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
    assert " ".join(word.text for word in hypothesis.words) == hypothesis.text


def test_times_and_confidences_of_both_decoders():
    log_probs = frames_of([0, 2, 2, 0, 3, 1, 1, 2, 0, 2], 4)
    for decoder in (GreedyDecoder(LABELS, frame_seconds=0.5), BeamSearchDecoder(LABELS, frame_seconds=0.5)):
        first, second = decoder(log_probs)[0].words
        assert (first.text, first.start_seconds, first.end_seconds) == ("ab", 0.5, 2.5)
        assert (second.text, second.start_seconds, second.end_seconds) == ("aa", 3.5, 5.0)
        assert first.confidence == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(("latest", "start", "end"), [(9.0, 2.0, 2.5), (2.25, 2.0, 2.25), (1.75, 1.75, 1.75)])
def test_a_word_that_is_cut_does_not_end_before_it_starts(latest, start, end):
    assert Word("a", 1.0, 1.5, 0.5).shifted(1.0, latest) == Word("a", start, end, 0.5)


def test_greedy_is_a_lower_bound_of_the_beam():
    log_probs = log_softmax(np.random.default_rng(1).normal(size=(50, 4)))
    greedy, beam = GreedyDecoder(LABELS)(log_probs)[0], BeamSearchDecoder(LABELS)(log_probs)[0]
    assert greedy.acoustic_score < beam.acoustic_score < 0


@pytest.mark.parametrize("make", [GreedyDecoder, BeamSearchDecoder])
def test_any_float_array_gives_the_same(make):
    decoder = make(LABELS)
    log_probs = frames_of([0, 2, 0, 2, 3, 0], 4).astype(np.float16)
    expected = decoder(log_probs)
    wide = np.zeros((12, 8), np.float64)
    wide[::2, ::2] = log_probs
    read_only = log_probs.astype(np.float32)
    read_only.flags.writeable = False
    for same in (wide[::2, ::2], np.asfortranarray(log_probs, np.float32), read_only, log_probs.tolist()):
        assert decoder(same) == expected


@pytest.mark.parametrize("make", [GreedyDecoder, BeamSearchDecoder])
def test_what_is_no_log_probs_is_refused(make):
    decoder = make(LABELS)
    good = log_softmax(np.random.default_rng(2).normal(size=(6, 4)))
    bad = good.copy()
    bad[3, 2] = np.nan
    infinite = good.copy()
    infinite[3, 2] = np.inf
    cases = {
        r"shape \(1, 6, 4\).*decode_batch": good[None],
        r"shape \(4, 6\).*transpose": good.T,
        r"shape \(6, 5\)": np.pad(good, ((0, 0), (0, 1))),
        r"shape \(0, 4\).*at least one frame": good[:0],
        "frame 3 .*nan": bad,
        "frame 3 .*inf": infinite,
        "probabilities.*np.log": np.exp(good),
        "sum to .*normalise=True": 5 * good + 1,
        "type int64": np.zeros((6, 4), int),
        "not an array": [[0.0], [0.0, 1.0]],
    }
    for message, values in cases.items():
        with pytest.raises(DecodingError, match=message):
            decoder(values)
    logits = good * 1.0 + np.arange(6)[:, None]
    assert make(LABELS, normalise=True)(logits)[0].text == decoder(good)[0].text
    with pytest.raises(DecodingError, match="probabilities"):
        make(LABELS, normalise=True)(np.exp(good))


def test_bad_labels():
    for message, make in {
        "blank is 4": lambda: Labels(LABELS, blank=4),
        "blank is -1": lambda: GreedyDecoder(LABELS, blank=-1),
        "more than once: 'a'": lambda: Labels([*LABELS, "a"]),
        "label 2 is empty": lambda: Labels(["_", "a", ""], blank=0),
        "several labels may be the blank: '<blank>' .0., '' .2.": lambda: Labels(["<blank>", "a", ""]),
        "the blank is 'a'": lambda: Labels(LABELS, blank="a"),
        "at least one": lambda: Labels([]),
        "list of strings": lambda: Labels("_ab"),
        "set .*list of strings": lambda: Labels({"_", "a"}),
        "None.*list of strings": lambda: Labels([None, "a"]),  # type: ignore[list-item]
        "str 'ab'; expected a list of strings": lambda: Labels.from_nemo("ab"),
        "0, .*list of strings": lambda: Labels.from_huggingface({"[PAD]": 1, 0: 0}),  # type: ignore[dict-item]
        "frame_seconds": lambda: GreedyDecoder(LABELS, frame_seconds=0),
    }.items():
        with pytest.raises(DecodingError, match=message):
            make()


def test_hugging_face_vocabulary(tmp_path):
    letters = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4} | {c: i for i, c in enumerate(letters, 5)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    labels = Labels.from_huggingface(tmp_path / "vocab.json")
    assert labels == Labels.from_huggingface(vocabulary)
    said = [vocabulary[c] for c in "HELLO|WORLD"]
    path = list(itertools.chain.from_iterable((token, 0) for token in said))
    log_probs = frames_of(path, len(vocabulary))
    # The most probable label of a frame, but one that is never written.
    log_probs[1] = frames_of([vocabulary["<unk>"]], len(vocabulary))[0]
    for decoder in (GreedyDecoder(labels, frame_seconds=0.02), BeamSearchDecoder(labels, frame_seconds=0.02)):
        assert decoder(log_probs)[0].text == "HELLO WORLD"
    for message, wrong in {
        "neither '<pad>'": {"a": 0},
        "one language": {"eng": vocabulary, "fra": vocabulary},
        "each once": {"<pad>": 0, "a": 2},
        "cannot read": tmp_path / "none.json",
        "object of label": [1, 2],
    }.items():
        with pytest.raises(DecodingError, match=message):
            Labels.from_huggingface(wrong)


@pytest.mark.parametrize(
    ("vocabulary", "said", "text"),
    [
        ([" ", "a", "b", "'"], [1, 2, 0, 1], "ab a"),
        (["<unk>", "▁the", "▁c", "at", "s"], [1, 2, 3, 4], "the cats"),
        (["<unk>", "the", "c", "##at", "##s"], [1, 2, 3, 4], "the cats"),
    ],
)
def test_nemo_vocabulary(vocabulary, said, text):
    labels = Labels.from_nemo(vocabulary)
    assert labels.blank == len(vocabulary) == len(labels) - 1
    log_probs = frames_of([labels.blank, *said, labels.blank], len(labels))
    for decoder in (GreedyDecoder(labels), BeamSearchDecoder(labels)):
        hypothesis = decoder(log_probs)[0]
        assert hypothesis.text == text
        assert hypothesis.tokens == tuple(said)


@pytest.mark.parametrize("make", [GreedyDecoder, BeamSearchDecoder])
def test_a_batch_equals_singles_on_any_number_of_threads(make):
    rng = np.random.default_rng(3)
    batch = [log_softmax(2 * rng.normal(size=(length, 4))) for length in (1, 70, 3, 200, 40, 41, 5)]
    decoder = make(LABELS)
    singles = [decoder(log_probs) for log_probs in batch]
    for threads in (1, 2, 5):
        assert decoder.decode_batch(iter(batch), threads) == singles
    with pytest.raises(DecodingError, match=r"utterance 1 of the batch: .*shape"):
        decoder.decode_batch([batch[0], batch[1].T], threads=2)
    with pytest.raises(DecodingError, match="threads is 0"):
        decoder.decode_batch(batch, threads=0)


def test_greedy_decoding_imports_no_numba():
    code = (
        "import sys, math; from asr.decoder import GreedyDecoder; "
        "assert GreedyDecoder(['_', 'a'])([[math.log(0.5)] * 2])[0].text == ''; print('numba' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_silence_is_empty():
    log_probs = np.full((30, 4), -math.inf)
    log_probs[:, 0] = 0
    for decoder in (GreedyDecoder(LABELS), BeamSearchDecoder(LABELS)):
        hypothesis = decoder(log_probs)[0]
        assert (hypothesis.text, hypothesis.words, hypothesis.tokens, hypothesis.score) == ("", (), (), 0.0)
