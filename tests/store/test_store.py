import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import DataError
from asr.preparation.corpus import Corpus
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.settings import to_dict
from asr.store.columns import read_arrow
from asr.store.layout import arrow_array, file_checksum
from asr.store.store import FeatureStore, open_store

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder(toy: Corpus, tmp_path: Path) -> Path:
    prepare(toy, tmp_path / "out", PrepareOptions(quiet=True, shard_utterances=7))
    return tmp_path / "out" / "train"


def test_a_store_is_a_sequence(folder: Path) -> None:
    store = FeatureStore.open(folder)
    everything = list(store)
    assert len(everything) == len(store) == len(store.ids) == len(store.texts) == 18
    assert store[-1].id == everything[-1].id == store.ids[-1]
    assert [utterance.id for utterance in store[5:9]] == store.ids[5:9]
    with pytest.raises(IndexError):
        store[18]
    assert store.hours == pytest.approx(sum(utterance.duration_seconds for utterance in everything) / 3600)


@given(st.lists(st.text()), st.lists(st.floats(width=32, allow_nan=False)), st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_columns_are_those_that_pyarrow_makes(texts: list[str], floats: list[float], integers: list[int]) -> None:
    import pyarrow as pa

    columns = ((texts, pa.string()), (floats, pa.float64()), (floats, pa.float32()), (integers, pa.int32()))
    for values, kind in columns:
        column = arrow_array(values, kind)
        column.validate(full=True)
        assert column.equals(pa.array(values, type=kind))


def test_shards_describe_themselves(folder: Path) -> None:
    store = FeatureStore.open(folder)
    facts = read_arrow(folder / "shard-00000.arrow").schema.metadata
    assert json.loads(facts[b"features"]) == to_dict(store.config)
    assert (facts[b"corpus"], facts[b"split"], facts[b"kind"]) == (b"toy", b"train", b"features")


def test_pyarrow_alone_reads_a_shard(folder: Path) -> None:
    import pyarrow as pa

    store = FeatureStore.open(folder)
    with pa.memory_map(str(folder / "shard-00001.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.column("id").to_pylist() == store.ids[7:14]
    np.testing.assert_array_equal(np.array(table.column("features")[2].as_py()), store[9].features)


def test_datasets_reads_a_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = sorted(map(str, folder.glob("shard-*.arrow")))
    rows = datasets.load_dataset("arrow", data_files=files, split="train", cache_dir=str(folder.parent / "cache"))
    store = FeatureStore.open(folder)
    assert rows["id"][:] == list(store.ids)
    np.testing.assert_array_equal(np.array(rows[3]["features"], dtype=np.float16), store[3].features)


def test_reading_needs_no_librosa(folder: Path) -> None:
    code = (
        "import sys; from asr.store.store import FeatureStore; store = FeatureStore.open(sys.argv[1]); store[0]; "
        "store.filterbank; "
        "print([name for name in ('librosa', 'matplotlib', 'soundfile', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout
    assert output.strip() == "[]"


def test_what_is_not_a_store_says_what_it_is(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such store"):
        FeatureStore.open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds the splits test, train"):
        FeatureStore.open(folder.parent)
    header = (folder / "store.json").read_text()
    (folder / "store.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        open_store(folder)
    (folder / "store.json").write_text("so")
    with pytest.raises(DataError, match="is not JSON"):
        open_store(folder)
    (folder / "store.json").write_text(json.dumps({**json.loads(header), "format": 99}))
    with pytest.raises(DataError, match="format 99; expected 2"):
        open_store(folder)
    (folder / "store.json").write_text(header.replace('"utterances": 18', '"utterances": 19'))
    with pytest.raises(DataError, match="mixes two preparations"):
        open_store(folder)


def test_damage_is_found(folder: Path) -> None:
    store = FeatureStore.open(folder)
    store.verify()
    shard = folder / "shard-00001.arrow"
    assert store.header.shards[1].sha256 == file_checksum(shard)
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shutil.copy(shard, folder / "copy")
    shard.write_bytes(data)
    with pytest.raises(DataError, match="checksum has changed since it was written"):
        store.verify()
    shard.write_bytes(data[:100])
    with pytest.raises(DataError, match=r"shard-00001.arrow: cannot be read"):
        FeatureStore.open(folder)[8]
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        store.verify()
