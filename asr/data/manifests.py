"""Users' own data: NeMo manifests, Kaldi directories, DeepSpeech CSV, other tables, folders of audio with text."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.data.corpus import Corpus
from asr.data.utterance import RawUtterance, audio_in, held_out, numbered_lines, read_lines
from asr.errors import DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.text import VERBATIM, TextProfile

# What columns are called where nothing else is said; the first that a table has is taken.
COLUMNS = {
    "audio": ("audio", "audio_filepath", "wav_filename", "path", "file", "filename", "wav"),
    "text": ("text", "transcript", "sentence", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "id": ("id", "utt_id", "utterance_id"),
    "start": ("start", "offset"),
    "duration": ("segment_duration", "duration"),
    "end": ("end",),
    "split": ("split", "subset"),
}
# These count only beside a start: else they say how long the whole recording is.
ONLY_WITH_START = ("duration", "end")
HOLD_OUT = ("speaker", "text", "id")
HOLD_OUT_PERCENT = 5.0


@dataclass(frozen=True)
class ManifestOptions:
    """How users' own data are read.

    Parameters
    ----------
    columns : dict of str to str
        Name of the column (or JSON key) for each of "audio", "text", "speaker", "id", "start", "duration", "end" (of
        a part of the recording, in seconds) and "split"; those of `COLUMNS` by default.
    hold_out : str
        By which of speaker, text and id dev and test are held out of what has no split; empty: all of it is "train".
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
        Split → manifest, table or folder. Of the source of split ``""`` each row is of the split that its own column
        says; what has none is shared out as `ManifestOptions.hold_out` says, or all "train".
    options : ManifestOptions, optional

    Raises
    ------
    UsageError
        If a source is absent or of no known kind.
    DataError
        If a split that a row names cannot be a folder's name.
    """
    # The recordings are looked for below the sources, from whichever folder.
    sources = {split: path.absolute() for split, path in sources.items()}
    options = options or ManifestOptions()
    for path in sources.values():
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; expected a manifest, a table or a folder of audio")
    shared = ("train", "dev", "test") if options.hold_out else ("train",)
    splits = list(
        dict.fromkeys(
            name
            for split, path in sources.items()
            for named in ((split,) if split else _splits_of(path, options.columns))
            for name in ((named,) if named else shared)
        )
    )

    def parse(_root: Path) -> Iterator[RawUtterance]:
        for split, path in sources.items():
            for row in read_source(path, options.columns):
                yield _utterance(row, split, path, options)

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
    if path.is_dir():
        return [""]
    splits = list(dict.fromkeys(_split(row) for row in read_source(path, columns)))
    for split in splits:
        if split.startswith(".") or "/" in split or "\\" in split:
            raise DataError(f"{path}: a row is of the split {split!r}; expected a name that a folder can have")
    return splits or [""]


def _split(row: dict[str, Any]) -> str:
    return str(row.get("split") or "").strip()


def _utterance(row: dict[str, Any], split: str, origin: Path, options: ManifestOptions) -> RawUtterance:
    if not isinstance(row["audio"], str | Path) or not str(row["audio"]):
        raise DataError(f"{origin}: a row has {row['audio']!r} for its audio; expected the name of a file")
    try:
        start = float(row.get("start") or 0.0)
        end = start + float(row["duration"]) if row.get("duration") else float(row.get("end") or 0.0) or None
    except (TypeError, ValueError):
        raise DataError(f"{origin}: {row['audio']}: start, duration or end is not a number of seconds") from None
    audio = Path(row["audio"])
    name = str(row.get("id") or audio.stem)
    if start:
        name = name if row.get("id") else f"{name}-{round(start * 1000):08d}"
    speaker, text = str(row.get("speaker") or ""), str(row.get("text") or "")
    split = split or _split(row)
    if not split:
        key = {"speaker": speaker, "text": text, "id": name}.get(options.hold_out, "")
        if options.hold_out and not key:
            raise DataError(f"{origin}: {name} has no {options.hold_out} to hold out by; expected one: --hold-out id")
        split = held_out(key, HOLD_OUT_PERCENT, HOLD_OUT_PERCENT) if options.hold_out else "train"
    return RawUtterance(
        id=name,
        audio=audio if audio.is_absolute() else _folder(origin) / audio,
        text=text,
        speaker=speaker,
        split=split,
        start_seconds=start,
        end_seconds=end,
    )


def read_source(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield rows with the keys of `COLUMNS` out of any format that is known; it is told by name and content.

    Raises
    ------
    UsageError
        If the format is not known, or a column is not there.
    DataError
        If a line is not as the format wants it.
    """
    if (path / "wav.scp").exists():
        return kaldi_directory(path)
    if path.is_dir():
        return audio_with_text(path)
    if path.suffix in (".json", ".jsonl", ".ndjson"):
        return nemo_manifest(path, columns)
    if path.suffix in (".csv", ".tsv"):
        return table(path, columns)
    raise UsageError(
        f"{path}: is of no known kind; expected a NeMo manifest (.json, .jsonl), a table (.csv, .tsv), a Kaldi "
        "directory (with wav.scp), or a folder of audio with .txt beside it"
    )


