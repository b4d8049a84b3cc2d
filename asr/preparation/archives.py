"""Where a corpus comes from: an archive at hand, or a download, verified before it has its name."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr.errors import DataError, UsageError
from asr.files import atomic_path

SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")
ARCHIVES_VARIABLE = "ASR_ARCHIVES"
BLOCK_BYTES = 1 << 20


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
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
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
