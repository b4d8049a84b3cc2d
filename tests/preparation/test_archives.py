import errno
import hashlib
import io
import os
import random
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr.errors import DataError, UsageError
from asr.preparation.archives import download, find_archive, find_root, searched
from asr.preparation.corpus import Archive
from asr.preparation.extraction import extract

Pack = Callable[[Path, dict[str, bytes]], None]


def pack_tar(path: Path, members: dict[str, bytes]) -> None:
    mode: Any = f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def pack_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def in_cache(folder: Path) -> list[str]:
    """Return what is in the cache, but its locks."""
    return sorted(path.name for path in (folder / "cache").iterdir() if path.suffix != ".lock")


def never(text: str) -> None:
    pytest.fail(text)


PACKERS = [
    ("a.tar", pack_tar),
    ("a.tar.gz", pack_tar),
    ("a.tar.xz", pack_tar),
    ("a.tar.bz2", pack_tar),
    ("a.zip", pack_zip),
]


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_archives_are_extracted_once_and_whole(tmp_path: Path, name: str, pack: Pack) -> None:
    pack(tmp_path / name, {"corpus/etc/list": b"x y", "corpus/wav/x.wav": b"0" * 100_000})
    folder = extract(tmp_path / name, tmp_path / "cache", never)
    assert folder == tmp_path / "cache" / "a"
    assert (folder / "corpus/etc/list").read_bytes() == b"x y"
    assert (folder / "corpus/wav/x.wav").stat().st_size == 100_000
    (folder / "corpus/etc/list").write_bytes(b"mine")
    assert (extract(tmp_path / name, tmp_path / "cache", never) / "corpus/etc/list").read_bytes() == b"mine"


@pytest.mark.parametrize(("name", "pack"), PACKERS)
def test_a_truncated_archive_leaves_nothing(tmp_path: Path, name: str, pack: Pack) -> None:
    data = random.Random(1).randbytes(200_000)
    pack(tmp_path / name, {"corpus/a": data, "corpus/b": data})
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match="truncated, damaged, encrypted or not an archive"):
        extract(tmp_path / name, tmp_path / "cache", never)
    assert in_cache(tmp_path) == []


def test_a_folder_that_is_the_users_is_left_alone(tmp_path: Path) -> None:
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"b"})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious").write_text("mine")
    with pytest.raises(DataError, match="choose another --cache"):
        extract(tmp_path / "a.tar", tmp_path, never)
    assert (tmp_path / "a" / "precious").read_text() == "mine"
    # What was extracted from another archive of that name is replaced.
    folder = extract(tmp_path / "a.tar", tmp_path / "cache", never)
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"b" * 20_000})
    assert (extract(tmp_path / "a.tar", tmp_path / "cache", never) / "corpus" / "a").stat().st_size == 20_000
    assert folder == tmp_path / "cache" / "a"


def test_an_encrypted_member_or_a_dangling_hard_link_is_a_clear_error(tmp_path: Path) -> None:
    pack_zip(tmp_path / "a.zip", {"corpus/a": b"b"})
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        link = tarfile.TarInfo("corpus/link")
        link.type, link.linkname = tarfile.LNKTYPE, "corpus/none"
        archive.addfile(link)
    for name, message in (("a.zip", "encrypted"), ("b.tar", "not found")):
        with pytest.raises(DataError, match=message):
            extract(tmp_path / name, tmp_path / "cache", never)
    assert in_cache(tmp_path) == []


