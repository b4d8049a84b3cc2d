"""The examples of docs/data.md run, in Python and in the shell, on small corpora in the places of real ones."""

import io
import json
import re
import runpy
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="preparation needs the [data] extra")

from asr.cli import main
from asr.preparation.command import run
from asr.preparation.corpus import Corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.store.store import open_store

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("  #")[0].strip()
    for line in re.findall(r"^    ((?:asr |python |ASR_ARCHIVES=).*)$", DOCS, flags=re.MULTILINE)
]
Speak = Callable[[Path, float, int], None]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, flags=re.DOTALL)


def test_examples(toy: Corpus, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(toy, tmp_path / "data" / "an4", PrepareOptions(source=source, quiet=True, jobs=1))
    monkeypatch.chdir(tmp_path)
    reading, elsewhere = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(reading, "data.md", "exec"), names)
    store = names["store"]
    assert names["utterance"].features.shape == (store.num_frames[0], store.config.n_mels)
    # The first half needs pyarrow alone, the second downloads nothing but keeps a cache.
    exec(compile(elsewhere.partition("\n\n")[0], "data.md", "exec"), names)
    assert sorted(names["table"].column("id").to_pylist()) == sorted(store.ids)


@pytest.fixture
def place(tmp_path: Path, say: Speak, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data_prep, and archives of AN4 and LibriSpeech of three utterances each in ~/corpora."""
    corpora = tmp_path / "home" / "corpora"
    an4, libri = tmp_path / "an4", tmp_path / "LibriSpeech"
    (an4 / "etc").mkdir(parents=True)
    (an4 / "etc/an4_train.transcription").write_text("<s> YES </s> (an251-fash-b)\n<s> NO </s> (cen1-mblb-b)\n")
    (an4 / "etc/an4_test.transcription").write_text("GO (an409-fcaw-b)\n")
    for seed, name in enumerate(("an4_clstk/fash/an251-fash-b", "an4_clstk/mblb/cen1-mblb-b")):
        say(an4 / "wav" / f"{name}.wav", 1.0, seed)
    say(an4 / "wav/an4test_clstk/fcaw/an409-fcaw-b.wav", 1.0, 2)
    for seed, part in enumerate(("train-clean-100", "dev-clean")):
        chapter = libri / part / "19" / f"22{seed}"
        say(chapter / f"19-22{seed}-0000.wav", 1.0, 3 + seed)
        (chapter / f"19-22{seed}.trans.txt").write_text(f"19-22{seed}-0000 CHAPTER THIRTY\n")
    corpora.mkdir(parents=True)
    for name, folder in (("an4_sphere", an4), ("LibriSpeech", libri)):
        with tarfile.open(corpora / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(folder, folder.name)
    work = tmp_path / "work"
    work.mkdir()
    (work / "data_prep").symlink_to(ROOT / "data_prep")
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASR_ARCHIVES", str(corpora))
    # In this process: a pool of them would take longer than all the rest.
    monkeypatch.setattr("asr.preparation.prepare.run_tasks", _run_here)
    return work


def _run_here(tasks: Any, _jobs: int, cluster: str, on_done: Any) -> None:
    from asr.preparation.executors import run_tasks

    run_tasks(tasks, 1, cluster, on_done)


def shell(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line of the page here: a script of data_prep, or asr."""
    words = shlex.split(command)
    if "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, str(Path(value).expanduser()))
    monkeypatch.setattr("sys.argv", words if words[0] == "asr" else words[1:])
    with pytest.raises(SystemExit) as ended:
        main() if words[0] == "asr" else runpy.run_path(words[1], run_name="__main__")
    assert not ended.value.code, command


def test_commands(place: Path, say: Speak, monkeypatch: pytest.MonkeyPatch) -> None:
    (manifest,), (table,) = blocks("json"), blocks("text")
    for path, seconds, seed in (("calls/1.wav", 3.2, 5), ("calls/2.wav", 4.0, 6)):
        say(place / path, seconds, seed)
    say(place / "calls/3.wav", 1.0, 7)
    (place / "train.jsonl").write_text(manifest)
    (place / "dev.jsonl").write_text(json.dumps({"audio_filepath": "calls/3.wav", "duration": 1.0, "text": "so"}))
    (place / "table.csv").write_text(table)
    assert len(COMMANDS) == 6
    for command in COMMANDS:
        if "lhotse" in command:
            pytest.importorskip("lhotse", reason="its cuts need the [corpora] extra")
        shell(command, monkeypatch)
    texts = {
        str(folder.relative_to("data")): list(open_store(folder).texts)
        for folder in sorted(path.parent for path in Path("data").glob("*/*/store.json"))
    }
    assert texts == {
        "an4/train": ["yes"],
        "an4/dev": ["no"],
        "an4/test": ["go"],
        "librispeech/train-clean-100": ["chapter thirty"],
        "librispeech/dev-clean": ["chapter thirty"],
        "mine/train": ["hello there", "good bye"],
        "mine/dev": ["so"],
        "table/train": ["hello there"],
        "table/test": ["good bye"],
    }
    assert [float(value) for value in open_store("data/mine/train").durations_seconds] == [3.2, 2.0]
    (exported,) = Path("train.jsonl").read_text().splitlines()
    row = json.loads(exported)
    assert (row["text"], Path(row["audio_filepath"]).is_file()) == ("yes", True)


def test_the_message_on_characters(
    toy: Corpus, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (source / "list.jsonl").read_text().splitlines()]
    rows[0]["text"] = "Café 7 and it is"
    (source / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run(toy, ["--source", str(source), "--out", str(tmp_path / "out"), "--jobs", "1"]) != 0
    message = re.search(r"(?m)^    (error: 2 characters(?:.*\n    )+.*)$", DOCS)
    assert message is not None
    expected = message[1].replace("\n    ", "\n")
    assert expected in io.StringIO(capsys.readouterr().err).read()