# {"audio_filepath": "a/b.wav", "duration": 3.2, "offset": 0.5, "text": "so it is", "speaker": "17"}
def nemo_manifest(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of JSON lines; ``duration`` counts only with ``offset``, else the whole file is meant."""
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
        except ValueError:
            raise DataError(f"{path}, line {number}: is not JSON; expected one object a line, as NeMo has it") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: is {type(row).__name__}; expected an object, as NeMo has it")
        names = _columns(path, row, columns)
        yield {wanted: row[name] for wanted, name in names.items()}


# wav_filename,wav_filesize,transcript
# clips/0001.wav,64044,so it is
def table(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a CSV file, or a TSV file (without quoting), with a header."""
    tabs = path.suffix == ".tsv"
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        for place, line in numbered_lines(path):  # noqa: B007
            # Within quotes the end of a line parts words.
            yield line + "\n"

    reader = csv.DictReader(
        lines(), delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=True
    )
    try:
        names = _columns(path, reader.fieldnames or (), columns)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {place}: has another number of fields than the header's "
                    f"{len(reader.fieldnames or ())}"
                )
            yield {wanted: row[name] for wanted, name in names.items()}
    except csv.Error as error:
        raise DataError(f"{path}, line {place}: is not CSV ({error})") from None


def _columns(path: Path, present: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return for each wanted name the column that has it."""
    present = list(present)
    names = {}
    for wanted, usual in COLUMNS.items():
        if wanted in columns:
            if columns[wanted] not in present:
                hint = did_you_mean(columns[wanted], present)
                raise UsageError(f"{path}: has no column {columns[wanted]!r}{hint}; there are: {', '.join(present)}")
            names[wanted] = columns[wanted]
        else:
            found = [name for name in usual if name in present]
            if found and (wanted not in ONLY_WITH_START or "start" in names):
                names[wanted] = found[0]
    if "audio" not in names:
        raise UsageError(
            f"{path}: none of its columns ({', '.join(present)}) names the audio; say which: --columns audio=NAME"
        )
    return names


# wav.scp, text, utt2spk, segments:
# rec1 /corpus/rec1.wav
# utt1 so it is
# utt1 speaker1
# utt1 rec1 0.50 3.20
def kaldi_directory(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the utterances of a Kaldi data directory; commands in ``wav.scp`` are refused, nothing is run."""
    recordings = _kaldi(folder / "wav.scp")
    for name, place in recordings.items():
        if place.endswith("|"):
            raise DataError(
                f"{folder / 'wav.scp'}: {name} is a command, {place[:60]!r}; expected a file: run it once and name its "
                "output, nothing is run from data files"
            )
    speakers = _kaldi(folder / "utt2spk") if (folder / "utt2spk").exists() else {}
    segments = _kaldi(folder / "segments") if (folder / "segments").exists() else None
    for line in read_lines(folder / "text"):
        name, _, text = line.replace("\t", " ").partition(" ")
        row: dict[str, Any] = {"id": name, "text": text, "speaker": speakers.get(name, "")}
        recording = name
        if segments is not None:
            try:
                recording, start, end = segments[name].split()
                row |= {"start": float(start), "duration": float(end) - float(start)}
            except (KeyError, ValueError):
                raise DataError(f"{folder / 'segments'}: has no '{name} RECORDING START END'") from None
        if recording not in recordings:
            raise DataError(f"{folder / 'wav.scp'}: has no {recording!r}, which text or segments name")
        yield {**row, "audio": _kaldi_place(folder, recordings[recording])}


def _kaldi_place(folder: Path, place: str) -> str:
    """Return an absolute path: Kaldi's are relative to where its scripts run, above the data directory or far off."""
    found = [parent / place for parent in (folder, folder.parent, Path.cwd()) if (parent / place).exists()]
    return str((found[0] if found else folder / place).absolute())


def _kaldi(path: Path) -> dict[str, str]:
    pairs = (line.split(maxsplit=1) for line in read_lines(path))
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}


def audio_with_text(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every recording below `folder` with the text in the file of its stem and ``.txt`` beside it."""
    for path in audio_in(folder):
        text = path.with_suffix(".txt")
        words = " ".join(read_lines(text)) if text.exists() else ""
        name = "-".join(path.relative_to(folder).with_suffix("").parts)
        speaker = path.parent.name if path.parent != folder else ""
        yield {"audio": path, "text": words, "id": name, "speaker": speaker}
