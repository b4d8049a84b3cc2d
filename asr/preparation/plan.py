"""From a corpus's utterances to units of work: slices of the utterance list, spooled to the disk.

Everything that needs no audio is decided here: splits, ids, transcripts, missing files. Its slice and the settings
determine a shard, so the slice's digest shows whether an existing shard is the right one.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from asr.errors import DataError
from asr.preparation.corpus import RawUtterance
from asr.store.layout import write_bytes
from asr.store.source import Source
from asr.text import TextProfile, describe_characters

WORK = ".work"

# Of the audio files that transcripts name, this fraction may be missing before the corpus counts as incomplete.
MAX_MISSING = 0.02


@dataclass(frozen=True)
class PlanSettings:
    """The settings of planning.

    Parameters
    ----------
    roots : tuple of Path
        Folders of the corpus; recordings are named relative to the first that holds them.
    profile : TextProfile or None
        None: the utterances have no transcripts.
    speeds : tuple of float
        Copies to make of the utterances of `train_splits`.
    train_splits : tuple of str
    shard_utterances : int
    """

    roots: tuple[Path, ...]
    profile: TextProfile | None
    speeds: tuple[float, ...]
    train_splits: tuple[str, ...]
    shard_utterances: int


class PlannedFile(NamedTuple):
    """A recording: the number of the root that it lies below (-1: none), its name there, and its size."""

    root: int
    name: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class PlannedUtterance:
    """A `RawUtterance` whose recordings were found and whose transcript was normalised; a line of a slice."""

    id: str
    files: tuple[PlannedFile, ...]
    text: str
    speaker: str
    start_seconds: float
    end_seconds: float | None
    gaps_seconds: tuple[float, ...]
    speed: float
    channels: tuple[int, ...]
    disagreement: float
    stated_seconds: float

    @property
    def source(self) -> Source:
        """What the store says of where the utterance is from."""
        names = tuple(file.name for file in self.files)
        return Source(names, self.start_seconds, self.end_seconds, self.speed, self.channels)

    def to_json(self) -> str:
        """Return one line."""
        row: dict[str, Any] = {
            "id": self.id, "files": self.files, "text": self.text, "speaker": self.speaker,
            "start": self.start_seconds, "end": self.end_seconds, "gaps": self.gaps_seconds, "speed": self.speed,
        }  # fmt: skip
        # Only where they say something: the digests of other corpora stay as they were.
        if self.channels:
            row["channels"] = self.channels
        if self.disagreement:
            row["disagreement"] = self.disagreement
        if self.stated_seconds:
            row["stated"] = self.stated_seconds
        return json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, line: str) -> "PlannedUtterance":
        """Return what `to_json` wrote."""
        row = json.loads(line)
        files = tuple(PlannedFile(*file) for file in row["files"])
        return cls(
            row["id"], files, row["text"], row["speaker"], row["start"], row["end"], tuple(row["gaps"]), row["speed"],
            tuple(row.get("channels", ())), row.get("disagreement", 0.0),
            row.get("stated", 0.0),
        )  # fmt: skip


@dataclass(frozen=True)
class Rejection:
    """An utterance that is left out: its id, the kind of reason, and details."""

    id: str
    reason: str
    detail: str


@dataclass
class SplitPlan:
    """The slices of one split.

    Parameters
    ----------
    folder : Path
        Where the split's store comes to lie; the slices are in its ``.work``.
    slice_utterances : int
        In each slice but the last.
    digests : list of str
        SHA-256 of each slice, the same whichever other folders of the corpus are given.
    utterances : int
        In all slices.
    rejected : list of Rejection
        What is left out already.
    characters : Counter of str
        Outside the alphabet, in all transcripts.
    """

    folder: Path
    slice_utterances: int
    digests: list[str] = field(default_factory=list)
    utterances: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    characters: Counter[str] = field(default_factory=Counter)
    _rows: list[PlannedUtterance] = field(default_factory=list)
    _ids: set[bytes] = field(default_factory=set)

    @property
    def work(self) -> Path:
        """The folder of what is not final."""
        return self.folder / WORK

    def slice_path(self, number: int) -> Path:
        """Return where slice `number` is."""
        return self.work / f"slice-{number:05d}.jsonl"

    def size(self, number: int) -> int:
        """Return how many utterances are in slice `number`."""
        return min(self.slice_utterances, self.utterances - number * self.slice_utterances)

    def add(self, row: PlannedUtterance) -> None:
        """Add a planned utterance; a slice that is full is written."""
        key = hashlib.blake2b(row.id.encode(), digest_size=8).digest()
        if key in self._ids:
            self.reject(row.id, "duplicate id", "an earlier utterance has this id; expected each id once")
            return
        self._ids.add(key)
        self._rows.append(row)
        self.utterances += 1
        if len(self._rows) == self.slice_utterances:
            self.flush()

    def reject(self, name: str, reason: str, detail: str) -> None:
        """Leave an utterance out."""
        self.rejected.append(Rejection(name, reason, detail))

    def flush(self) -> None:
        """Write the slice that is begun."""
        if self._rows:
            data = _lines(self._rows)
            path = self.slice_path(len(self.digests))
            if not path.exists() or path.read_bytes() != data:
                write_bytes(path, data)
            self.digests.append(hashlib.sha256(_lines(_without_roots(self._rows))).hexdigest())
            self._rows = []

    def digest(self) -> str:
        """Return one SHA-256 of all slices."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()


def _lines(rows: Iterable[PlannedUtterance]) -> bytes:
    return "".join(row.to_json() for row in rows).encode()


