"""The scripts in examples/ run with models of the names that they give, small ones with random weights."""

import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")

import asr  # noqa: E402
from tests.convert.test_onnx_folder import noise, onnx_asr_folder  # noqa: E402

ROOT = Path(__file__).parents[2]
MEDASR_LM = """\\data\\
ngram 1={count}
ngram 2=1

\\1-grams:
{unigrams}

\\2-grams:
-0.2\t▁the\ts

\\end\\
"""


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    def printed(name, *arguments):
        soundfile.write(tmp_path / "interview.wav", noise(3.1), 16_000)
        monkeypatch.setattr(sys, "argv", [name, "interview.wav", *arguments])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        return capsys.readouterr().out

    return printed


def test_parakeet(hub, printed, tmp_path):
    hub.add("istupakov/parakeet-ctc-0.6b-onnx", onnx_asr_folder(tmp_path / "source"))
    first, times, *lines = printed("parakeet.py", "the a", "thes").split("\n")
    assert (first, times[12:17]) == ("1", " --> ")
    model = asr.load("istupakov/parakeet-ctc-0.6b-onnx", beam_size=100, hotwords=["the a", "thes"])
    assert " ".join(lines).split()[:4] == model.transcribe(tmp_path / "interview.wav").text.split()[:4]


def test_wav2vec2(hub, printed, tmp_path):
    pytest.importorskip("transformers")
    from tests.convert.random_models import make_model

    make_model("Wav2Vec2 of a group norm", tmp_path / "source")
    hub.add("facebook/wav2vec2-base-960h", tmp_path / "source")
    rows = [line.split() for line in printed("wav2vec2.py").splitlines()]
    times = np.array([row[:3] for row in rows], float)
    assert rows
    assert (times[:, 0] <= times[:, 1]).all()
    assert (times[1:, 0] >= times[:-1, 0]).all()
    assert 2.5 < times[-1, 1] <= 3.11
    assert all(set(row[3]) <= set("ETAOINSHR'") for row in rows)


def test_medasr(hub, printed, tmp_path):
    pytest.importorskip("transformers")
    from tests.convert.random_models import PIECES as TOKENS
    from tests.convert.random_models import make_model

    make_model("Lasr", tmp_path / "source")
    grams = ["-9\t<unk>", "-99\t<s>\t0", "-1\t</s>", *(f"-1\t{token}\t-0.1" for token in TOKENS if token[0] != "<")]
    (tmp_path / "source" / "lm_6.kenlm").write_text(MEDASR_LM.format(count=len(grams), unigrams="\n".join(grams)))
    hub.add("google/medasr", tmp_path / "source")
    text = printed("medasr.py")
    decoding = {"lm": tmp_path / "source" / "lm_6.kenlm", "lm_level": "token", "beam_size": 8}
    expected, greedy = (asr.load("google/medasr", **options).transcribe("interview.wav") for options in (decoding, {}))
    assert text.split() == expected.text.split()
    assert text.split() != greedy.text.split()
