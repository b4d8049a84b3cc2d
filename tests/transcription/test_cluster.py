"""Transcripts from a cluster are those of one process, whoever dies; what its workers lack is named."""

import contextlib
import io
import shutil
import signal
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("distributed", reason="dask.distributed is not installed")

from asr import cluster as dask
from asr.bundle.shipped import SHIPPED
from asr.cli import app
from asr.errors import AsrError, DataError, UsageError
from asr.transcription import job
from tests.dask_cluster import cluster

EXAMPLE = Path(__file__).parents[2] / "data_prep" / "digits" / "example.wav"
pytestmark = pytest.mark.filterwarnings("ignore")


def asr(*arguments, status=0):
    """Run ``asr transcribe`` here, and return its output and its error output."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        assert (app(["transcribe", *map(str, arguments)], standalone_mode=False) or 0) == status, errors.getvalue()
    return out.getvalue(), errors.getvalue()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def recordings(tmp_path):
    """Forty recordings, four of them broken."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    speech, rate = soundfile.read(EXAMPLE, dtype="float32")
    for index in range(40):
        soundfile.write(folder / f"{index:02}.wav", speech[: (index + 1) * len(speech) // 40], rate)
        if index % 10 == 3:
            (folder / f"{index:02}.wav").write_bytes(b"this is no audio\n" * 50)
    return folder


def test_a_cluster_makes_the_same_folder_whoever_dies(recordings, tmp_path, monkeypatch):
    model = tmp_path / "model"
    shutil.copytree(SHIPPED / "an4", model)
    monkeypatch.chdir(tmp_path)
    # Paths that only this process could follow, if they went out as they are.
    given = ["recordings", "--model", "model", "-f", "txt,json"]
    asr(*given, "--threads", 1, "-o", "here", status=1)
    printed = asr("recordings", "--model", "model", "--threads", 1, status=1)[0]
    with cluster(tmp_path / "dask") as (address, (scheduler, worker, _)):
        errors = asr(*given, "-o", "there", "--cluster", address, status=1)[1]
        assert contents(tmp_path / "there") == contents(tmp_path / "here")
        assert len(contents(tmp_path / "here")) == 2 * 36
        assert all(f"{recordings}/{index:02}.wav" in errors for index in (3, 13, 23, 33))
        assert "36 written, 4 failed" in errors
        assert asr("recordings", "--model", "model", "--cluster", address, status=1)[0] == printed

        hidden = tmp_path / "hidden"
        with monkeypatch.context() as patch:
            # What is here, and not where the workers are.
            patch.setattr(job, "_groups", after_groups(lambda: model.rename(hidden)))
            with pytest.raises(AsrError, match=r"worker tcp://.*model .* is neither a directory"):
                asr("recordings", "--model", "model", "--beam-size", 1, "--cluster", address)
        hidden.rename(model)
        with monkeypatch.context() as patch:
            patch.setattr(dask, "__version__", "0")
            with pytest.raises(AsrError, match=r"worker tcp://.* has version .* of ctc-asr; expected 0"):
                asr(*given, "-o", "version", "--cluster", address)

        with monkeypatch.context() as patch:
            patch.setattr(job, "results", after_results(2, lambda: worker.send_signal(signal.SIGKILL)))
            asr(*given, "-o", "killed", "--cluster", address, status=1)
        assert worker.wait() == -signal.SIGKILL
        assert contents(tmp_path / "killed") == contents(tmp_path / "here")
        with monkeypatch.context() as patch:
            patch.setattr(job, "results", after_results(2, scheduler.kill))
            with pytest.raises(DataError, match=r"the scheduler or its workers failed .*--skip-existing"):
                asr(*given, "-o", "resumed", "--cluster", address)
    left = contents(tmp_path / "resumed")
    assert 0 < len(left) < 72
    assert left.items() <= contents(tmp_path / "here").items()
    asr(*given, "--threads", 1, "-o", "resumed", "--skip-existing", status=1)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "here")


def after_results(count, act):
    """Return `results`, with `act` called once so many are there."""

    def results(*arguments, **options):
        for number, result in enumerate(dask.results(*arguments, **options), start=1):
            yield result
            if number == count:
                act()

    return results


def after_groups(act):
    """Return `_groups`, with `act` called once they are asked for."""
    groups = job._groups

    def changed(*arguments):
        act()
        return groups(*arguments)

    return changed


def test_what_a_cluster_cannot_do_is_refused(recordings):
    for arguments, message in (
        (["-", "--cluster", "tcp://127.0.0.1:1"], "cannot read the standard input"),
        ([recordings, "--jobs", 2, "--cluster", "tcp://127.0.0.1:1"], "leave one of them out"),
    ):
        with pytest.raises(UsageError, match=message):
            asr("--model", "an4", *arguments)


def test_a_worker_that_does_not_see_the_files_is_named(recordings, monkeypatch):
    task = job._ClusterTask(job.JobOptions("an4"), "", [], [str(recordings / "00.wav"), "/nowhere/1.wav"])
    with pytest.raises(AsrError, match=r"/nowhere/1\.wav: does not exist here.*1 such files of 2"):
        job._work_on_cluster(task)
    with monkeypatch.context() as patch:
        # As for a user who may not read it; the one who runs tests may be allowed everything.
        patch.setattr("os.access", lambda path, _: "01" not in path)
        task = job._ClusterTask(job.JobOptions("an4"), "", [], [str(recordings / "00.wav"), str(recordings / "01.wav")])
        with pytest.raises(AsrError, match=r"01\.wav: cannot be read here, .*1 such files of 2"):
            job._work_on_cluster(task)
    task = job._ClusterTask(job.JobOptions("an4"), "another", [], [])
    with pytest.raises(AsrError, match=r"is not the model that the command was started with"):
        job._work_on_cluster(task)
