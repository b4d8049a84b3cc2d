"""The README's Python examples run as they stand."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from asr.decoder import log_softmax
from asr.decoder.ngram import estimate

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*discounts")
def test_python_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data_prep/digits/example.wav", "recording.wav")
    np.save("log_probs.npy", log_softmax(4 * np.random.default_rng(1).standard_normal((50, 29))))
    estimate([f"fort {word} is here" for word in ["worth", "wayne", "bragg"] * 9], order=2).write_arpa("lm.arpa")
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 3


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
