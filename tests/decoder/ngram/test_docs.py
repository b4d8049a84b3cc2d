"""The examples of docs/language-models.md run."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[3] / "docs" / "language-models.md"


@pytest.mark.filterwarnings("ignore:the text is too small")
def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    estimating, kernel, aligning = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "examples"}
    exec(estimating, names)
    model = names["model"]
    exec(kernel, names)
    ids = np.array([model.word_id(word) for word in ("the", "dog", "sat", "</s>")])
    total, _ = names["log_prob"](model.query_arrays, model.start_state, ids)
    assert total == pytest.approx(model.score("the dog sat"))
    names["labels"] = ["<blank>", " ", *"abcdefghijklmnopqrstuvwxyz"]
    rng = np.random.default_rng(0)
    names["log_probs"] = np.log(rng.dirichlet(np.ones(28), 40))
    exec(aligning, names)
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == ["seven", "two", "five"]
