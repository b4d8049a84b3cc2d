"""Files that are whole or absent, written under a temporary name; files that are packed; locks between processes."""

import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast

from asr.errors import MissingExtraError

# Windows refuses to replace a file that another process has open; readers are done in a moment.
IS_WINDOWS = os.name == "nt"
REPLACE_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.01
# File systems allow names of 255 bytes; a temporary one has 14 more than it repeats.
MAX_REPEATED_BYTES = 240


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
    temporary = final.with_name(f".{shortened(final.name)}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        _replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def shortened(name: str) -> str:
    """Return the part of a file's name that its temporary name repeats: that is longer, and may be of 255 bytes too."""
    return os.fsencode(name)[:MAX_REPEATED_BYTES].decode("utf-8", "ignore")


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
    """Create a folder and, briefly, a file in it, to find out before the work whether it can be written to.

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
            if not IS_WINDOWS or attempt == REPLACE_ATTEMPTS - 1:
                raise
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where file systems do not allow it."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write `text` as UTF-8 with ``\\n`` line ends, whole or not at all, packed as the suffix says (see `packing`)."""
    with atomic_path(path) as temporary, temporary.open("wb") as file, packing(file, str(path)) as packed:
        packed.write(text.encode("utf-8"))


def read_text(source: str | os.PathLike[str] | IO[bytes]) -> str:
    """Return the text of a UTF-8 file, by path or open, maybe packed (see `unpacked`), without a byte order mark.

    Raises
    ------
    OSError, UnicodeDecodeError
        If it cannot be read, is damaged, or is not UTF-8.
    """
    import lzma
    import zlib

    try:
        with Path(source).open("rb") if isinstance(source, str | os.PathLike) else nullcontext(source) as file:
            content = unpacked(file).read()
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise OSError(f"is damaged or cut short ({error})") from None
    return content.decode("utf-8-sig")


def unpacked(file: IO[bytes]) -> IO[bytes]:
    """Return the content of a file or pipe packed by gzip, bzip2, xz or Zstandard, recognised by its first bytes.

    Content that is not packed is returned unchanged. Reading raises EOFError, OSError, zlib.error or lzma.LZMAError
    where the packed content is damaged or cut short.
    """
    # Not by seeking: a pipe cannot.
    if not isinstance(file, io.BufferedReader):
        file = io.BufferedReader(cast("io.RawIOBase", file))
    head = file.peek(10)[:10]
    if head.startswith(b"\x1f\x8b"):
        import gzip

        return cast("IO[bytes]", io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20))
    if head.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return cast("IO[bytes]", io.BufferedReader(lzma.LZMAFile(file), 1 << 20))
    if head.startswith(b"BZh") and head[4:] == b"1AY&SY":
        import bz2

        return cast("IO[bytes]", io.BufferedReader(bz2.BZ2File(file), 1 << 20))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        pa = _pyarrow()
        return cast("IO[bytes]", io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"), 1 << 20))
    return file


@contextmanager
def packing(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Yield what packs for `file` as the suffix of `name` says: .gz, .bz2, .xz, .zst, or not at all.

    The same content gives the same bytes. `file` may be closed afterwards.
    """
    suffix = Path(name).suffix
    if suffix == ".gz":
        import gzip

        # No name and time in the header.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    elif suffix == ".bz2":
        import bz2

        with bz2.BZ2File(file, "wb") as packed:
            yield cast("IO[bytes]", packed)
    elif suffix == ".xz":
        import lzma

        with lzma.LZMAFile(file, "wb", preset=2) as packed:
            yield cast("IO[bytes]", packed)
    elif suffix == ".zst":
        pa = _pyarrow()
        with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as packed:
            yield cast("IO[bytes]", packed)
    else:
        yield file


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "data", "a file packed by Zstandard") from None
    return pyarrow


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path`; it is released when the process that holds it ends, however it ends.

    Where there are no locks (Windows, some network file systems), nothing is locked.

    Parameters
    ----------
    path : Path
        Created if need be, and never removed: removing it would let two processes lock two files of one name.
    busy : callable
        Called if another process holds the lock; unless it raises, that process is waited for.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
