"""Hypotheses on the disk: what is written is read again, and what cannot be meant is refused by name."""

import json
from dataclasses import replace

import pytest

from asr.decoder import Word
from asr.errors import AsrError
from asr.evaluation.hypotheses import read_evaluation, write_hypotheses
from asr.evaluation.results import Evaluation, UtteranceResult


def utterance(id, reference, hypothesis, speaker="ann"):
    return replace(
        UtteranceResult.scored(id, reference, hypothesis),
        speaker=speaker,
        duration_seconds=1.25,
        source=f"wav/{id}.wav",
        timed_words=tuple(Word(text, 0.04 * i, 0.04 * i + 0.04, 0.5) for i, text in enumerate(hypothesis.split())),
    )


EVALUATION = Evaluation(
    (
        utterance("u-1", "one two three", "one too three"),
        utterance("u-2", "naïve «ß» don't", "naïve", "bob (x)"),
        utterance("u-3", "four", ""),
        utterance("u-4", "", "five five"),
    )
)


def test_json_lines_keep_everything(tmp_path):
    write_hypotheses(EVALUATION, tmp_path)
    assert read_evaluation(tmp_path) == EVALUATION
    rows = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["text"], row["pred_text"]) for row in rows] == [
        (u.reference, u.hypothesis) for u in EVALUATION.utterances
    ]
    assert rows[0]["errors"] == {"substitutions": 1, "insertions": 0, "deletions": 0, "hits": 2}


def test_trn_files_keep_texts_and_speakers(tmp_path):
    write_hypotheses(EVALUATION, tmp_path)
    lines = (tmp_path / "hyp.trn").read_text(encoding="utf-8").splitlines()
    assert lines == ["one too three (ann-u-1)", "naïve (bob..x.-u-2)", "(ann-u-3)", "five five (ann-u-4)"]
    found = read_evaluation(tmp_path / "hyp.trn")
    assert [(u.reference, u.hypothesis, u.words) for u in found.utterances] == [
        (u.reference, u.hypothesis, u.words) for u in EVALUATION.utterances
    ]
    assert [u.speaker for u in found.utterances] == ["ann", "bob..x.", "ann", "ann"]


def test_a_manifest_of_nemo_is_read(tmp_path):
    path = tmp_path / "preds.json"
    row = {"audio_filepath": "/data/a.wav", "duration": 2, "text": "a b", "pred_text": "a c", "wer": 0.5}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (found,) = read_evaluation(path).utterances
    assert (found.id, found.duration_seconds, found.words.substitutions) == ("/data/a.wav", 2.0, 1)


GOOD = '{"id": "x", "text": "a", "pred_text": "a"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("h.jsonl", "{", "hypothesis 1: is not JSON"),
        ("h.jsonl", GOOD + '{"id": "y", "text": "a"}', "hypothesis 2: got id, text; expected text"),
        ("h.jsonl", '{"text": "a", "pred_text": "a"}', "neither id nor audio_filepath"),
        ("h.jsonl", GOOD + GOOD, "the id x occurs twice"),
        ("h.jsonl", "", "holds no hypothesis"),
        ("h.jsonl", GOOD.replace("}", ', "duration": "long"}'), "invalid duration or words"),
        ("h.jsonl", GOOD.replace("}", ', "words": [{"word": "a"}]}'), "invalid duration or words"),
        ("h.txt", "a (b)", "is of an unknown kind"),
        ("h.trn", "one two three", "expected words, then \\(speaker-utterance\\)"),
        ("h.trn", "one (a-1)\ntwo (a-1)", "occurs twice"),
        ("h.trn", "one (a-1)\ntwo (a-2)", "1 too many \\(a-2\\)"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / "ref.trn").write_text("one (a-1)\n", encoding="utf-8")
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(AsrError, match=message):
        read_evaluation(tmp_path / name)


def test_missing_files_are_named(tmp_path):
    (tmp_path / "h.trn").write_text("one (a-1)\n", encoding="utf-8")
    with pytest.raises(AsrError, match=r"ref\.trn: no such file"):
        read_evaluation(tmp_path / "h.trn")
    with pytest.raises(AsrError, match="holds neither"):
        read_evaluation(tmp_path)
    with pytest.raises(AsrError, match="no such file; expected hypotheses"):
        read_evaluation(tmp_path / "none.jsonl")
