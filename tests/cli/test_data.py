import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli.data import export, show, verify
from asr.errors import DataError, UsageError
from asr.features import LogMelConfig
from asr.preparation.manifests import ManifestOptions, manifest_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("asr.preparation.prepare.write_report", lambda *_: None)
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(8_000), 8_000)
    (tmp_path / "a.csv").write_text("audio,text\na.wav,it is\n")
    options = ManifestOptions(features=LogMelConfig(sample_rate=8_000, n_mels=20))
    prepare(
        manifest_corpus("mine", {"train": tmp_path / "a.csv"}, options), tmp_path / "out", PrepareOptions(quiet=True)
    )
    return tmp_path / "out" / "train"


def test_show_verify_and_export(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(store)
    assert "1 utterances, 0.00 h, 0 speakers, features" in capsys.readouterr().out
    verify([store])
    export(store, tmp_path / "b.jsonl", root=tmp_path, format="nemo")
    row = json.loads((tmp_path / "b.jsonl").read_text())
    assert (row["audio_filepath"], row["duration"], row["text"]) == (str(tmp_path / "a.wav"), 1.0, "it is")
    with pytest.raises(UsageError, match="did you mean 'nemo'"):
        export(store, tmp_path / "b.jsonl", format="nemmo")
    with (store / "shard-00000.arrow").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="checksum"):
        verify([store])
