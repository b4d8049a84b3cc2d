"""The command line as a user meets it: results on stdout, one line for an error, exit status 1 or 2, no traceback."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.bundle.bundle import FILES
from asr.bundle.shipped import SHIPPED

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "data_prep" / "digits" / "example.wav"


def asr(*arguments, status=0):
    """Run ``asr`` and return its output; its error output where a failure is expected."""
    command = [sys.executable, "-c", "from asr.cli import main; main()", *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr if status else ran.stdout


def test_silence_has_no_words(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32000), 16000)
    soundfile.write(tmp_path / "faint.wav", 1e-3 * np.random.default_rng(1).standard_normal(32000), 16000)
    lines = asr("transcribe", "--model", "an4", "--json", tmp_path / "silence.wav", tmp_path / "faint.wav").splitlines()
    assert len(lines) == 2
    for line in lines:
        result = json.loads(line)
        assert result["text"] == ""
        assert result["duration"] == 2


def test_english_is_taken_where_no_model_is_named_and_writes_nothing_of_noise(tmp_path):
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(1).standard_normal(64000), 16000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(64000), 16000)
    texts = [
        json.loads(line)["text"] for line in asr("transcribe", "--json", *tmp_path.iterdir(), EXAMPLE).splitlines()
    ]
    assert texts[:2] == ["", ""]
    assert texts[2] == asr("transcribe", "--model", "english", EXAMPLE).strip() != ""


def test_one_bad_file_does_not_end_the_job(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio\n" * 50)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan, np.float32), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16000)
    soundfile.write(tmp_path / "good.wav", np.zeros(100), 16000)
    names = ["missing.wav", "empty.wav", "text.wav", "nan.wav", "none.wav"]
    errors = asr("transcribe", "--model", "an4", tmp_path / "good.wav", *(tmp_path / n for n in names), status=1)
    assert len(errors.splitlines()) == 6
    for name, message in zip(names, ("no such file", "is empty", "is not audio", "NaN", "no samples"), strict=True):
        assert any(str(tmp_path / name) in line and message in line for line in errors.splitlines()), (name, errors)
    assert "5 of 6 files failed" in errors


def test_a_model_must_be_known():
    for arguments in (["transcribe", "--model", "an5", "x.wav"], ["info", "an5"]):
        message = asr(*arguments, status=2)
        assert "an4" in message
        assert "Spelled words" in message
    assert "did you mean 'an4'" in asr("info", "an5", status=2)


@pytest.mark.parametrize("name", FILES)
def test_a_bundle_with_a_file_missing_is_named(tmp_path, name):
    shutil.copytree(SHIPPED / "an4", tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    assert f"{name} missing" in asr("info", tmp_path / "model", status=1)


def test_a_damaged_bundle_is_named(tmp_path):
    soundfile.write(tmp_path / "good.wav", np.zeros(100), 16000)
    for name in ("config.json", "tokens.json", "filterbank.npy", "model.onnx"):
        directory = tmp_path / name.replace(".", "_")
        shutil.copytree(SHIPPED / "an4", directory)
        (directory / name).write_bytes((directory / name).read_bytes()[:40])
        assert str(directory) in asr("transcribe", "--model", directory, tmp_path / "good.wav", status=1)


def test_info_says_what_the_model_knows():
    text = asr("info", "an4")
    assert "Spelled words" in text
    assert "WER, test" in text
