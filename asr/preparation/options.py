"""The user's choices for a preparation."""

from dataclasses import dataclass
from pathlib import Path

from asr.errors import UsageError
from asr.features import LogMelConfig
from asr.preparation.checks import Limits
from asr.store.layout import Kind
from asr.text import TextProfile, Unknown


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus is prepared; the defaults are the corpus's own.

    Parameters
    ----------
    features : LogMelConfig, optional
    kind : {"features", "audio"}, optional
        What to store: log-mel features, or waveforms for augmentation on the fly.
    splits : tuple of str, optional
        None: all that exist.
    speeds : tuple of float
        Speed-perturbed copies of the training utterances, such as (0.9, 1.1).
    profile : TextProfile, optional
    unknown : {"refuse", "map", "drop", "reject"}, optional
        Overrides the profile's treatment of characters outside its alphabet.
    limits : Limits, optional
    archive : Path, optional
        An archive, or a folder of archives, instead of a download.
    source : Path, optional
        The extracted corpus, instead of an archive.
    cache : Path, optional
        Where archives are downloaded to and extracted; default: ``downloads`` beside the output.
    jobs : int
        Processes; 0: one per core.
    cluster : str
        Address of a dask scheduler, instead of processes here; its workers must see the same files.
    shard_utterances : int
        Utterances per shard, the unit of work.
    force : bool
        Prepare existing stores again.
    allow_missing : bool
        Continue even if many of the audio files named in the transcripts are missing.
    quiet : bool
        No progress bar and no summary.
    """

    features: LogMelConfig | None = None
    kind: Kind | None = None
    splits: tuple[str, ...] | None = None
    speeds: tuple[float, ...] = ()
    profile: TextProfile | None = None
    unknown: Unknown | None = None
    limits: Limits | None = None
    archive: Path | None = None
    source: Path | None = None
    cache: Path | None = None
    jobs: int = 1
    cluster: str = ""
    shard_utterances: int = 200
    force: bool = False
    allow_missing: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (None, "features", "audio"):
            raise UsageError(f"store: got {self.kind!r}; expected features or audio")
        if self.jobs < 0:
            raise UsageError(f"jobs: got {self.jobs}; expected a number of processes, or 0 for one per core")
        if self.shard_utterances < 1:
            raise UsageError(f"shard-utterances: got {self.shard_utterances}; expected at least 1")
        for speed in self.speeds:
            if not 0.5 <= speed <= 2.0 or speed == 1.0:
                raise UsageError(f"speeds: got {speed:g}; expected factors from 0.5 to 2 other than 1, such as 0.9")
        if self.archive is not None and self.source is not None:
            raise UsageError("got both --archive and --source; expected one: an archive, or the extracted corpus")
