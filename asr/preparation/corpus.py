"""A corpus is a set of facts; `prepare` turns it into stores, the same way for every corpus."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr.errors import DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.preparation.archives import Archive
from asr.preparation.checks import Limits
from asr.preparation.index import Summary
from asr.preparation.options import PrepareOptions
from asr.preparation.utterance import RawUtterance, audio_in, find_audio, held_out, read_lines
from asr.store.layout import Kind
from asr.text import ENGLISH, TextProfile

__all__ = [
    "Archive",
    "Corpus",
    "Limits",
    "PrepareOptions",
    "RawUtterance",
    "Summary",
    "audio_in",
    "find_audio",
    "held_out",
    "load_corpus",
    "main",
    "prepare",
    "read_lines",
]


@dataclass(frozen=True)
class Corpus:
    """What there is to know about a corpus.

    Parameters
    ----------
    name : str
        Short; also the name of its script.
    title : str
    licence, citation, homepage : str
    version : str
        Of the data.
    parse : callable
        Folder of the extracted corpus → its utterances.
    markers : tuple of str
        Glob patterns, relative to the corpus's folder, any of which tells it from other folders.
    splits : tuple of str
        That `parse` may yield, in the order in which they are prepared.
    on_request : tuple of str
        Those of `splits` that are prepared only if they are asked for.
    at_hand : tuple of str
        Of `on_request`, those that are made of whichever of their archives are at hand; of other splits all archives
        are needed.
    train_splits : tuple of str
        Of `splits`, those that speed-perturbed copies and global statistics are made from.
    archives : tuple of Archive
        Empty: the user's own data.
    embedded : Path, optional
        The corpus, an archive or a folder, where it need not be fetched: beside its script, or the user's own.
    features : LogMelConfig
    profile : TextProfile or None
        None: recordings without transcripts.
    kind : {"features", "audio"}
        What is stored unless the user says otherwise.
    limits : Limits
        Outside which utterances are left out, unless the user says otherwise.
    """

    name: str
    title: str
    licence: str
    parse: Callable[[Path], Iterable[RawUtterance]]
    splits: tuple[str, ...]
    markers: tuple[str, ...] = ("*",)
    homepage: str = ""
    citation: str = ""
    version: str = "1"
    on_request: tuple[str, ...] = ()
    at_hand: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ("train",)
    archives: tuple[Archive, ...] = ()
    embedded: Path | None = None
    features: LogMelConfig = field(default_factory=LogMelConfig)
    profile: TextProfile | None = ENGLISH
    kind: Kind = "features"
    limits: Limits = field(default_factory=Limits)


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Return the ``CORPUS`` of a corpus script: a path, or the name of a script in ``data_prep``.

    Raises
    ------
    UsageError
        If there is no such script, or it has no ``CORPUS``.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        folders = (Path("data_prep"), Path(__file__).resolve().parents[2] / "data_prep")
        known = {script.stem: script for folder in reversed(folders) for script in folder.glob("*.py")}
        if path.name not in known:
            listed = ", ".join(sorted(known)) or f"none in {folders[0].absolute()}"
            raise UsageError(f"no corpus {path.name!r}{did_you_mean(path.name, known)}; expected one of: {listed}")
        path = known[path.name]
    if not path.is_file():
        raise UsageError(f"{path}: no such corpus script; expected data_prep/NAME.py")
    spec = importlib.util.spec_from_file_location(f"data_prep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: is not a Python script")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    corpus = getattr(module, "CORPUS", None)
    if not isinstance(corpus, Corpus):
        raise UsageError(f"{path}: has no CORPUS = Corpus(...); expected the script of one corpus")
    return corpus


def prepare(corpus: Corpus, out: str | Path, options: PrepareOptions | None = None) -> Summary:
    """Turn a corpus into one store a split, below `out`; what is done already is left as it is.

    A run that was stopped, however rudely, goes on where it was when it is called again.

    Raises
    ------
    DataError
        If the corpus cannot be had or is not as it should be, or `out` holds something else.
    UsageError
        If an option does not fit the corpus.
    """
    from asr.preparation.prepare import run

    try:
        return run(corpus, Path(out), options or PrepareOptions())
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be read or written ({error.strerror or error}): mend that and run the "
            "same command again, it goes on where it was"
        ) from None


def main(corpus: Corpus) -> None:
    """Run a corpus script's command line, and end the process with its status."""
    from asr.preparation.command import run

    raise SystemExit(run(corpus))
