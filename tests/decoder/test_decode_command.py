"""``asr decode`` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from asr.decoder import log_softmax
from tests.decoder.brute_force import ARPA, LABELS

ROOT = Path(__file__).parents[2]


def asr(*arguments, status=0, given=b""):
    command = [sys.executable, "-c", "from asr.cli import main; main()", "decode", *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, input=given)
    out, err = ran.stdout.decode(), ran.stderr.decode()
    assert ran.returncode == status, err
    assert "Traceback" not in err
    return err if status else out


def test_files_in_text_out(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "one.npy", tmp_path / "two.npy"]
    for path, said in zip(paths, ([2, 3, 1, 2], [3, 2]), strict=True):
        logits = rng.normal(size=(2 * len(said), 4))
        logits[::2, 0] += 8
        logits[np.arange(1, len(logits), 2), said] += 8
        np.save(path, log_softmax(logits))
    (tmp_path / "lm.arpa").write_text(ARPA)
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    labels = ["--labels", tmp_path / "labels.json"]
    assert asr(*paths, *labels, "--beam-size", 1).splitlines() == [f"{paths[0]}\tab a", f"{paths[1]}\tba"]
    lines = asr(paths[0], *labels, "--lm", tmp_path / "lm.arpa", "--beam-size", 100, "--nbest", 5).splitlines()
    assert len(lines) == 5
    scores = [tuple(map(float, line.split("\t")[:3])) for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert lines[0].endswith("\tab a")
    np.savez(tmp_path / "both.npz", b=np.load(paths[1]), a=np.load(paths[0]), c=np.zeros((2, 9), np.float32))
    lines = [f"{tmp_path / 'both.npz'}:b\tba", f"{tmp_path / 'both.npz'}:a\tab a"]
    assert f"{tmp_path / 'both.npz'}:c: the log-probs have shape" in asr(tmp_path / "both.npz", *labels, status=1)
    np.savez(tmp_path / "both.npz", b=np.load(paths[1]), a=np.load(paths[0]))
    assert asr(tmp_path / "both.npz", *labels, "--beam-size", 1).splitlines() == lines
    for file in (paths[0], tmp_path / "both.npz"):
        assert "ab a" in asr("-", *labels, "--beam-size", 1, given=file.read_bytes())
        if Path("/dev/stdin").exists():
            assert "ab a" in asr("/dev/stdin", *labels, "--beam-size", 1, given=file.read_bytes())
    assert "is not a NumPy array" in asr("-", *labels, given=b"PK\x03\x04", status=1)
    result = json.loads(asr(paths[1], *labels, "--hotword", "ba=2.5", "--json"))
    assert result["hypotheses"][0]["hotword_score"] == 2.5
    (tmp_path / "words.txt").write_text("ab\na\n")
    assert set(asr(paths[1], *labels, "--lexicon", tmp_path / "words.txt").split()) <= {"a", "ab"}
    assert "is not a number" in asr(paths[1], *labels, "--hotword", "ba=x", status=2)
    assert "is not a NumPy array" in asr(tmp_path / "labels.json", *labels, status=1)
    assert "cannot read the labels" in asr(paths[1], "--labels", tmp_path / "none.json", status=2)
    assert "did you mean 'forbid'" in asr(paths[1], *labels, "--oov", "forbit", status=2)
    assert "give one with --lm" in asr(paths[1], *labels, "--alpha", "1", status=2)
    assert "got --lm-level without" in asr(paths[1], *labels, "--lm-level", "token", status=2)
    np.save(tmp_path / "logits.npy", np.ones((4, 4), np.float32))
    errors = asr(tmp_path / "logits.npy", paths[1], tmp_path / "none.npy", *labels, status=1)
    assert str(tmp_path / "logits.npy") in errors
    assert str(tmp_path / "none.npy") in errors
    assert "--normalise" in errors
