"""Stores in an object store, here moto's, are those on the disk; what is missing is said in one line."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.errors import DataError, UsageError
from asr.features import LogMelConfig
from asr.preparation.command import load_corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.recipe import stages
from asr.recipe.checks import check_splits
from asr.recipe.recipe import Run
from asr.store.remote import cache_folder, is_store
from asr.store.store import FeatureStore, open_store
from recipes.digits import RECIPE

FEATURES = LogMelConfig(sample_rate=16_000, n_mels=20)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    options = PrepareOptions(quiet=True, splits=("dev", "test"), shard_utterances=20, features=FEATURES)
    prepare(load_corpus("digits"), out, options)
    return out


@pytest.fixture
def bucket(prepared, tmp_path, monkeypatch):
    """A bucket of a server of this process, with the prepared stores; its client."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]' flask flask-cors")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = pytest.importorskip("boto3").client("s3")
    client.create_bucket(Bucket="speech")
    for path in prepared.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "speech", f"digits/{path.relative_to(prepared).as_posix()}")
    yield client
    server.stop()


def test_a_store_in_a_bucket_is_that_on_the_disk(prepared, bucket):
    here, there = FeatureStore.open(prepared / "dev"), FeatureStore.open("s3://speech/digits/dev")
    assert there.identity == here.identity
    assert np.array_equal(there.filterbank, here.filterbank)
    (cached,) = cache_folder().iterdir()
    assert not list(cached.glob("shard-*"))
    for index in (0, len(here) - 1):
        ours, theirs = there[index], here[index]
        assert np.array_equal(ours.features, theirs.features)
        assert (ours.id, ours.text, ours.source) == (theirs.id, theirs.text, theirs.source)
    # The first and the last shard, and no other.
    assert len(list(cached.glob("shard-*"))) == 2 < len(here.header.shards)
    there.verify()
    # All is there now: the object store is asked for store.json alone.
    for shard in here.header.shards:
        bucket.delete_object(Bucket="speech", Key=f"digits/dev/{shard.file}")
    again = FeatureStore.open("s3://speech/digits/dev")
    assert np.array_equal(again[30].features, here[30].features)
    joined = FeatureStore.join([FeatureStore.open("s3://speech/digits/dev"), FeatureStore.open(prepared / "test")])
    assert np.array_equal(joined[len(here)].features, FeatureStore.open(prepared / "test")[0].features)


def test_a_store_that_was_prepared_anew_is_fetched_anew(prepared, bucket, tmp_path):
    before = FeatureStore.open("s3://speech/digits/dev")
    shutil.copytree(prepared / "test", tmp_path / "other")
    for path in (tmp_path / "other").iterdir():
        bucket.upload_file(str(path), "speech", f"digits/dev/{path.name}")
    after = FeatureStore.open("s3://speech/digits/dev")
    assert after.identity == FeatureStore.open(prepared / "test").identity != before.identity
    assert np.array_equal(after[3].features, FeatureStore.open(prepared / "test")[3].features)


def test_what_is_not_there_or_damaged_is_one_line(bucket, monkeypatch):
    assert is_store("s3://speech/digits/dev")
    assert not is_store("s3://speech/digits/nothing")
    for address in ("s3://speech/digits/nothing", "s3://nobucket/dev"):
        with pytest.raises(DataError, match=rf"{address}: no such store; expected [^\n]*$"):
            open_store(address)
    store = FeatureStore.open("s3://speech/digits/dev")
    bucket.put_object(Bucket="speech", Key=f"digits/dev/{store.header.shards[0].file}", Body=b"other")
    with pytest.raises(DataError, match=r"shard-.*is not whole, or not what store\.json says: copy the store again$"):
        store[0]
    bucket.delete_object(Bucket="speech", Key=f"digits/dev/{store.header.shards[0].file}")
    with pytest.raises(DataError, match=r"digits/dev/shard-00000\.arrow: is missing: copy the store again$"):
        store[0]
    with pytest.raises(UsageError, match="s3://speech/out: a corpus is prepared into a folder"):
        prepare(load_corpus("digits"), "s3://speech/out")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"s3://speech/digits/test: cannot be read \([^\n]*$"):
        open_store("s3://speech/digits/test")


@pytest.mark.parametrize("name", ["utterances.index", "filterbank.npy", "the index of another store"])
def test_a_broken_upload_that_was_mended_is_read(prepared, bucket, name):
    here = FeatureStore.open(prepared / "dev")
    source = prepared / "dev" / (name if "." in name else "utterances.index")
    key, whole = f"digits/dev/{source.name}", source.read_bytes()
    broken = whole[: len(whole) // 2] if "." in name else (prepared / "test" / source.name).read_bytes()
    bucket.put_object(Bucket="speech", Key=key, Body=broken)
    with pytest.raises(DataError, match=rf"{key}: is not whole, or not what store\.json says: copy the store again$"):
        open_store("s3://speech/digits/dev")
    bucket.put_object(Bucket="speech", Key=key, Body=whole)
    again = open_store("s3://speech/digits/dev")
    assert again.texts[5] == here.texts[5]
    assert np.array_equal(again.filterbank, here.filterbank)


@pytest.mark.usefixtures("bucket")
def test_without_permission_it_says_so():
    core = pytest.importorskip("moto.core")
    with pytest.raises(DataError, match=r"digits/dev: cannot be read \([^\n]*ACCESS_DENIED[^\n]*credentials[^\n]*$"):
        core.set_initial_no_auth_action_count(0)(FeatureStore.open)("s3://speech/digits/dev")


@pytest.mark.usefixtures("bucket")
def test_a_recipe_takes_its_stores_from_a_bucket(tmp_path):
    recipe = replace(RECIPE, features=FEATURES, train="dev", dev="test", test=("test",))
    run = Run(recipe, Path("s3://speech/digits"), tmp_path / "exp")
    stages.prepare(run)
    train, (dev,) = check_splits(run)
    assert (train.split, dev.split) == ("dev", "test")
    assert not list(Path().glob("s3:*"))