def test_what_a_killed_run_left_is_not_taken_for_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"old", "corpus/b": b"old"})
    extract(tmp_path / "a.tar", cache, never)
    (cache / ".a.0000.tmp").mkdir()  # killed in the middle of an extraction
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"new" * 9_000, "corpus/b": b"new"})

    remove = shutil.rmtree

    def killed(path: Path, **options: Any) -> None:
        if (path / "corpus").exists():
            raise KeyboardInterrupt
        remove(path, **options)

    with monkeypatch.context() as patch:  # at the removal of what was there before
        patch.setattr("asr.preparation.extraction.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            extract(tmp_path / "a.tar", cache, never)
    for _ in range(2):
        folder = extract(tmp_path / "a.tar", cache, never)
        contents = {path.name: path.read_bytes()[:3] for path in folder.rglob("*") if path.parent.name == "corpus"}
        assert contents in ({"a": b"old", "b": b"old"}, {"a": b"new", "b": b"new"})
    assert contents == {"a": b"new", "b": b"new"}
    assert in_cache(tmp_path) == ["a"]


def test_two_runs_at_once_extract_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl", reason="locks files on POSIX systems only")
    import asr.preparation.extraction as extraction

    pack_tar(tmp_path / "a.tar", {"corpus/a": b"x"})
    begun, waiting, runs, warnings = threading.Event(), threading.Event(), [], []
    write = extraction._extract

    def slow(*arguments: Any) -> None:
        runs.append(arguments)
        begun.set()
        assert waiting.wait(10)
        write(*arguments)

    def warn(text: str) -> None:
        warnings.append(text)
        waiting.set()

    monkeypatch.setattr(extraction, "_extract", slow)
    first = threading.Thread(target=extract, args=(tmp_path / "a.tar", tmp_path / "cache", never))
    first.start()
    assert begun.wait(10)
    folder = extract(tmp_path / "a.tar", tmp_path / "cache", warn)
    first.join()
    assert (folder / "corpus" / "a").read_bytes() == b"x"
    assert len(runs) == 1
    assert "another run that extracted the same archive" in warnings[0]


def test_where_locks_cannot_be_had_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl", reason="locks files on POSIX systems only")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"x"})
    assert (extract(tmp_path / "a.tar", tmp_path / "cache", never) / "corpus" / "a").read_bytes() == b"x"


def test_what_is_no_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"\A.*a.tar.gz: is truncated, damaged, encrypted or not an archive .*\Z"):
        extract(tmp_path / "a.tar.gz", tmp_path / "cache", never)


@pytest.mark.parametrize("member", ["../x", "/etc/x", "a/../../x", "..\\x", "C:\\x"])
@pytest.mark.parametrize("pack", [pack_tar, pack_zip])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, member: str, pack: Pack) -> None:
    path = tmp_path / ("a.zip" if pack is pack_zip else "a.tar")
    pack(path, {"corpus/a": b"fine", member: b"evil"})
    before = {path, tmp_path / "cache"}
    with suppress(DataError):
        assert (extract(path, tmp_path / "cache", never) / "corpus" / "a").read_bytes() == b"fine"
    assert set(tmp_path.iterdir()) == before
    assert not Path("/etc/x").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_that_escape_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("corpus/link")
        link.type, link.linkname = kind, "../../etc/passwd"
        archive.addfile(link)
    with pytest.raises(DataError, match=r"do not trust this archive|not an archive"):
        extract(path, tmp_path / "cache", never)
    assert in_cache(tmp_path) == []


