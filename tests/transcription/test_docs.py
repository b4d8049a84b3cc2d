"""The Python examples of docs/transcribing.md run, one after another."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_examples(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "data_prep" / "digits" / "example.wav", tmp_path / "call.wav")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "transcribing.md").read_text(), flags=re.DOTALL):
        exec(compile(block, "transcribing.md", "exec"), names)
    printed = capsys.readouterr().out
    assert names["segments"] == ()
    assert printed.startswith(names["transcript"].text)
    assert "failed: missing.wav: no such file" in printed
    assert " --> " in printed
