"""The folders of a corpus: given, or extracted from local or downloaded archives."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from asr.console import ProgressBar
from asr.errors import DataError, MissingExtraError, UsageError, first_line
from asr.preparation.corpus import SUFFIXES, Archive, Corpus, strip_suffix
from asr.preparation.extraction import extract
from asr.preparation.options import PrepareOptions

ARCHIVES_VARIABLE = "ASR_ARCHIVES"
# What is not yet a whole block is lost where a connection breaks.
BLOCK_BYTES = 1 << 16
TIMEOUT_SECONDS = 60

# Called with bytes so far and bytes in all (0 if unknown).
OnBytes = Callable[[int, int], None]


def find_roots(
    corpus: Corpus, out: Path, options: PrepareOptions, progress: ProgressBar, warn: Callable[[str], None]
) -> tuple[Path, ...]:
    """Return the folders of the corpus, after downloading and extracting archives as needed.

    Raises
    ------
    DataError
        If an archive is not available, or a folder is not the corpus.
    UsageError
        If there is no folder or archive to look in.
    """
    if options.source is not None:
        return (find_root(options.source, corpus.markers),)
    cache = options.cache or out.parent / "downloads"
    if corpus.embedded is not None and options.archive is None:
        folder = corpus.embedded if corpus.embedded.is_dir() else extract(corpus.embedded, cache, warn)
        return (find_root(folder, corpus.markers),)
    if not corpus.archives:
        raise UsageError(f"{corpus.name}: has no archive to download; expected --source FOLDER")
    # An archive of several parts is found under the name of each: one file, extracted once.
    paths = dict.fromkeys(_archive_paths(corpus, cache, options, progress))
    return tuple(find_root(extract(path, cache, warn), corpus.markers) for path in paths)


def _archive_paths(corpus: Corpus, cache: Path, options: PrepareOptions, progress: ProgressBar) -> list[Path]:
    """Return the files of the archives with the wanted splits; missing ones are downloaded."""
    found = {a: path for a in corpus.archives if (path := find_archive(a, options.archive)) is not None}
    at_hand = sorted({path.name for path in found.values()})
    paths = []
    for archive in _needed(corpus, options, set(found)):
        if archive in found:
            paths.append(found[archive])
        elif archive.url or options.splits or not found:
            looked = searched(archive, options.archive)
            if at_hand:
                looked += f"; found {', '.join(at_hand)}: choose the splits in them with --splits"
            with progress.task(f"{corpus.name}: fetching {archive.stem}", unit="MB", scale=1 << 20) as task:
                paths.append(download(archive, cache, task, looked))
    return paths


def _needed(corpus: Corpus, options: PrepareOptions, found: set[Archive]) -> list[Archive]:
    """Return the archives of the wanted splits, in the order of the corpus; see `Corpus.at_hand`."""
    wanted = options.splits or tuple(split for split in corpus.splits if split not in corpus.on_request)
    needed = set()
    for split in wanted:
        serving = {archive for archive in corpus.archives if not archive.splits or split in archive.splits}
        needed |= (serving & found if split in corpus.at_hand else set()) or serving
    return [archive for archive in corpus.archives if archive in needed]


def find_archive(archive: Archive, given: Path | None) -> Path | None:
    """Return the archive's file in `given` (a file, or a folder of archives) or in the folder ``ASR_ARCHIVES``.

    Raises
    ------
    UsageError
        If `given` does not exist.
    """
    if given is not None and given.is_file():
        return given
    folder = given if given is not None else Path(os.environ.get(ARCHIVES_VARIABLE, ""))
    if given is None and ARCHIVES_VARIABLE not in os.environ:
        return None
    if not folder.is_dir():
        name = "--archive" if given is not None else ARCHIVES_VARIABLE
        raise UsageError(f"{name}: {folder}: no such file or folder; expected an archive or a folder of archives")
    names = sorted(path.name for path in folder.iterdir())
    for stem in (archive.stem, *archive.stems):
        for name in names:
            if strip_suffix(name) == stem and name != stem:
                return folder / name
    return None


def searched(archive: Archive, given: Path | None) -> str:
    """Return, for a message, where `find_archive` looked without success; empty if nowhere."""
    named = f"--archive {given}" if given is not None else f"{ARCHIVES_VARIABLE}={os.environ.get(ARCHIVES_VARIABLE)}"
    if given is None and ARCHIVES_VARIABLE not in os.environ:
        return ""
    names = " or ".join(f"{stem}.*" for stem in (archive.stem, *archive.stems))
    return f"; {named} has no {names} (one of {', '.join(SUFFIXES)})"


def download(archive: Archive, cache: Path, progress: OnBytes, looked: str = "") -> Path:
    """Download an archive into `cache`, verify it, and only then give it its name.

    A partial download stays in `cache`, and the next call downloads the rest.

    Parameters
    ----------
    progress : callable
        Called with bytes so far and bytes in all (0 if unknown).
    looked : str
        For messages: what `searched` says.

    Raises
    ------
    DataError
        If it cannot be downloaded, is cut off, or its checksum is not the publisher's.
    MissingExtraError
        If pooch is not installed.
    """
    if not archive.url:
        raise DataError(
            f"{archive.stem}: cannot be downloaded: {archive.how_to_get}, then give it with --archive FILE{looked}"
        )
    name = archive.stem + archive.file_name[len(strip_suffix(archive.file_name)) :]
    if (cache / name).exists():
        return cache / name
    try:
        import pooch
        import requests
    except ImportError as error:
        raise MissingExtraError(error.name or "pooch", "data", "downloading a corpus") from None
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with _warnings_only(pooch.get_logger()):
            fetch = _Resumed(cache / f".{name}.part", progress)
            return Path(pooch.retrieve(archive.url, archive.checksum or None, name, cache, downloader=fetch))
    except requests.RequestException as error:
        raise DataError(
            f"{archive.url}: cannot be downloaded ({first_line(error)}): run the command again, which resumes the "
            "download; or download it by other means and give it with --archive FILE or "
            f"{ARCHIVES_VARIABLE}=FOLDER{looked}"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{archive.url}: its checksum is not the publisher's ({first_line(error)}): the download is damaged or the "
            "file was changed; try again, or give a file that you trust with --archive FILE"
        ) from None


@contextmanager
def _warnings_only(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class _Resumed:
    """A downloader for pooch that goes on where an interrupted one stopped, if the file has not changed since.

    Parameters
    ----------
    part : Path
        What was fetched so far; beside it, in ``.tag``, the server's name for this version of the file.
    progress : callable
    """

    part: Path
    progress: OnBytes

    def __call__(self, url: str, output_file: str, _pooch: Any, check_only: bool = False) -> None:  # noqa: ARG002 - pooch passes it
        """Fetch `url` into `output_file`."""
        import requests

        tag = self.part.with_suffix(".tag")
        headers = {"User-Agent": "ctc-asr", "Accept-Encoding": "identity"}
        if self.part.exists() and tag.exists():
            headers |= {"Range": f"bytes={self.part.stat().st_size}-", "If-Range": tag.read_text(encoding="utf-8")}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            done = self.part.stat().st_size if response.status_code == requests.codes.partial_content else 0
            length = int(response.headers.get("Content-Length") or 0)
            total = done + length if length else 0
            # A weak tag does not promise the same bytes.
            version = response.headers.get("ETag", "")
            version = response.headers.get("Last-Modified", "") if version.startswith("W/") or not version else version
            if not done:
                tag.unlink(missing_ok=True)
            with self.part.open("ab" if done else "wb") as file:
                if version and not done:
                    tag.write_text(version, encoding="utf-8")
                for block in response.iter_content(BLOCK_BYTES):
                    file.write(block)
                    done += len(block)
                    self.progress(done, total)
        if total and done != total:
            raise requests.ConnectionError(f"got {done} of {total} bytes")
        self.part.replace(output_file)
        tag.unlink(missing_ok=True)


def find_root(start: Path, markers: tuple[str, ...]) -> Path:
    """Return the corpus's folder: `start`, or one that is at most two levels below or above it.

    Parameters
    ----------
    markers : tuple of str
        Glob patterns relative to the corpus's folder, any of which marks it.

    Raises
    ------
    DataError
        If none has a marker, or several at the same level have; the message says where it was looked for.
    """
    if not start.is_dir():
        raise DataError(f"{start}: is not a folder; expected the corpus's folder, which holds {' or '.join(markers)}")
    for above in ("", "*/", "*/*/"):
        roots = {
            match.parents[len(PurePosixPath(marker).parts) - 1]
            for marker in markers
            for match in start.glob(above + marker)
        }
        if len(roots) > 1:
            raise DataError(
                f"{start}: holds {len(roots)} such corpora: {', '.join(map(str, sorted(roots)))}; expected one: choose "
                "it with --source FOLDER"
            )
        if roots:
            return roots.pop()
    above_it = list(start.absolute().parents)[:2]
    for parent in above_it:
        if any(True for marker in markers for _ in parent.glob(marker)):
            return parent
    raise DataError(
        f"{start}: is not this corpus: looked for {' or '.join(markers)} in it, two levels below it, and in "
        f"{' and '.join(map(str, above_it))}: is the archive completely extracted?"
    )