def test_names_that_are_not_utf8_are_left_out_with_a_warning(tmp_path: Path) -> None:
    pack_tar(tmp_path / "a.tar", {"corpus/a": b"fine", "corpus/caf\udce9": b"latin-1"})
    warnings: list[str] = []
    folder = extract(tmp_path / "a.tar", tmp_path / "cache", warnings.append)
    assert [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"] == ["a"]
    (warning,) = warnings
    assert "left out 1 members whose names are not UTF-8" in warning


def test_a_download_is_verified_before_it_has_its_name(tmp_path: Path, served: Any) -> None:
    folder, address = served.folder, served.address
    pack_tar(folder / "a.tar.gz", {"a": b"b"})
    url = f"{address}/a.tar.gz"
    md5 = hashlib.md5((folder / "a.tar.gz").read_bytes()).hexdigest()
    seen: list[tuple[int, int]] = []
    fetched = download(Archive(url, f"md5:{md5}"), tmp_path / "cache", lambda *pair: seen.append(pair))
    assert fetched == tmp_path / "cache" / "a.tar.gz"
    assert seen[-1][0] == seen[-1][1] == fetched.stat().st_size
    with pytest.raises(DataError, match="its checksum is not the publisher's"):
        download(Archive(url, "md5:0000", name="other"), tmp_path / "cache", lambda *_: None)
    with pytest.raises(DataError, match="cannot be downloaded"):
        download(Archive(f"{address}/absent.zip"), tmp_path / "cache", lambda *_: None)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["a.tar.gz"]


def test_a_download_that_broke_off_goes_on_where_it_was(tmp_path: Path, served: Any) -> None:
    folder, address = served.folder, served.address
    data = random.Random(1).randbytes(300_000)
    (folder / "a.tar").write_bytes(data)
    archive = Archive(f"{address}/a.tar", f"sha256:{hashlib.sha256(data).hexdigest()}")
    served.breaks_after = 1 << 16
    for _ in range(2):
        with pytest.raises(DataError, match="which resumes the download"):
            download(archive, tmp_path / "cache", lambda *_: None)
        assert not (tmp_path / "cache" / "a.tar").exists()
    served.breaks_after = 0
    assert download(archive, tmp_path / "cache", lambda *_: None).read_bytes() == data
    assert served.ranges == ["bytes=65536-", "bytes=131072-"]
    # What is another file by now is fetched from its beginning.
    served.breaks_after = 1 << 16
    with pytest.raises(DataError, match="cannot be downloaded"):
        download(replace(archive, name="b", checksum=""), tmp_path / "cache", lambda *_: None)
    (folder / "a.tar").write_bytes(data[::-1])
    served.breaks_after = 0
    other = download(replace(archive, name="b", checksum=""), tmp_path / "cache", lambda *_: None)
    assert other.read_bytes() == data[::-1]
    assert len(served.ranges) == 2


def test_archives_are_found_by_stem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASR_ARCHIVES", raising=False)
    archive = Archive("https://example.org/part-1.tar.gz", stems=("Whole",))
    assert find_archive(archive, None) is None
    (tmp_path / "Whole.tar.xz").touch()
    monkeypatch.setenv("ASR_ARCHIVES", str(tmp_path))
    assert find_archive(archive, None) == tmp_path / "Whole.tar.xz"
    (tmp_path / "part-1.zip").touch()
    assert find_archive(archive, tmp_path) == tmp_path / "part-1.zip"
    assert find_archive(archive, tmp_path / "Whole.tar.xz") == tmp_path / "Whole.tar.xz"
    with pytest.raises(UsageError, match="no such file or folder"):
        find_archive(archive, tmp_path / "nowhere")


def test_a_message_says_where_an_archive_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive("", name="part", stems=("Whole",), how_to_get="ask for it")
    monkeypatch.delenv("ASR_ARCHIVES", raising=False)
    assert searched(archive, None) == ""
    monkeypatch.setenv("ASR_ARCHIVES", str(tmp_path))
    looked = searched(archive, None)
    with pytest.raises(DataError, match=r"ASR_ARCHIVES=.* has no part\.\* or Whole"):
        download(archive, tmp_path, lambda *_: None, looked)


def test_the_corpus_is_found_two_levels_up_or_down(tmp_path: Path) -> None:
    root = tmp_path / "data" / "an4"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "list").touch()
    (root / "wav" / "speaker").mkdir(parents=True)
    for start in (tmp_path, tmp_path / "data", root, root / "etc", root / "wav" / "speaker"):
        assert find_root(start, ("etc/list", "etc/other")) == root
    with pytest.raises(DataError, match=r"looked for etc/nothing in it, two levels below it, and in .*data"):
        find_root(root, ("etc/nothing",))
    with pytest.raises(DataError, match="is not a folder"):
        find_root(tmp_path / "nowhere", ("etc/list",))


@pytest.mark.parametrize("depth", ["", "release/"])
def test_of_several_corpora_none_is_taken_silently(tmp_path: Path, depth: str) -> None:
    for language in ("de", "en"):
        (tmp_path / depth / language / "clips").mkdir(parents=True)
        for name in ("train.tsv", "validated.tsv"):
            (tmp_path / depth / language / name).touch()
    markers = ("validated.tsv", "train.tsv")
    with pytest.raises(DataError, match=r"holds 2 such corpora: .*de, .*en; .*--source FOLDER"):
        find_root(tmp_path, markers)
    assert find_root(tmp_path / depth / "en", markers) == tmp_path / depth / "en"
    assert find_root(tmp_path / depth / "en" / "clips", markers) == tmp_path / depth / "en"
