"""Where a corpus comes from: an archive at hand or a download, verified, extracted safely, its root found."""

import hashlib
import json
import lzma
import os
import secrets
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asr.errors import DataError, UsageError
from asr.files import atomic_path, write_text

SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
ARCHIVES_VARIABLE = "ASR_ARCHIVES"
BLOCK_BYTES = 1 << 20

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """One file that a corpus is published in.

    Parameters
    ----------
    url : str
        Empty: it cannot be fetched without an account or a form; `how_to_get` tells the user what to do.
    checksum : str
        ``"sha256:…"`` or ``"md5:…"`` as the publisher gives it, else empty.
    splits : tuple of str
        The splits that it serves; empty: all.
    name : str
        Its name without suffix, where the address does not give it.
    stems : tuple of str
        Further names, without suffix, by which it may lie in an archive folder.
    how_to_get : str
    """

    url: str
    checksum: str = ""
    splits: tuple[str, ...] = ()
    name: str = ""
    stems: tuple[str, ...] = ()
    how_to_get: str = ""

    @property
    def stem(self) -> str:
        """The name without suffix: archives repacked in another format are found by it."""
        return self.name or strip_suffix(self.file_name)

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


def strip_suffix(name: str) -> str:
    """Return the name of an archive without its suffix."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def find_archive(archive: Archive, given: Path | None) -> Path | None:
    """Return the archive's file in `given` (a file, or a folder of archives) or in the folder ``ASR_ARCHIVES``.

    Raises
    ------
    UsageError
        If `given` is not there.
    """
    if given is not None and given.is_file():
        return given
    folder = given if given is not None else Path(os.environ.get(ARCHIVES_VARIABLE, ""))
    if given is None and ARCHIVES_VARIABLE not in os.environ:
        return None
    if not folder.is_dir():
        name = "--archive" if given is not None else ARCHIVES_VARIABLE
        raise UsageError(f"{name}: {folder}: no such file or folder; expected an archive or a folder of archives")
    wanted = (archive.stem, *archive.stems)
    names = sorted(os.listdir(folder))
    for stem in wanted:
        for name in names:
            if strip_suffix(name) == stem and name != stem:
                return folder / name
    return None


def where_it_is_not(archive: Archive, given: Path | None) -> str:
    """Return for a message in which folder `find_archive` looked in vain; empty if in none."""
    named = f"--archive {given}" if given is not None else f"{ARCHIVES_VARIABLE}={os.environ.get(ARCHIVES_VARIABLE)}"
    if given is None and ARCHIVES_VARIABLE not in os.environ:
        return ""
    names = " or ".join(f"{stem}.*" for stem in (archive.stem, *archive.stems))
    return f"; {named} was looked in and has no {names} (one of {', '.join(SUFFIXES)})"


def download(archive: Archive, cache: Path, progress: Callable[[int, int], None], looked: str = "") -> Path:
    """Fetch an archive into `cache` under a temporary name, verify it, and only then give it its name.

    Parameters
    ----------
    progress : callable
        Called with bytes so far and bytes in all (0 if unknown).
    looked : str
        For messages: what `where_it_is_not` says.

    Raises
    ------
    DataError
        If it cannot be fetched, is cut off, or its checksum is not the publisher's.
    """
    if not archive.url:
        raise DataError(
            f"{archive.stem}: has no public address: {archive.how_to_get}, then give it with --archive FILE{looked}"
        )
    final = cache / (archive.stem + archive.file_name[len(strip_suffix(archive.file_name)) :])
    if final.exists():
        return final
    try:
        with atomic_path(final) as temporary:
            _fetch(archive.url, temporary, progress)
            _verify(archive, temporary)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{archive.url}: cannot be fetched ({reason}): try again, or fetch it by other means and give it with "
            f"--archive FILE or {ARCHIVES_VARIABLE}=FOLDER{looked}"
        ) from None
    return final


def _fetch(url: str, path: Path, progress: Callable[[int, int], None]) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "ctc-asr"})
    with urllib.request.urlopen(request, timeout=60) as response, path.open("wb") as file:
        total, done = int(response.headers.get("Content-Length") or 0), 0
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            done += len(block)
            progress(done, total)
    if total and done != total:
        raise DataError(f"{url}: got {done} of {total} bytes: run the command again")


def _verify(archive: Archive, path: Path) -> None:
    if not archive.checksum:
        return
    method, expected = archive.checksum.split(":")
    with path.open("rb") as file:
        got = hashlib.file_digest(file, method).hexdigest()
    if got != expected:
        raise DataError(
            f"{archive.url}: its {method} is {got}; the publisher gives {expected}: the download is damaged or the "
            "file was changed; try again, or give a file that you trust with --archive FILE"
        )


def extract(path: Path, cache: Path, warn: Warn) -> Path:
    """Extract an archive into a folder of `cache` and return it; what was extracted before is taken as it is.

    The folder has its name only when the whole archive is in it.

    Raises
    ------
    DataError
        If the archive is truncated, damaged, encrypted, not an archive, or a member would be written outside the
        folder; or if a folder of its name is there that was not extracted by this function.
    """
    folder = cache / strip_suffix(path.name)
    mark = folder / ".extracted.json"
    origin = json.dumps({"archive": path.name, "bytes": path.stat().st_size})
    if mark.exists() and mark.read_text(encoding="utf-8") == origin:
        return folder
    if folder.exists() and not mark.exists():
        raise DataError(
            f"{folder}: is there already and was not extracted from {path}, so it is left as it is; expected a folder "
            "of extracted archives: choose another --cache, or give the folder itself with --source"
        )
    temporary = cache / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        temporary.mkdir()
        members = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)
        _write_members(path, members, temporary, warn)
        write_text(temporary / mark.name, origin)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except DataError:
        raise
    # RuntimeError: a member of a zip file is encrypted. KeyError: a hard link to what is not there.
    except (
        EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile, OSError, RuntimeError, KeyError,
        ValueError,
    ) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{path}: cannot be extracted into {cache} ({error.strerror})") from None
        raise DataError(
            f"{path}: is truncated, damaged, encrypted or not an archive ({error}); expected one of "
            f"{', '.join(SUFFIXES)}: fetch it again"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


# (name, copy the content to a file) of every regular file.
Member = tuple[str, Callable[[Path], None]]


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.issym() or member.islnk():
                target = PurePosixPath(member.name).parent / member.linkname if member.issym() else member.linkname
                _safe_parts(path, str(target), f"the link {member.name} to ")
            if member.isfile() or member.islnk():
                # A hard link's content is that of an earlier member: extractfile follows it.
                yield member.name, lambda target, member=member: _copy(archive.extractfile(member), target)  # type: ignore[misc]
            else:
                _safe_parts(path, member.name)


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, lambda target, info=info: _copy(archive.open(info), target)  # type: ignore[misc]


def _copy(source: object, target: Path) -> None:
    with source as reader, target.open("wb") as writer:  # type: ignore[attr-defined]
        shutil.copyfileobj(reader, writer, BLOCK_BYTES)


def _write_members(path: Path, members: Iterable[Member], folder: Path, warn: Warn) -> None:
    odd: list[str] = []
    for name, copy in members:
        parts = _safe_parts(path, name)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            odd.append(ascii(name))
            continue
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(target)
    if odd:
        warn(f"{path}: left out {len(odd)} members whose names are not UTF-8, such as {odd[0]}")


def _safe_parts(path: Path, name: str, what: str = "") -> tuple[str, ...]:
    """Return the parts of a member's name; refuse one that leads out of the folder."""
    depth = 0
    parts = PurePosixPath(name.replace("\\", "/")).parts
    for part in parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or part == "/" or (len(part) == 2 and part[1] == ":"):
            raise DataError(
                f"{path}: {what}{name!a} points outside the folder that it is extracted into; expected paths "
                "within it: nothing was extracted, do not trust this archive"
            )
    return parts


def find_root(start: Path, markers: tuple[str, ...]) -> Path:
    """Return the corpus's folder: `start`, or one that is at most two levels below or above it.

    Parameters
    ----------
    markers : tuple of str
        Glob patterns relative to the corpus's folder, any of which marks it.

    Raises
    ------
    DataError
        If none has a marker; the message says where it was looked for.
    """
    if not start.is_dir():
        raise DataError(f"{start}: is not a folder; expected the corpus's folder, which holds {' or '.join(markers)}")
    for marker in markers:
        for above in ("", "*/", "*/*/"):
            matches = sorted(start.glob(above + marker))
            if matches:
                depth = len(PurePosixPath(marker).parts)
                return matches[0].parents[depth - 1]
    absolute = start.absolute()
    for parent in list(absolute.parents)[:2]:
        if any(True for marker in markers for _ in parent.glob(marker)):
            return parent
    raise DataError(
        f"{start}: is not this corpus: looked for {' or '.join(markers)} in it, two levels below it, and in "
        f"{' and '.join(str(parent) for parent in list(absolute.parents)[:2])}: is the archive wholly extracted?"
    )
