"""The folders of a corpus: given, or out of archives that are at hand or fetched."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from asr.errors import DataError, UsageError
from asr.preparation.archives import Archive, download, find_archive, where_it_is_not
from asr.preparation.extraction import extract
from asr.preparation.options import PrepareOptions
from asr.preparation.progress import Progress

if TYPE_CHECKING:
    from asr.preparation.corpus import Corpus


def find_roots(
    corpus: "Corpus", out: Path, options: PrepareOptions, progress: Progress, warn: Callable[[str], None]
) -> tuple[Path, ...]:
    """Return the folders of the corpus, after fetching and extracting what must be.

    Raises
    ------
    DataError
        If an archive cannot be had, or a folder is not the corpus.
    UsageError
        If there is nothing to look in.
    """
    if options.source is not None:
        return (find_root(options.source, corpus.markers),)
    cache = options.cache or out.parent / "downloads"
    if corpus.embedded is not None and options.archive is None:
        folder = corpus.embedded if corpus.embedded.is_dir() else extract(corpus.embedded, cache, warn)
        return (find_root(folder, corpus.markers),)
    if not corpus.archives:
        raise UsageError(f"{corpus.name}: has no archive to fetch; expected --source FOLDER")
    # An archive of several parts is found under the name of each: one file, extracted once.
    paths = dict.fromkeys(_archive_paths(corpus, cache, options, progress))
    return tuple(find_root(extract(path, cache, warn), corpus.markers) for path in paths)


def _archive_paths(corpus: "Corpus", cache: Path, options: PrepareOptions, progress: Progress) -> list[Path]:
    """Return the files of the archives that the wanted splits are in; what is not at hand is fetched."""
    found = {a: path for a in corpus.archives if (path := find_archive(a, options.archive)) is not None}
    at_hand = sorted({path.name for path in found.values()})
    paths = []
    for archive in _needed(corpus, options, set(found)):
        if archive in found:
            paths.append(found[archive])
        elif archive.url or options.splits or not found:
            looked = where_it_is_not(archive, options.archive)
            if at_hand:
                looked += f"; at hand are {', '.join(at_hand)}: ask with --splits for what is in them"
            paths.append(download(archive, cache, progress.download(archive.stem), looked))
    return paths


def _needed(corpus: "Corpus", options: PrepareOptions, found: set[Archive]) -> list[Archive]:
    """Return the archives of the wanted splits, in the order of the corpus; see `Corpus.at_hand`."""
    wanted = options.splits or tuple(split for split in corpus.splits if split not in corpus.on_request)
    needed = set()
    for split in wanted:
        serving = {archive for archive in corpus.archives if not archive.splits or split in archive.splits}
        needed |= (serving & found if split in corpus.at_hand else set()) or serving
    return [archive for archive in corpus.archives if archive in needed]


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
        f"{' and '.join(map(str, above_it))}: is the archive wholly extracted?"
    )
