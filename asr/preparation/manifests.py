"""Users' own data as a corpus: the split of each row, and its part of a recording."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.formats import COLUMNS, read_source
from asr.preparation.parsing import held_out, share_of
from asr.text import VERBATIM, TextProfile

HOLD_OUT = ("speaker", "text", "id")
HOLD_OUT_PERCENT = 5.0
SHARED = ("train", "dev", "test")


@dataclass(frozen=True)
class ManifestOptions:
    """How users' own data are read.

    Parameters
    ----------
    columns : dict of str to str
        Name of the column (or JSON key) for each of "audio", "text", "speaker", "id", "start", "duration", "end" (of
        a part of the recording, in seconds), "split" and "disagreement" (see `RawUtterance`); those of `COLUMNS` by
        default.
    hold_out : str
        Whether to hold out dev and test by speaker, text or id, for rows without a split; empty: these are all "train".
    profile : TextProfile
    features : LogMelConfig
    """

    columns: dict[str, str] = field(default_factory=dict)
    hold_out: str = ""
    profile: TextProfile = VERBATIM
    features: LogMelConfig = field(default_factory=LogMelConfig)

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in COLUMNS:
                raise UsageError(f"columns: got {name!r}{did_you_mean(name, COLUMNS)}; expected {', '.join(COLUMNS)}")
        if self.hold_out and self.hold_out not in HOLD_OUT:
            raise UsageError(f"hold out: got {self.hold_out!r}; expected one of {', '.join(HOLD_OUT)}")


def manifest_corpus(name: str, sources: Mapping[str, Path], options: ManifestOptions | None = None) -> Corpus:
    """Return the corpus of users' own data.

    Parameters
    ----------
    name : str
    sources : mapping of str to Path
        Split → manifest, table or folder. In the source of split ``""``, each row's own column names its split; rows
        without one are divided as `ManifestOptions.hold_out` says, or are all "train".
    options : ManifestOptions, optional

    Raises
    ------
    UsageError
        If a source is missing or of an unknown kind.
    DataError
        If a split that a row names cannot be a folder's name.
    """
    # The recordings are looked for below the sources, from whichever folder.
    sources = {split: path.absolute() for split, path in sources.items()}
    options = options or ManifestOptions()
    for path in sources.values():
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; expected a manifest, a table or a folder of audio")
    shared = SHARED if options.hold_out else ("train",)
    splits = list(
        dict.fromkeys(
            name
            for split, path in sources.items()
            for named in ((split,) if split else _splits_of(path, options.columns))
            for name in ((named,) if named else shared)
        )
    )

    chosen = _spread(sources, options) if options.hold_out else {}

    def parse(_root: Path) -> Iterator[RawUtterance]:
        for split, path in sources.items():
            for row in read_source(path, options.columns):
                yield _utterance(row, split, path, options, chosen)

    return Corpus(
        name=name,
        title=name,
        licence="",
        parse=parse,
        splits=tuple(splits),
        train_splits=tuple(split for split in splits if split.lower().startswith("train")),
        embedded=Path(os.path.commonpath([_folder(path) for path in sources.values()])),
        features=options.features,
        profile=options.profile,
    )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _splits_of(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Return the splits that the rows name, "" for rows that name none."""
    splits = list(dict.fromkeys(_split(row) for row in read_source(path, columns)))
    for split in splits:
        if split.startswith(".") or "/" in split or "\\" in split:
            raise DataError(f"{path}: a row has the split {split!r}; expected a valid folder name")
    return splits or [""]


def _spread(sources: Mapping[str, Path], options: ManifestOptions) -> dict[str, str]:
    """Return key → split for the keys whose hash would leave a split empty: there are too few of them for 5 %.

    Raises
    ------
    UsageError
        If there are fewer keys than splits.
    """
    # Of millions of sentences three are enough to know.
    keys: dict[str, float] = {}
    filled: set[str] = set()
    for path in (path for split, path in sources.items() if not split):
        for row in read_source(path, options.columns):
            key = "" if _split(row) else _key(row, options.hold_out)
            if key:
                filled.add(held_out(key, HOLD_OUT_PERCENT, HOLD_OUT_PERCENT))
                if len(filled) == len(SHARED):
                    return {}
                keys.setdefault(key, share_of(key))
    if not keys:
        return {}
    if len(keys) < len(SHARED):
        raise UsageError(
            f"--hold-out {options.hold_out}: got {len(keys)} of them; expected {len(SHARED)} or more, one for each of "
            f"{', '.join(SHARED)}: hold out by text or id, or give the splits yourself"
        )
    test, dev, *rest = sorted(keys, key=lambda key: (keys[key], key))
    return {test: "test", dev: "dev"} | dict.fromkeys(rest, "train")


