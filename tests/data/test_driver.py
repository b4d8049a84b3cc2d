"""What the driver makes of splits that are added one by one, of parsers that trip, of options that cannot apply."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asr.data.corpus import Archive, Corpus, PrepareOptions, RawUtterance, prepare
from asr.errors import DataError, UsageError

QUICK = PrepareOptions(quiet=True, shard_utterances=4)


def test_the_report_is_of_the_splits_that_are_there(toy: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy, out, replace(QUICK, splits=("test",)))
    alone = (out / "report.json").read_text()
    prepare(toy, out, QUICK)
    (out / "report.json").write_text(alone)  # killed before the report
    prepare(toy, out, QUICK)
    assert list(json.loads((out / "report.json").read_text())["splits"]) == ["test", "train"]


def test_splits_of_several_archives_are_added_one_by_one(toy: Corpus, source: Path, tmp_path: Path) -> None:
    archives, rows = tmp_path / "archives", (source / "list.jsonl").read_text().splitlines()
    archives.mkdir()
    for split in ("train", "test"):
        (source / "list.jsonl").write_text("\n".join(row for row in rows if json.loads(row)["split"] == split))
        with tarfile.open(archives / f"{split}.tar", "w") as archive:
            archive.add(source, "toy")
    parts = tuple(Archive("", name=split, splits=(split,)) for split in ("train", "test"))
    corpus = replace(toy, embedded=None, archives=parts, on_request=(), splits=("train", "test"))
    options = replace(QUICK, archive=archives)
    prepare(corpus, tmp_path / "both", options)
    prepare(corpus, tmp_path / "out", replace(options, splits=("test",)))
    prepare(corpus, tmp_path / "out", options)
    for split in ("train", "test"):
        # The header has the checksums of all shards.
        one, two = (json.loads((tmp_path / name / split / "store.json").read_text()) for name in ("out", "both"))
        assert one == two


@pytest.mark.parametrize("error", [KeyError("x"), IndexError(), TypeError("x"), ValueError("x")])
def test_a_parser_that_trips_is_a_clear_error(toy: Corpus, source: Path, tmp_path: Path, error: Exception) -> None:
    def parse(root: Path) -> Iterator[RawUtterance]:
        yield next(iter(toy.parse(root)))
        raise error

    with pytest.raises(DataError, match=r"toy: a file is not as toy has it, after test-00"):
        prepare(replace(toy, parse=parse), tmp_path / "out", QUICK)


def test_speeds_without_training_are_refused(toy: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of test is for training"):
        prepare(toy, tmp_path / "out", replace(QUICK, speeds=(0.9,), splits=("test",)))
