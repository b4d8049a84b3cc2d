"""What the driver makes of splits that are added one by one, of parsers that trip, of options that cannot apply."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr.errors import DataError, UsageError
from asr.preparation.corpus import Archive, Corpus, RawUtterance
from asr.preparation.options import PrepareOptions
from asr.preparation.prepare import prepare
from asr.text import VERBATIM

QUICK = PrepareOptions(quiet=True, shard_utterances=4)


def test_the_report_is_of_the_splits_that_are_there(toy: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(toy, out, replace(QUICK, splits=("test",)))
    alone = (out / "report.json").read_text()
    prepare(toy, out, QUICK)
    (out / "report.json").write_text(alone)  # killed before the report
    prepare(toy, out, QUICK)
    assert list(json.loads((out / "report.json").read_text())["splits"]) == ["test", "train"]


def test_a_split_that_is_not_there_is_answered_with_those_that_are(toy: Corpus, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"asked for extra, but .* there are: test, train$"):
        prepare(toy, tmp_path / "out", replace(QUICK, splits=("extra",)))


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


def test_archives_that_are_not_at_hand_are_fetched(toy: Corpus, source: Path, tmp_path: Path, served: Any) -> None:
    here, rows = tmp_path / "here", (source / "list.jsonl").read_text().splitlines()
    here.mkdir()
    for split in ("train", "test"):
        (source / "list.jsonl").write_text("\n".join(row for row in rows if json.loads(row)["split"] == split))
        with tarfile.open(served.folder / f"{split}.tar", "w") as archive:
            archive.add(source, "toy")
    (served.folder / "train.tar").rename(here / "train.tar")
    parts = tuple(Archive(f"{served.address}/{split}.tar", splits=(split, "extra")) for split in ("train", "test"))

    def parse(root: Path) -> Iterator[RawUtterance]:
        for row in toy.parse(root):
            yield from (row, replace(row, split="extra"))

    corpus = replace(toy, embedded=None, archives=parts, parse=parse, at_hand=("extra",))
    options = replace(QUICK, archive=here)
    extra = replace(options, splits=("extra",))
    assert prepare(corpus, tmp_path / "a", extra).splits["extra"].utterances == 18
    summary = prepare(corpus, tmp_path / "a", options)
    assert {name: split.utterances for name, split in summary.splits.items()} == {"train": 18, "test": 5}
    assert (tmp_path / "downloads" / "test.tar").exists()
    assert not (tmp_path / "downloads" / "train.tar").exists()
    assert prepare(replace(corpus, at_hand=()), tmp_path / "c", extra).splits["extra"].utterances == 23
    # What cannot be fetched is an error that says what is at hand; without an address it matters only if asked for.
    (served.folder / "test.tar").unlink()
    with pytest.raises(
        DataError, match=r"cannot be downloaded.*found train.tar: choose the splits in them with --splits"
    ):
        prepare(corpus, tmp_path / "b" / "out", options)
    corpus = replace(corpus, archives=(parts[0], Archive("", name="test", splits=("test",), how_to_get="ask")))
    assert prepare(corpus, tmp_path / "b" / "out", options).warnings == ("toy: the split test is missing",)
    with pytest.raises(DataError, match=r"cannot be downloaded: "):
        prepare(corpus, tmp_path / "b" / "out", replace(options, splits=("test",)))


@pytest.mark.parametrize("error", [KeyError("x"), IndexError(), TypeError("x"), ValueError("x")])
def test_a_parser_that_trips_is_a_clear_error(toy: Corpus, tmp_path: Path, error: Exception) -> None:
    def parse(root: Path) -> Iterator[RawUtterance]:
        yield next(iter(toy.parse(root)))
        raise error

    with pytest.raises(DataError, match=r"toy: a file is not in the format of toy, after test-00"):
        prepare(replace(toy, parse=parse), tmp_path / "out", QUICK)


def test_speeds_without_training_are_refused(toy: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of test is for training"):
        prepare(toy, tmp_path / "out", replace(QUICK, speeds=(0.9,), splits=("test",)))


def test_recordings_without_text_have_no_profile(toy: Corpus, tmp_path: Path) -> None:
    noise = replace(toy, profile=None, kind="audio")
    for options in (replace(QUICK, unknown="map"), replace(QUICK, profile=VERBATIM)):
        with pytest.raises(UsageError, match="has no transcripts, so --profile and --unknown have no effect"):
            prepare(noise, tmp_path / "out", options)