def _without_roots(rows: Iterable[PlannedUtterance]) -> Iterator[PlannedUtterance]:
    """Yield the rows as if there were one root: the numbers change with the archives that the wanted splits need."""
    for row in rows:
        yield replace(row, files=tuple(file._replace(root=min(file.root, 0)) for file in row.files))


def read_slice(path: Path) -> Iterator[PlannedUtterance]:
    """Yield the planned utterances of a slice."""
    return map(PlannedUtterance.from_json, filter(None, path.read_text(encoding="utf-8").split("\n")))


def plan(
    utterances: Iterable[RawUtterance], folders: dict[str, Path], settings: PlanSettings, *, allow_missing: bool
) -> dict[str, SplitPlan]:
    """Normalise transcripts, check what needs no audio, and write the slices of every split in `folders`.

    Returns
    -------
    dict
        Split → plan, for the splits that have utterances, in the order of `folders`.

    Raises
    ------
    DataError
        If transcripts have characters outside the alphabet and the profile refuses them, or many audio files are
        missing.
    """
    plans = {split: SplitPlan(folder, settings.shard_utterances) for split, folder in folders.items()}
    unknown: dict[str, str] = {}
    for utterance in utterances:
        split = plans.get(utterance.split)
        if split is None:
            continue
        row = _row(utterance, split, settings, unknown)
        if row is None:
            continue
        for copy in _copies(row, utterance.split, settings):
            split.add(copy)
    if unknown and settings.profile is not None:
        raise _outside_alphabet(unknown, plans, settings.profile)
    for name, split in plans.items():
        split.flush()
        _check_missing(name, split, allow_missing)
    return {name: split for name, split in plans.items() if split.utterances or split.rejected}


def _row(
    utterance: RawUtterance, split: SplitPlan, settings: PlanSettings, unknown: dict[str, str]
) -> PlannedUtterance | None:
    """Return the planned utterance, or None if it is left out."""
    name = utterance.id.encode("utf-8", "backslashreplace").decode()
    files = []
    for path in utterance.files:
        try:
            str(path).encode()
            files.append(PlannedFile(*_relative(path, settings.roots), path.stat().st_size))
        except UnicodeEncodeError:
            split.reject(name, "name not UTF-8", f"{str(path)!a}: expected a UTF-8 name: rename the file")
            return None
        except OSError as error:
            split.reject(name, "missing audio", f"{path}: {error.strerror}")
            return None
    text = ""
    if settings.profile is not None:
        text = settings.profile.clean(utterance.text)
        outside = settings.profile.unknown_characters(text)
        split.characters.update(outside)
        if outside and settings.profile.unknown == "reject":
            split.reject(name, "characters outside the alphabet", f"{describe_characters(outside)} in {text!r}")
            return None
        text, left = settings.profile.treat(text)
        for character in left:
            unknown.setdefault(character, f"{name}: {text}")
        if not text:
            split.reject(name, "empty transcript", repr(utterance.text))
            return None
    return PlannedUtterance(
        name, tuple(files), text, utterance.speaker, utterance.start_seconds, utterance.end_seconds,
        utterance.gaps_seconds, utterance.speed, utterance.channels, utterance.disagreement,
        utterance.stated_seconds,
    )  # fmt: skip


def _relative(path: Path, roots: tuple[Path, ...]) -> tuple[int, str]:
    """Return the number of the root that holds `path` and the rest of it; -1 and all of it where none does."""
    for number, root in enumerate(roots):
        if path.is_relative_to(root):
            return number, path.relative_to(root).as_posix()
    return -1, path.absolute().as_posix()


def _copies(row: PlannedUtterance, split: str, settings: PlanSettings) -> Iterator[PlannedUtterance]:
    yield row
    if split in settings.train_splits:
        for speed in settings.speeds:
            # Kaldi's names; the copy is another voice to whoever adapts to speakers.
            speaker = f"sp{speed:g}-{row.speaker}" if row.speaker else ""
            yield replace(row, id=f"sp{speed:g}-{row.id}", speaker=speaker, speed=row.speed * speed)


def _outside_alphabet(unknown: dict[str, str], plans: dict[str, SplitPlan], profile: TextProfile) -> DataError:
    counts: Counter[str] = Counter()
    for split in plans.values():
        counts.update(split.characters)
    lines = [
        f"  {character!r} (U+{ord(character):04X}) {counts[character]} times, as in {unknown[character]!r}"
        for character in sorted(unknown, key=lambda c: (-counts[c], c))
    ]
    return DataError(
        f"{len(unknown)} characters in the transcripts are outside the alphabet of profile {profile.name!r}, "
        f"{profile.alphabet!r}:\n" + "\n".join(lines) + "\nchoose what to do with them: --unknown map (é → e), drop "
        "(the character) or reject (the utterance); or another --profile"
    )


def _check_missing(name: str, split: SplitPlan, allow_missing: bool) -> None:
    missing = [row for row in split.rejected if row.reason == "missing audio"]
    total = split.utterances + len(split.rejected)
    if not allow_missing and len(missing) > max(MAX_MISSING * total, 1):
        raise DataError(
            f"split {name}: {len(missing)} of {total} recordings are missing, such as {missing[0].detail}: is the "
            "archive completely extracted? --allow-missing continues without them"
        )


def settings_digest(*parts: Any) -> str:
    """Return a SHA-256 of values that JSON can hold, dataclasses included."""
    text = json.dumps(parts, sort_keys=True, default=lambda value: dataclasses.asdict(value))
    return hashlib.sha256(text.encode()).hexdigest()
