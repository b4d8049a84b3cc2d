"""Evaluation on a cluster gives what one process gives; what its workers lack is named."""

import contextlib
import io
import json
import signal
from dataclasses import replace

import pytest

pytest.importorskip("distributed", reason="dask.distributed is not installed")

from asr import cluster as dask
from asr.bundle.bundle import Bundle
from asr.cli import app
from asr.errors import AsrError, DataError, UsageError
from asr.evaluation import evaluate
from asr.settings import digest
from asr.store.store import FeatureStore
from asr.transcription.decoding import DecodingOptions
from asr.transcription.job import model_checksum
from tests.dask_cluster import cluster

pytestmark = pytest.mark.filterwarnings("ignore")


def asr(*arguments):
    """Run ``asr evaluate`` here."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert not app(["evaluate", *map(str, arguments)], standalone_mode=False)


def written(folder):
    """Return what was recognised, and all results but the times."""
    results = json.loads((folder / "results.json").read_text())
    return [(folder / name).read_bytes() for name in ("hypotheses.jsonl", "ref.trn", "hyp.trn")], {
        key: value for key, value in results.items() if key not in ("runtime", "timing")
    }


def test_a_cluster_evaluates_as_one_process_does_whoever_dies(digits, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("asr.transcription.recognition.BATCH_FRAMES", 600)
    monkeypatch.chdir(digits)
    given = ["--data", "features/dev", "--model", bundle.directory, "--details", 0]
    asr(*given, "--threads", 1, "-o", tmp_path / "here")
    with cluster(tmp_path / "dask") as (address, (scheduler, worker, _)):
        asr(*given, "--cluster", address, "-o", tmp_path / "there")
        assert written(tmp_path / "there") == written(tmp_path / "here")
        with monkeypatch.context() as patch:
            patch.setattr(dask, "__version__", "0")
            with pytest.raises(AsrError, match=r"worker tcp://.* has version .* of ctc-asr; expected 0"):
                asr(*given, "--cluster", address)
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "digest", lambda _: "another")
            with pytest.raises(AsrError, match=r"worker tcp://.*is not the store that the command was started with"):
                asr(*given, "--cluster", address)
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "results", after_the_first(lambda: worker.send_signal(signal.SIGKILL)))
            asr(*given, "--cluster", address, "-o", tmp_path / "killed")
        assert worker.wait() == -signal.SIGKILL
        assert written(tmp_path / "killed") == written(tmp_path / "here")
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, "results", after_the_first(scheduler.kill))
            with pytest.raises(DataError, match="the scheduler or its workers failed"):
                asr(*given, "--cluster", address)


def after_the_first(act):
    """Return `results`, with `act` called once one is there."""

    def results(*arguments, **options):
        for number, result in enumerate(dask.results(*arguments, **options)):
            yield result
            if number == 0:
                act()

    return results


def test_what_a_worker_lacks_is_named(digits, bundle, tmp_path):
    data = digits / "features" / "dev"
    job = evaluate.ClusterJob("", tmp_path / "nowhere", str(bundle.directory), DecodingOptions())
    checksums = model_checksum(bundle), digest(FeatureStore.open(data).identity)
    with pytest.raises(DataError, match=r"nowhere: does not exist here, unlike where the command was started"):
        evaluate._work((job, *checksums, [0]))
    job = replace(job, data=data)
    with pytest.raises(AsrError, match="is not the model that the command was started with"):
        evaluate._work((job, "another", checksums[1], [0]))
    assert Bundle.load(job.model).name == bundle.name
    assert list(evaluate._work((job, *checksums, [2])).utterances) == [2]


def test_streams_are_not_for_clusters(digits, bundle):
    with pytest.raises(UsageError, match="leave out --cluster"):
        asr("--data", digits / "features/dev", "--model", bundle.directory, "--streaming", "--cluster", "tcp://x:1")
