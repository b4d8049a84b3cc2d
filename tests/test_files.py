"""Files are whole or as they were."""

import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from asr.files import atomic_directory, atomic_path, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent  # a rename across file systems would be a copy
        assert not path.exists()
    assert path.read_text() == "half"
    assert names(path.parent) == ["text.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "text.txt"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the new")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["text.txt"]


def test_a_file_that_was_never_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match=r"text\.txt"), atomic_path(tmp_path / "text.txt"):
        pass
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "text.txt"
    write_text(path, "old")
    code = (
        "import os, signal\n"
        "from asr.files import atomic_path\n"
        f"with atomic_path({str(path)!r}) as temporary:\n"
        "    temporary.write_text('half of the new')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # What the killed process left does not stand in the way of the next one.
    write_text(path, "new")
    assert path.read_text() == "new"


def test_two_writers_have_two_temporaries(tmp_path):
    path = tmp_path / "text.txt"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"
    assert names(tmp_path) == ["text.txt"]


@pytest.mark.parametrize(("is_windows", "refusals", "written"), [(True, 3, True), (True, 99, False), (False, 1, False)])
def test_a_file_that_a_reader_has_open_is_tried_again_on_windows(tmp_path, monkeypatch, is_windows, refusals, written):
    replace, tried = Path.replace, []

    def refuse(self, target):
        tried.append(target)
        if len(tried) <= refusals:
            raise PermissionError(13, "in use")
        return replace(self, target)

    monkeypatch.setattr("asr.files.IS_WINDOWS", is_windows)
    monkeypatch.setattr("asr.files.time.sleep", lambda _: None)
    monkeypatch.setattr(Path, "replace", refuse)
    with nullcontext() if written else pytest.raises(PermissionError):
        write_text(tmp_path / "text.txt", "new")
    assert names(tmp_path) == (["text.txt"] if written else [])


@pytest.mark.skipif(sys.platform == "win32", reason="a reader may not open the file while it is replaced")
def test_a_reader_sees_the_old_or_the_new_and_never_a_part(tmp_path):
    path = tmp_path / "text.txt"
    contents = {letter * 100_000 for letter in "ab"}
    write_text(path, "a" * 100_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_text(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert path.read_text() in contents
    finally:
        stop.set()
        writer.join()


def test_text_is_utf8_with_unix_line_ends(tmp_path):
    write_text(tmp_path / "text.txt", "é\nzwölf\n")
    assert (tmp_path / "text.txt").read_bytes() == "é\nzwölf\n".encode()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_the_mode_is_that_of_an_ordinary_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == ordinary.stat().st_mode


def test_a_folder_is_replaced_when_the_new_one_is_whole(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old.txt").touch()
    (tmp_path / "link").symlink_to("real")

    def fail(path: Path) -> None:
        with atomic_directory(path) as temporary:
            (temporary / "half.txt").touch()
            raise KeyboardInterrupt

    for path in (tmp_path / "real", tmp_path / "link"):
        with pytest.raises(KeyboardInterrupt):
            fail(path)
        assert names(tmp_path / "real") == ["old.txt"]
    with atomic_directory(tmp_path / "link") as temporary:
        (temporary / "new.txt").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new.txt"]
    assert names(tmp_path) == ["link", "real"]
