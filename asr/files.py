"""Files that are whole or absent: written under a temporary name, then renamed."""

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Windows refuses to replace a file that another process has open; readers are done in a moment.
REPLACE_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.01


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success rename it to `path`, on any exception remove it.

    The rename replaces an existing file at once, so a reader sees the old content or the new, never a part.
    The content is flushed to the disk before the rename.

    Raises
    ------
    OSError
        If the directory cannot be made or written to.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # The token keeps two writers of the same file from writing into each other's temporary; process ids would not do,
    # as hosts that share a file system have the same ones.
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it takes the place of `path`, else it is removed.

    An older folder there is removed once the new one is complete, and stays where anything fails.

    Raises
    ------
    OSError
        If the parent folder cannot be made or written to.
    """
    # A link stays one: what it points to is replaced.
    final = Path(path).resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{final.name}.", dir=final.parent) as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        yield new
        # Beside the scratch folder, which goes whatever happens: a failure here leaves the older folder.
        old = final.with_name(f".{final.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        try:
            new.rename(final)
        except BaseException:
            if old.exists():
                old.rename(final)
            raise
        shutil.rmtree(old, ignore_errors=True)


def probe_folder(folder: str | os.PathLike[str]) -> None:
    """Make a folder and, for a moment, a file in it: that nothing can be written there shows before the work for it.

    Raises
    ------
    OSError
        If it cannot be made or written to.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _replace(temporary: Path, final: Path) -> None:
    for attempt in range(REPLACE_ATTEMPTS):
        try:
            temporary.replace(final)
            return
        except PermissionError:
            if sys.platform != "win32" or attempt == REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write `text` to `path` as UTF-8 with ``\\n`` line ends, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
