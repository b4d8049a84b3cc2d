"""The Python examples of docs/data.md run, on a small store where the page has AN4's."""

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="preparation needs the [data] extra")

from asr.preparation.corpus import Corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare

DOCS = Path(__file__).parents[2] / "docs" / "data.md"


def test_examples(toy: Corpus, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(toy, tmp_path / "data" / "an4", PrepareOptions(source=source, quiet=True, jobs=1))
    monkeypatch.chdir(tmp_path)
    reading, elsewhere = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(reading, "data.md", "exec"), names)
    store = names["store"]
    assert names["utterance"].features.shape == (store.num_frames[0], store.config.n_mels)
    # The first half needs pyarrow alone, the second downloads nothing but keeps a cache.
    exec(compile(elsewhere.partition("\n\n")[0], "data.md", "exec"), names)
    assert sorted(names["table"].column("id").to_pylist()) == sorted(store.ids)