def _key(row: Mapping[str, Any], hold_out: str) -> str:
    """Return the speaker, text or id of a row, as its utterance has it."""
    if hold_out == "id":
        return str(row.get("id") or _plain(row["audio"]).stem)
    return str(row.get(hold_out) or "")


def _plain(name: str | Path) -> Path:
    """Return the path of a name that Windows may have written."""
    return Path(str(name).replace("\\", "/")) if os.sep == "/" else Path(name)


def _placed(name: str | Path, folder: Path) -> Path:
    """Return where a file is; a name with backslashes is one of Windows unless there is such a file."""
    path = folder / name
    return folder / _plain(name) if "\\" in str(name) and not path.exists() else path


def _split(row: dict[str, Any]) -> str:
    return str(row.get("split") or "").strip()


def _utterance(
    row: dict[str, Any], split: str, origin: Path, options: ManifestOptions, chosen: Mapping[str, str]
) -> RawUtterance:
    if not isinstance(row["audio"], str | Path) or not str(row["audio"]):
        raise DataError(f"{origin}: a row has the audio {row['audio']!r}; expected the name of a file")
    if not isinstance(row.get("text") or "", str | int | float):
        raise DataError(f"{origin}: {row['audio']}: has the text {row['text']!r}; expected a string")
    start, end = _part(row, origin)
    audio = _placed(row["audio"], _folder(origin))
    name = str(row.get("id") or audio.stem)
    if start:
        name = name if row.get("id") else f"{name}-{round(start * 1000):08d}"
    speaker, text = str(row.get("speaker") or ""), str(row.get("text") or "")
    split = split or _split(row)
    if not split:
        key = _key(row, options.hold_out) if options.hold_out else ""
        if options.hold_out and not key:
            raise DataError(f"{origin}: {name} has no {options.hold_out} to hold out by; expected one: --hold-out id")
        split = chosen.get(key) or held_out(key, HOLD_OUT_PERCENT, HOLD_OUT_PERCENT) if options.hold_out else "train"
    return RawUtterance(
        id=name,
        audio=audio,
        text=text,
        speaker=speaker,
        split=split,
        start_seconds=start,
        end_seconds=end,
        channels=tuple(row.get("channels", ())),
        disagreement=_disagreement(row, origin),
        stated_seconds=_stated(row),
    )


def _stated(row: Mapping[str, Any]) -> float:
    """Return how long the whole recording is said to be, in seconds; 0 where nothing usable is said."""
    try:
        stated = float(row.get("stated") or 0.0)
    except (TypeError, ValueError):
        return 0.0
    return stated if 0 < stated < math.inf else 0.0


def _disagreement(row: dict[str, Any], origin: Path) -> float:
    try:
        value = float(row.get("disagreement") or 0.0)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(
            f"{origin}: {row['audio']}: has the disagreement {row['disagreement']!r}; expected a number of 0 or more, "
            "such as 0.12"
        )
    return value


def _part(row: dict[str, Any], origin: Path) -> tuple[float, float | None]:
    """Return where the utterance starts and ends in its recording, in seconds; an end of None is that of the file."""
    try:
        start = float(row.get("start") or 0.0)
        end = start + float(row["duration"]) if row.get("duration") else float(row.get("end") or 0.0) or None
    except (TypeError, ValueError):
        start = end = math.nan
    if not 0 <= start < (math.inf if end is None else end) or end == math.inf:
        said = ", ".join(f"{name} {row[name]!r}" for name in ("start", "duration", "end") if row.get(name) is not None)
        raise DataError(
            f"{origin}: {row['audio']}: got {said}; expected seconds of 0 or more, and an end after the start"
        )
    return start, end
