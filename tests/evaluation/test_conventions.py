"""Scoring as others do."""

import json

import pytest

from asr.errors import MissingExtraError, UsageError
from asr.evaluation.conventions import normaliser, rescored, write_leaderboard
from asr.evaluation.results import Evaluation, Timing, UtteranceResult


def evaluation():
    pairs = [("A.B.C. won't pay £5!", "abc will not pay five pounds"), ("Uh (laughs)", "oh"), ("Colour!", "color")]
    return Evaluation(
        tuple(UtteranceResult.scored(f"u{i}", *pair) for i, pair in enumerate(pairs)), Timing(6.0, 2.0, 1.0)
    )


def test_english_is_our_own_profile_and_none_changes_nothing():
    clean = normaliser("english")
    assert clean("Don’t “Stop” — Café, 5!") == "don't stop cafe 5"
    assert rescored(evaluation(), "none") == evaluation()
    assert rescored(evaluation(), "english").utterances[2].words.errors == 1
    with pytest.raises(UsageError, match=r"expected none, english, whisper, open-asr .did you mean 'whisper'"):
        normaliser("wisper")


def test_whisper_and_the_leaderboard_differ_in_what_the_latter_adds():
    try:
        whisper, leaderboard = normaliser("whisper"), normaliser("open-asr")
    except MissingExtraError:
        pytest.skip("whisper-normalizer is not installed")
    assert whisper("Mr. Grey's colour, twenty-one pounds") == "mister gray is color £21"
    assert whisper("the U.S. is John's, uhm") == "the u s is john is uhm"
    assert leaderboard("the U.S. is John's, uhm") == "the us is john s"
    assert leaderboard("It's A B C or 5 G, and I a") == "it is abc or 5g and i a"
    scored = rescored(evaluation(), "open-asr")
    # A reference of no words is not scored there.
    assert [(utterance.id, utterance.words.errors) for utterance in scored.utterances] == [("u0", 0), ("u2", 0)]
    assert len(rescored(evaluation(), "whisper").utterances) == 3


def test_the_leaderboard_s_file_has_the_raw_texts_and_the_time(tmp_path):
    path = write_leaderboard(evaluation(), tmp_path, "org/name", "LibriSpeech", "test clean")
    assert path.name == "MODEL_org-name_DATASET_LibriSpeech__test-clean.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == [utterance.reference for utterance in evaluation().utterances]
    assert list(rows[0]) == ["audio_filepath", "duration", "time", "text", "pred_text"]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("the white paper is", "the whitepaper is", 0),
        ("whitepaper", "white paper", 0),
        ("alb bee cee", "albbeecee", 0),
        ("ab cc dd", "a bcc dd", 2),
        ("ab cc", "a b dd", 1),
        ("white paper", "whitepaper xx", 1),
        ("a whitepaper bb cc", "a white paper bb dd", 1),
        ("alpha beta", "", 2),
    ],
)
def test_the_leaderboard_lets_compounds_be_written_together_or_apart(reference, hypothesis, errors):
    pytest.importorskip("whisper_normalizer", reason="whisper-normalizer is not installed")
    pair = UtteranceResult.scored("u", reference, hypothesis)
    scored = rescored(Evaluation((pair,), None), "open-asr").utterances[0].words
    assert (scored.errors, scored.reference_length) == (errors, len(reference.split()))
    try:
        import kaldialign
    except ImportError:
        return
    # What the leaderboard scores with.
    theirs = kaldialign.batch_error_rate([reference.split()], [hypothesis.split()], merge_compounds=True)
    assert (theirs["total"], theirs["ref_len"]) == (errors, len(reference.split()))
