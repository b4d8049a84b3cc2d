"""``asr align``: what it prints, and what it says of a text that is not there."""

import gzip
import json

import pytest
import typer
from typer.testing import CliRunner

from asr.cli.align import align
from asr.decoder import Word
from asr.errors import DataError, UsageError
from asr.transcription import aligning, transcribe
from asr.transcription.transcript import Segment, Transcript


@pytest.fixture
def run(monkeypatch):
    """Run the command with a stand-in for the model, which says each word after half a second."""

    def align_audio(_transcriber, _source, text):
        words = tuple(Word(word, i / 2, i / 2 + 0.25, 0.5) for i, word in enumerate(text.split(), start=1))
        return Transcript((Segment(0.0, 9.0, " ".join(text.split()), words),), 9.0)

    monkeypatch.setattr(aligning, "align_audio", align_audio)
    monkeypatch.setattr(transcribe, "Transcriber", lambda _model, **_options: None)
    app = typer.Typer()
    app.command()(align)

    def invoke(*arguments, text=None):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def test_a_line_for_each_word_or_json(run, tmp_path):
    (tmp_path / "words.txt").write_text("\ufeffeins\nzwei ä\n", encoding="utf-8")
    lines = run("a.wav", tmp_path / "words.txt", "--model", "m").splitlines()
    assert lines == ["0.500\t0.750\t0.5000\teins", "1.000\t1.250\t0.5000\tzwei", "1.500\t1.750\t0.5000\tä"]
    (tmp_path / "words.gz").write_bytes(gzip.compress((tmp_path / "words.txt").read_bytes()))
    assert run("a.wav", tmp_path / "words.gz", "--model", "m").splitlines() == lines
    assert run("a.wav", "-", "--model", "m", text=(tmp_path / "words.gz").read_bytes()).splitlines() == lines
    result = json.loads(run("a.wav", "-", "--model", "m", "--json", text="eins zwei"))
    assert (result["file"], result["text"]) == ("a.wav", "eins zwei")
    assert result["segments"][0]["words"][1] == {"word": "zwei", "start": 1.0, "end": 1.25, "probability": 0.5}


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(UsageError, match="--model is missing"):
        run("a.wav", "-", text="eins")
    with pytest.raises(DataError, match=r"hello world: No such file .*TEXT is a file"):
        run("a.wav", "hello world", "--model", "m")
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        run("a.wav", tmp_path / "latin1.txt", "--model", "m")
