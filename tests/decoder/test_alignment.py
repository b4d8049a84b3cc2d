"""Forced alignment: against every path there is, against the CTC loss, and what it says of words."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoder import align, alignment
from asr.decoder.alignment import STAR
from asr.errors import DecodingError

LABELS = ["_", "a", "b", " "]


def random_log_probs(num_frames, num_labels, seed):
    probs = np.random.default_rng(seed).dirichlet(np.full(num_labels, 0.5), num_frames)
    return np.log(np.maximum(probs, 1e-12)).astype(np.float32)


def collapse(path):
    return [token for token, _ in itertools.groupby(path) if token != 0]


def best_path(log_probs, tokens):
    num_frames, num_labels = log_probs.shape
    scored = [
        (sum(float(log_probs[t, token]) for t, token in enumerate(path)), path)
        for path in itertools.product(range(num_labels), repeat=num_frames)
        if collapse(path) == tokens
    ]
    return max(scored, default=None)


@pytest.mark.parametrize("spacing", [1, 2, 3, 1024])
def test_it_is_the_best_of_all_paths(monkeypatch, spacing):
    monkeypatch.setattr(alignment, "CHECKPOINT_FRAMES", spacing)
    rng = np.random.default_rng(spacing)
    for seed in range(25):
        num_frames, num_labels = int(rng.integers(1, 7)), int(rng.integers(2, 5))
        tokens = rng.integers(1, num_labels, rng.integers(0, num_frames + 1)).tolist()
        log_probs = random_log_probs(num_frames, num_labels, seed)
        best = best_path(log_probs, tokens)
        if best is None:
            with pytest.raises(DecodingError, match="need at least"):
                align(log_probs, tokens, LABELS[:num_labels], frame_seconds=1.0)
            continue
        result = align(log_probs, tokens, LABELS[:num_labels], frame_seconds=1.0)
        assert result.score == pytest.approx(best[0], abs=1e-4)
        spans, t = [], 0
        for token, group in itertools.groupby(best[1]):
            frames = len(list(group))
            if token:
                mean = float(np.exp(log_probs[t : t + frames, token].mean(dtype=np.float64)))
                spans.append((token, t, t + frames, pytest.approx(mean)))
            t += frames
        assert [(s.token, s.start_seconds, s.end_seconds, s.confidence) for s in result.tokens] == spans


@pytest.mark.parametrize("seed", range(20))
def test_a_star_stands_for_the_most_probable_label_of_each_of_its_frames(seed):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 3, 3).tolist()
    tokens[int(rng.integers(0, 3))] = STAR
    log_probs = random_log_probs(6, 3, seed)
    # A path of one more label, which is said with the probability of the best of the others.
    starred = np.hstack([log_probs, log_probs.max(axis=1, keepdims=True)])
    score, _ = best_path(starred, [3 if token == STAR else token for token in tokens])
    result = align(log_probs, tokens, ["_", "a", "b"])
    assert result.score == pytest.approx(score, abs=1e-4)
    assert [span.text for span in result.tokens] == ["*" if token == STAR else "_ab"[token] for token in tokens]
    # The times are those of a path with this score (where the best label is the blank, there are several).
    path = np.zeros(6, int)
    for span in result.tokens:
        path[int(span.start_seconds) : int(span.end_seconds)] = span.token
    assert starred[np.arange(6), path].sum() == pytest.approx(score, abs=1e-4)


def test_a_star_is_a_word_unless_it_is_a_label():
    log_probs = peaked([1, 2, 3, 2, 1, 3, 1], 4)
    words = align(log_probs, "ab * a", LABELS).words
    assert [word.text for word in words] == ["ab", "*", "a"]
    # The stretch may begin and end anywhere between its neighbours.
    assert words[0].end_seconds <= words[1].start_seconds < words[1].end_seconds <= words[2].start_seconds
    assert words[2].end_seconds == 14
    labels = ["_", "a", "*", " "]
    assert align(peaked([1, 3, 2], 4), "a *", labels) == align(peaked([1, 3, 2], 4), [1, 3, 2], labels)
    with pytest.raises(DecodingError, match="a label of its own"):
        align(peaked([1], 4), [STAR], labels)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 400), st.integers(1, 60))
def test_times_are_monotone_and_the_score_is_below_all_paths(seed, num_frames, num_tokens):
    torch = pytest.importorskip("torch")
    tokens = np.random.default_rng(seed).integers(1, 4, num_tokens).tolist()
    needed = len(tokens) + sum(x == y for x, y in itertools.pairwise(tokens))
    log_probs = random_log_probs(max(num_frames, needed), 4, seed)
    result = align(log_probs, tokens, LABELS, frame_seconds=0.04)
    times = [time for span in result.tokens for time in (span.start_seconds, span.end_seconds)]
    assert times == sorted(times)
    assert [span.token for span in result.tokens] == tokens
    words = [time for word in result.words for time in (word.start_seconds, word.end_seconds)]
    assert words == sorted(words)
    assert all(0 <= one <= 1 for one in [span.confidence for spans in (result.tokens, result.words) for span in spans])
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_probs)[:, None].double(),
        torch.tensor([tokens]),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(tokens)]),
        reduction="sum",
    )
    assert result.score <= -float(loss) + 1e-3


def peaked(tokens, num_labels, hold=1):
    """Return log-probs that say blank, token, blank, token, …, each token for `hold` frames."""
    probs = np.full((len(tokens) * (hold + 1) + 1, num_labels), 0.1 / num_labels)
    probs[:: hold + 1, 0] += 0.9
    for i, token in enumerate(tokens):
        probs[i * (hold + 1) + 1 : (i + 1) * (hold + 1), token] += 0.9
    return np.log(probs)


@pytest.mark.parametrize("delimiter", [" ", "|"])
def test_words_lie_between_delimiters(delimiter):
    labels = ["_", "a", "b", delimiter]
    log_probs = peaked([1, 2, 3, 2, 2], 4)
    result = align(log_probs, "  ab \n bb ", labels, frame_seconds=0.5)
    assert [(w.text, w.start_seconds, w.end_seconds) for w in result.words] == [("ab", 0.5, 2.0), ("bb", 3.5, 5.0)]
    assert result.words[0].confidence == pytest.approx(0.925)
    assert align(log_probs, [1, 2, 3, 2, 2], labels, frame_seconds=0.5) == result


def test_words_begin_at_subword_marks():
    labels = ["<blank>", "▁he", "llo", "▁", "x"]
    result = align(peaked([1, 2, 3, 4, 1], 5), [1, 2, 3, 4, 1], labels, frame_seconds=1.0)
    assert [(w.text, w.start_seconds, w.end_seconds) for w in result.words] == [
        ("hello", 1.0, 4.0),
        # A mark of its own is no letter of the word.
        ("x", 7.0, 8.0),
        ("he", 9.0, 10.0),
    ]
    with pytest.raises(DecodingError, match="give the token ids"):
        align(peaked([1], 5), "hello", labels, frame_seconds=1.0)


def test_the_blank_may_stand_last_and_the_transcript_may_be_empty():
    log_probs = peaked([1, 2], 3)
    last = np.roll(log_probs, -1, axis=1)
    result = align(last, "ab", ["a", "b", "_"], blank=2, frame_seconds=1.0)
    assert [token.start_seconds for token in result.tokens] == [1.0, 3.0]
    empty = align(log_probs, "", ["_", "a", "b"], frame_seconds=1.0)
    assert (empty.tokens, empty.words) == ((), ())
    assert empty.score == pytest.approx(log_probs[:, 0].sum(), abs=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_float_type_and_layout_will_do(dtype):
    log_probs = peaked([1, 2, 3, 2], 4, hold=3)
    expected = align(log_probs.astype(np.float32), "ab b", LABELS, frame_seconds=1.0)
    result = align(np.asfortranarray(log_probs.astype(dtype)), "ab b", LABELS, frame_seconds=1.0)
    assert [t.start_seconds for t in result.tokens] == [t.start_seconds for t in expected.tokens]
    assert result.score == pytest.approx(expected.score, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": np.zeros((3, 5))}, r"shape \(3, 5\)"),
        ({"log_probs": np.full((9, 4), np.nan)}, "frame 0 of the log-probs holds nan"),
        ({"log_probs": np.exp(peaked([1, 2], 4))}, "probabilities"),
        ({"transcript": "a-b"}, r"not labels: '-' \(U\+002D\)"),
        ({"transcript": "_"}, "not labels: '_'"),
        ({"transcript": [1, 4]}, "token id 4, expected 0 to 3 without the blank, 0"),
        ({"transcript": [1, 0]}, "token id 0"),
        ({"transcript": "aab"}, r"3 tokens need at least 4 frames .* got 3"),
        ({"blank": 4}, "the blank is 4; expected 0 to 3"),
        ({"frame_seconds": 0.0}, "frame_seconds is 0.0"),
    ],
)
def test_bad_input_is_explained(change, message):
    arguments = {"log_probs": peaked([1], 4), "transcript": "a", "labels": LABELS, "blank": 0, "frame_seconds": 1.0}
    arguments |= change
    with pytest.raises(DecodingError, match=message):
        align(
            arguments["log_probs"],
            arguments["transcript"],
            LABELS,
            blank=arguments["blank"],
            frame_seconds=arguments["frame_seconds"],
        )


def test_a_transcript_ruled_out_is_said_to_be():
    log_probs = np.full((5, 4), -np.inf)
    log_probs[:, 0] = 0.0
    with pytest.raises(DecodingError, match="probability zero"):
        align(log_probs, "a", LABELS, frame_seconds=1.0)
