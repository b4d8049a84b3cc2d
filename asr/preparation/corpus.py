"""The facts about a corpus: where it comes from, what it holds, and what its parser yields."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from asr.features import LogMelConfig
from asr.preparation.checks import Limits
from asr.store.layout import Kind
from asr.text import ENGLISH, TextProfile

SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip")


def strip_suffix(name: str) -> str:
    """Return the name of an archive without its suffix."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


@dataclass(frozen=True)
class Archive:
    """One file that a corpus is published in.

    Parameters
    ----------
    url : str
        Empty: it cannot be downloaded without an account or a form; `how_to_get` tells the user what to do.
    checksum : str
        ``"sha256:…"`` or ``"md5:…"`` as the publisher gives it, else empty.
    splits : tuple of str
        The splits that it serves; empty: all.
    name : str
        Its name without suffix, if it is not that of the address.
    stems : tuple of str
        Other names, without suffix, that it may have in a folder of archives.
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


@dataclass(frozen=True, slots=True)
class RawUtterance:
    """One utterance of a corpus, before its audio is read.

    Parameters
    ----------
    id : str
        Unique in its split.
    audio : Path or tuple of Path
        The recording, or several to be joined.
    text : str
        The transcript as the corpus has it; empty for noise and impulse responses.
    speaker : str
        Empty if unknown.
    split : str
    start_seconds, end_seconds : float
        The part of the recording; an end of None is the end of the file.
    gaps_seconds : tuple of float
        Silence between consecutive files of `audio`; empty: none.
    speed : float
        1.1 plays faster and higher, 0.9 slower and lower.
    channels : tuple of int
        The channels to average, counted from 0; empty: all.
    disagreement : float
        How much machines that wrote the transcript differ, such as the word error rate of one against another;
        0 for transcripts by people. Training leaves out utterances above its `max_disagreement`.
    stated_seconds : float
        The recording's duration by the corpus; 0 if not stated. If it differs, the recording is the wrong one.
    """

    id: str
    audio: Path | tuple[Path, ...]
    text: str
    speaker: str
    split: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    gaps_seconds: tuple[float, ...] = ()
    speed: float = 1.0
    channels: tuple[int, ...] = ()
    disagreement: float = 0.0
    stated_seconds: float = 0.0

    @property
    def files(self) -> tuple[Path, ...]:
        """The recordings, one or more."""
        return (self.audio,) if isinstance(self.audio, Path) else self.audio


@dataclass(frozen=True)
class Corpus:
    """The facts about a corpus, and its parser.

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
        Glob patterns, relative to the corpus's folder; any match identifies the folder.
    splits : tuple of str
        The splits that `parse` may yield, in the order in which they are prepared.
    on_request : tuple of str
        Those of `splits` that are only prepared if asked for.
    at_hand : tuple of str
        Those of `on_request` that are made from whichever of their archives exist; other splits need all of theirs.
    complete : bool
        Whether a missing split is an error, unless the user allows it.
    train_splits : tuple of str
        Those of `splits` that get speed-perturbed copies.
    archives : tuple of Archive
        Empty: the user's own data.
    embedded : Path, optional
        The corpus, an archive or a folder, if it needs no download: beside its script, or the user's own.
    features : LogMelConfig
    profile : TextProfile or None
        None: recordings without transcripts.
    kind : {"features", "audio"}
        What to store by default.
    limits : Limits
        Default limits; utterances outside them are left out.
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
    complete: bool = False
    train_splits: tuple[str, ...] = ("train",)
    archives: tuple[Archive, ...] = ()
    embedded: Path | None = None
    features: LogMelConfig = field(default_factory=LogMelConfig)
    profile: TextProfile | None = ENGLISH
    kind: Kind = "features"
    limits: Limits = field(default_factory=Limits)
