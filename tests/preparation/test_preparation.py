import hashlib
import importlib.util
import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr.audio import load_audio, resample
from asr.errors import DataError, UsageError
from asr.features import LogMel, LogMelConfig
from asr.preparation import executors
from asr.preparation import prepare as driver
from asr.preparation.command import load_corpus
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.preparation.shard_tasks import ShardTask
from asr.store.store import AudioStore, FeatureStore
from asr.text import TextProfile

QUICK = PrepareOptions(quiet=True, shard_utterances=4)
FILM = "unreadable audio" if importlib.util.find_spec("av") else "needs PyAV"
REPOSITORY = Path(__file__).parents[2]


def contents(out: Path) -> dict[str, str]:
    """Every file below `out` but the lock, with a digest of its bytes."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_store_holds_what_reading_and_log_mel_give(toy: Corpus, source: Path, tmp_path: Path) -> None:
    summary = prepare(toy, tmp_path / "out", QUICK)
    assert {name: split.utterances for name, split in summary.splits.items()} == {"train": 18, "test": 5}
    store = FeatureStore.open(tmp_path / "out" / "train")
    log_mel = LogMel(toy.features, store.filterbank)
    assert len(store.header.shards) == 5
    for number, utterance in enumerate(store):
        wave = load_audio(source / "wav" / f"{utterance.id}.wav", 8_000)
        np.testing.assert_array_equal(utterance.features, log_mel(wave.samples).astype(np.float16))
        assert utterance.duration_seconds == wave.duration_seconds == store.durations_seconds[number]
        assert len(utterance.features) == store.num_frames[number]
        assert utterance.source == f"wav/{utterance.id}.wav"
        assert utterance.text == utterance.text.lower() == store.texts[number]
        assert not utterance.features.flags.owndata
    assert list(store.ids) == [utterance.id for utterance in store]


def test_two_processes_give_the_same_bytes(toy: Corpus, tmp_path: Path) -> None:
    for jobs in (1, 2):
        prepare(toy, tmp_path / str(jobs), replace(QUICK, jobs=jobs))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def files_in(folder: Path) -> list[str]:
    """Return the files that have their final names."""
    return [path.name for path in folder.rglob("*") if path.suffix in (".jsonl", ".arrow", ".json", ".index", ".npy")]


# Everything is imported once; each line that comes in is a folder, and a preparation in a process of its own.
SCRIPT = """
import os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import librosa.filters, matplotlib.backends.backend_svg, pyarrow, scipy.fft, soundfile
import asr.preparation.prepare
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.preparation.manifests import ManifestOptions, manifest_corpus
from asr.features import LogMelConfig
# What a killed process has written stays; to wait for the disk guards against power cuts alone.
os.fsync = lambda _: None
options = ManifestOptions(features=LogMelConfig(sample_rate=8_000, n_mels=20))
corpus = manifest_corpus("toy", {"train": Path(sys.argv[1], "train.jsonl")}, options)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        prepare(corpus, line.strip(), PrepareOptions(quiet=True, shard_utterances=2))
        os._exit(0)
    print(pid, flush=True)
    sys.stdin.readline()  # until then the id is of no other process, even if this one has ended
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
KILLS = 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed as on POSIX systems")
def test_a_run_killed_ten_times_ends_in_the_same_bytes(source: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (source / "list.jsonl").read_text().splitlines()]
    lines = [json.dumps({"audio_filepath": f"wav/{row['id']}.wav", "text": row["text"]}) for row in rows]
    (source / "train.jsonl").write_text("\n".join(lines))
    command = [sys.executable, "-c", SCRIPT, str(source), str(REPOSITORY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None

        def start(out: Path) -> int:
            print(out, file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        def end() -> int:
            print("wait", file=parent.stdin, flush=True)
            return int(parent.stdout.readline())

        start(tmp_path / "whole")
        assert end() == 0
        whole = contents(tmp_path / "whole")
        seed = int(os.environ.get("ASR_TEST_SEED") or secrets.randbits(32))
        print(f"ASR_TEST_SEED={seed}")  # shown if this fails; the moments within a file depend on the machine, too
        rng, killed, deaths = np.random.default_rng(seed), tmp_path / "killed", 0
        while deaths < KILLS:
            # At a random moment after so many more files are there: a slow disk must not decide which.
            process, wanted = start(killed), len(files_in(killed)) + rng.integers(0, 7)
            while len(files_in(killed)) < wanted and not (killed / "report.html").exists():
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            os.kill(process, signal.SIGKILL)
            deaths += end() == -signal.SIGKILL
            for name, digest in contents(killed).items():
                # What has its final name is final, and complete.
                assert name.endswith(".tmp") or ".work" in name or whole[name] == digest, name
            if (killed / "report.html").exists():
                shutil.rmtree(killed)
        start(killed)
        assert end() == 0
        assert contents(killed) == whole
        parent.stdin.close()


def test_what_is_finished_is_not_read_again(toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = executors.run_tasks, []

    def some(tasks, *rest):
        seen.append(len(tasks))
        run(tasks[: 2 if len(seen) == 1 else None], *rest)
        if len(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(driver, "run_tasks", some)
    with pytest.raises(KeyboardInterrupt):
        prepare(toy, tmp_path / "out", QUICK)
    with pytest.raises(DataError, match="not finished"):
        FeatureStore.open(tmp_path / "out" / "train")
    prepare(toy, tmp_path / "out", QUICK)
    prepare(toy, tmp_path / "out", QUICK)
    # Seven shards, two done before the interruption; nothing at all the third time.
    assert seen == [7, 5, 0]


def test_a_worker_loads_nothing_heavy(toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(tasks: list[ShardTask], *_: object) -> None:
        (tmp_path / "task").write_bytes(pickle.dumps(tasks[0]))
        raise KeyboardInterrupt

    monkeypatch.setattr(driver, "run_tasks", keep)
    with pytest.raises(KeyboardInterrupt):
        prepare(toy, tmp_path / "out", QUICK)
    code = (
        "import pathlib, pickle, sys; import asr.preparation.executors as executors; "
        "receipt = executors.prepare_shard(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())); "
        "heavy = {'librosa', 'matplotlib', 'PIL', 'torch', 'numba', 'scipy.signal', 'rich', 'pandas'}; "
        "print(len(receipt.measures), heavy & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "task")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    assert output.strip() == "4 set()"


def test_other_options_are_refused_and_force_replaces(toy: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy, out, QUICK)
    other = replace(QUICK, features=replace(toy.features, n_mels=16))
    before = contents(out)
    with pytest.raises(DataError, match=r"n_mels 20 → 16.*--force"):
        prepare(toy, out, other)
    assert contents(out) == before
    prepare(toy, out, replace(other, force=True))
    assert FeatureStore.open(out / "train")[0].features.shape[1] == 16


def test_a_complete_store_keeps_no_working_files(toy: Corpus, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy, out, QUICK)
    before = contents(out)
    (out / "train" / ".work").mkdir()  # killed between the header and the removal
    (out / "train" / ".work" / "slice-00000.jsonl").write_text("{}")
    prepare(toy, out, QUICK)
    assert contents(out) == before
    text = (source / "list.jsonl").read_text()
    (source / "list.jsonl").write_text(text.replace('"text": "', '"text": "THEN ', 1))
    shutil.rmtree(out / "train")
    with pytest.raises(DataError, match="the corpus or its transcripts changed"):
        prepare(toy, out, QUICK)
    assert not (out / "test" / ".work").exists()


def test_stores_are_plain_log_mel_and_normalised_ones_are_refused(toy: Corpus, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy, out, QUICK)
    store = FeatureStore.open(out / "train")
    index = list(store.ids).index("train-01")
    expected = LogMel(store.config)(load_audio(source / "wav" / "train-01.wav", 8000).samples)
    np.testing.assert_array_equal(store[index].features, expected.astype(np.float16))
    path = out / "train" / "store.json"
    header = json.loads(path.read_text())

    def of_format_1(normalisation: str, kind: str = "features") -> None:
        features = {**header["features"], "normalisation": normalisation, "mean": [], "std": []}
        path.write_text(json.dumps({**header, "format": 1, "kind": kind, "features": features}))

    of_format_1("none")
    np.testing.assert_array_equal(FeatureStore.open(out / "train")[index].features, store[index].features)
    prepare(toy, out, QUICK)
    of_format_1("utterance", kind="audio")
    assert AudioStore.open(out / "train").config == store.config
    of_format_1("utterance")
    for use in (lambda: FeatureStore.open(out / "train"), lambda: prepare(toy, out, QUICK)):
        with pytest.raises(DataError, match=r"normalised \('utterance'\); expected plain ones.*again with --force"):
            use()
    prepare(toy, out, replace(QUICK, force=True))
    assert FeatureStore.open(out / "train").config == store.config


def test_parts_joins_and_speeds(source: Path, toy: Corpus, tmp_path: Path) -> None:
    first, second = source / "wav" / "test-00.wav", source / "wav" / "train-01.wav"

    def parse(_root: Path) -> list[RawUtterance]:
        return [
            RawUtterance("part", first, "a", "one", "train", start_seconds=0.1, end_seconds=0.35),
            RawUtterance("joined", (first, second), "a b", "one", "train", gaps_seconds=(0.25,)),
        ]

    corpus = replace(toy, parse=parse)
    prepare(corpus, tmp_path / "out", replace(QUICK, kind="audio", speeds=(0.8,)))
    store = AudioStore.open(tmp_path / "out" / "train")
    a, b = (load_audio(path, 8_000).samples for path in (first, second))
    joined = np.concatenate([a, np.zeros(2_000, dtype=np.float32), b])
    expected = {
        "part": a[800:2800],
        "sp0.8-part": resample(a[800:2800], 6_400, 8_000),
        "joined": joined,
        "sp0.8-joined": resample(joined, 6_400, 8_000),
    }
    assert list(store.ids) == list(expected)
    for utterance in store:
        np.testing.assert_allclose(utterance.samples / 32768, expected[utterance.id], atol=1 / 32768)
    assert list(store.sources)[:2] == ["wav/test-00.wav#t=0.1,0.35", "wav/test-00.wav#t=0.1,0.35&speed=0.8"]


def test_what_is_wrong_is_left_out_and_named(source: Path, toy: Corpus, tmp_path: Path, say: Any) -> None:
    import soundfile

    wav = source / "wav"
    (wav / "empty.wav").write_bytes(b"")
    (wav / "text.wav").write_text("this is no audio at all")
    (wav / "film.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(64))
    soundfile.write(wav / "silence.wav", np.zeros(8_000), 8_000)
    say(wav / "short.wav", 0.01, 1)
    say(wav / "cut.wav", 2.0, 3)
    os.truncate(wav / "cut.wav", 20_000)
    say(wav / "chatty.wav", 0.5, 2)
    rows = [
        {"id": name, "text": text, "split": "train"}
        for name, text in {
            "empty": "a", "text": "a", "cut": "a", "film": "a", "silence": "a word", "short": "a",
            "chatty": "word " * 30, "train-01": "again", "train-02": "... !", "absent": "a",
        }.items()
    ]  # fmt: skip
    with (source / "list.jsonl").open("a") as file:
        file.write("".join("\n" + json.dumps(row) for row in rows))
    summary = prepare(toy, tmp_path / "out", QUICK)
    assert summary.splits["train"].rejected == {
        "empty audio": 1, **Counter(["unreadable audio", FILM]), "silence": 1, "too short": 1,
        "truncated audio": 1, "text too long for audio": 1, "duplicate id": 1, "empty transcript": 1,
        "missing audio": 1,
    }  # fmt: skip
    assert summary.splits["train"].utterances == 18
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["splits"]["train"]["rejected"]["empty audio"]["examples"][0].startswith("empty: ")
    assert "text too long for audio" in (tmp_path / "out" / "report.html").read_text()


def test_what_a_file_is_called_is_not_what_is_wrong_with_it(toy: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "empty room, no samples.wav"
    path.write_text("this is no audio at all")
    rows = [RawUtterance("a", path, "a", "", "train"), RawUtterance("b", path.with_name("b.wav"), "b", "", "train")]
    path.with_name("b.wav").touch()
    with pytest.raises(DataError, match="unreadable audio 1, empty audio 1"):
        prepare(replace(toy, parse=lambda _: rows), tmp_path / "out", QUICK)


def test_a_pipe_gets_no_line_of_the_progress_bar(toy: Corpus, tmp_path: Path, capsys: Any) -> None:
    prepare(toy, tmp_path / "out", replace(QUICK, quiet=False))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(tmp_path / "out" / name) for name in ("train", "test")]


def test_receipts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    class Done(Executor):
        def submit(self, *_: object, **__: object) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_result(None)
            alive.add(future)
            return future

    alive: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
    seen: list[int] = []
    monkeypatch.setattr(executors, "ProcessPoolExecutor", lambda *_, **__: Done())
    executors.run_tasks([object()] * 20, 2, "", lambda *_: seen.append(len(alive)))  # type: ignore[list-item]
    assert seen == list(range(20, 0, -1))


def test_characters_outside_the_alphabet_are_never_dropped_silently(toy: Corpus, source: Path, tmp_path: Path) -> None:
    text = (source / "list.jsonl").read_text()
    (source / "list.jsonl").write_text(text.replace('"text": "', '"text": "Caf\\u00e9 7 ', 1))
    with pytest.raises(DataError, match=r"'7' \(U\+0037\) 1 times.*\n.*'é' \(U\+00E9\).*\n.*--unknown map"):
        prepare(toy, tmp_path / "refuse", QUICK)
    assert not list(tmp_path.glob("refuse/*/shard*"))
    with pytest.raises(DataError, match="1 characters"):
        prepare(toy, tmp_path / "map", replace(QUICK, unknown="map"))
    prepare(toy, tmp_path / "drop", replace(QUICK, unknown="drop"))
    store = FeatureStore.open(tmp_path / "drop" / "test")
    assert store.texts[0].startswith("caf ")
    assert store.header.outside_alphabet == {"7": 1, "é": 1}
    rejected = prepare(toy, tmp_path / "reject", replace(QUICK, unknown="reject")).splits["test"].rejected
    assert rejected == {"characters outside the alphabet": 1}


def test_absent_splits(toy: Corpus, tmp_path: Path) -> None:
    summary = prepare(replace(toy, on_request=()), tmp_path / "all", QUICK)
    assert summary.warnings == ("toy: the split extra is missing",)
    with pytest.raises(DataError, match="asked for extra"):
        prepare(toy, tmp_path / "one", replace(QUICK, splits=("extra",)))
    with pytest.raises(UsageError, match="did you mean 'train'"):
        prepare(toy, tmp_path / "one", replace(QUICK, splits=("trian",)))


def test_a_half_extracted_corpus_is_refused(toy: Corpus, source: Path, tmp_path: Path) -> None:
    for path in sorted((source / "wav").glob("train-*"))[:5]:
        path.unlink()
    with pytest.raises(DataError, match=r"5 of 18 recordings are missing.*--allow-missing"):
        prepare(toy, tmp_path / "out", QUICK)
    summary = prepare(toy, tmp_path / "out", replace(QUICK, allow_missing=True))
    assert summary.splits["train"].utterances == 13


def test_a_file_that_changes_meanwhile_is_an_error(
    toy: Corpus, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = executors.run_tasks

    def meddle(*arguments):
        with (source / "wav" / "train-01.wav").open("ab") as file:
            file.write(b"more")
        run(*arguments)

    monkeypatch.setattr(driver, "run_tasks", meddle)
    with pytest.raises(DataError, match=r"train-01.wav: changed during the preparation"):
        prepare(toy, tmp_path / "out", QUICK)


def test_the_report_finds_what_splits_share(toy: Corpus, source: Path, tmp_path: Path) -> None:
    (source / "wav" / "train-01.wav").write_bytes((source / "wav" / "test-00.wav").read_bytes())
    prepare(toy, tmp_path / "out", QUICK)
    (between,) = json.loads((tmp_path / "out" / "report.json").read_text())["between"]
    assert between["splits"] == ["test", "train"]
    assert between["audio"] == {"count": 1, "examples": ["test-00"]}
    assert between["speakers"] == {"count": 1, "examples": ["one"]}


def test_a_full_disk_is_one_clear_error(toy: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asr.store.layout as shards

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shards.ShardWriter, "close", full)
        with pytest.raises(DataError, match=r"No space left on device.*again to resume"):
            prepare(toy, out, QUICK)
        assert not list(out.glob("*/shard*"))
        assert not list(out.glob("*/.shard*"))
    prepare(toy, out, QUICK)
    FeatureStore.open(out / "train").verify()


def test_one_preparation_at_a_time(toy: Corpus, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="locks files on POSIX systems only")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another preparation is writing to it"):
            prepare(toy, tmp_path / "out", QUICK)


def test_recordings_without_text(toy: Corpus, tmp_path: Path) -> None:
    noise = replace(toy, profile=None, kind="audio")
    prepare(noise, tmp_path / "out", QUICK)
    store = AudioStore.open(tmp_path / "out" / "train")
    assert set(store.texts) == {""}
    assert store[0].samples.dtype == np.int16
    with pytest.raises(DataError, match=r"AudioStore\.open"):
        FeatureStore.open(tmp_path / "out" / "train")


def test_the_command_line(toy: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from asr.preparation.command import run

    out = str(tmp_path / "out")
    arguments = [
        "--out",
        out,
        "--features",
        "n_mels=12",
        "--limits",
        "max_seconds=1",
        "--jobs",
        "1",
        "--splits",
        "train",
    ]
    assert run(toy, [*arguments, "--quiet"]) == 0
    store = FeatureStore.open(tmp_path / "out" / "train")
    assert store.config == LogMelConfig(sample_rate=8_000, n_mels=12)
    assert store.durations_seconds.max() <= 1 < 18 - len(store)
    assert run(toy, ["--out", out, "--features", "n_mel=12"]) == 2
    assert "did you mean 'n_mels'" in capsys.readouterr().err
    assert run(toy, ["--out", out, "--splits", "test", "--source", str(tmp_path / "nowhere")]) == 1
    assert run(toy, ["--out"]) == 2


def test_corpora_are_found_by_name() -> None:
    assert load_corpus("an4").name == "an4"
    with pytest.raises(UsageError, match="did you mean 'librispeech'"):
        load_corpus("libri_speech")
    with pytest.raises(UsageError, match="no such corpus script"):
        load_corpus("nowhere/an4.py")


def test_another_profile(toy: Corpus, tmp_path: Path) -> None:
    upper = TextProfile(name="upper", case="upper", replacements={"SO": "THUS"})
    prepare(toy, tmp_path / "out", replace(QUICK, profile=upper))
    store = FeatureStore.open(tmp_path / "out" / "train")
    assert all(text == text.upper() and "SO" not in text for text in store.texts)
