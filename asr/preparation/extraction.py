"""Archives, extracted: safely, once, and whole or not at all."""

import glob
import json
import lzma
import os
import secrets
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from asr.errors import DataError, first_line
from asr.files import locked, write_text
from asr.preparation.corpus import SUFFIXES, strip_suffix

Warn = Callable[[str], None]

# In every extracted folder: which archive it is of. Written before the folder has its name.
MARK = ".extracted.json"


def extract(path: Path, cache: Path, warn: Warn) -> Path:
    """Extract an archive into a folder of `cache` and return it, unless it was extracted before.

    The folder has its name only when the whole archive is in it.

    Raises
    ------
    DataError
        If the archive is truncated, damaged, encrypted, not an archive, or a member would be written outside the
        folder; or if a folder of its name exists that this function did not extract.
    """
    folder = cache / strip_suffix(path.name)
    origin = json.dumps({"archive": path.name, "bytes": path.stat().st_size})
    if _is_extracted(folder, path, origin) and not _left_over(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        waited = f"{cache}: waited for another run that extracted the same archive"
        with locked(cache / f".{folder.name}.lock", lambda: warn(waited)):
            for left_over in _left_over(folder):
                shutil.rmtree(left_over, ignore_errors=True)
            # Another run may have extracted it while this one waited.
            if not _is_extracted(folder, path, origin):
                _extract(path, folder, origin, warn)
    except DataError:
        raise
    # RuntimeError: a member of a zip file is encrypted. KeyError: a hard link to what is not there.
    except (
        EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, OSError, RuntimeError, KeyError,
        ValueError,
    ) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(
                f"{path}: cannot be extracted into {cache} ({error.strerror}): correct that or choose another --cache, "
                "then run the same command again"
            ) from None
        # What tarfile says of a file that it does not know is a list, a line for each format.
        reason = first_line(error).rstrip(":")
        raise DataError(
            f"{path}: is truncated, damaged, encrypted or not an archive ({reason}); expected one of "
            f"{', '.join(SUFFIXES)}: download it again"
        ) from None
    return folder


def _is_extracted(folder: Path, path: Path, origin: str) -> bool:
    mark = folder / MARK
    if folder.exists() and not mark.exists():
        raise DataError(
            f"{folder}: already exists and was not extracted from {path}, so it is left alone; expected a folder of "
            "extracted archives: choose another --cache, or give the folder itself with --source"
        )
    return mark.exists() and mark.read_text(encoding="utf-8") == origin


def _left_over(folder: Path) -> list[Path]:
    """Return what runs that were killed have left, and what one that is running writes to."""
    return list(folder.parent.glob(f".{glob.escape(folder.name)}.*.tmp"))


def _extract(path: Path, folder: Path, origin: str, warn: Warn) -> None:
    """Extract beside `folder`, then put the result in its place; what is in it is always of one archive, and whole."""
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp") for _ in range(2))
    try:
        new.mkdir()
        _write_members(path, new, warn)
        write_text(new / MARK, origin)
        if hasattr(os, "sync"):
            os.sync()  # or a power cut could leave the folder's name and lose what is in it
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_members(path: Path, folder: Path, warn: Warn) -> None:
    """Write what is in an archive below `folder`; neither tarfile's filter nor zipfile writes anything outside it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        return
    odd: list[str] = []

    def allowed(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
        try:
            member.name.encode()
        except UnicodeEncodeError:
            odd.append(ascii(member.name))
            return None
        if member.islnk():
            # A hard link to what is not there is an error: tarfile would leave it out and say nothing.
            tar.getmember(member.linkname)
        return tarfile.data_filter(member, destination)

    with tarfile.open(path) as tar:
        try:
            tar.extractall(folder, filter=allowed)
        except tarfile.FilterError as error:
            raise DataError(
                f"{path}: {first_line(error)}: the archive has a file outside its own folder: nothing was extracted; "
                "do not trust this archive"
            ) from None
    if odd:
        warn(f"{path}: left out {len(odd)} members whose names are not UTF-8, such as {odd[0]}")
