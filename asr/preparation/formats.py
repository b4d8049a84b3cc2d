"""Rows out of NeMo manifests, tables, Hugging Face's folders, folders of audio with text; see also `kaldi`."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.errors import DataError, UsageError, did_you_mean, first_line
from asr.files import atomic_path
from asr.preparation.kaldi import kaldi_directory
from asr.preparation.parsing import audio_in, numbered_lines, read_lines

# What columns are called where nothing else is said; the first that a table has is taken.
COLUMNS = {
    "audio": ("audio", "audio_filepath", "wav_filename", "file_name", "path", "file", "filename", "wav"),
    "text": ("text", "transcript", "sentence", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "id": ("id", "utt_id", "utterance_id"),
    "start": ("start", "offset"),
    "duration": ("segment_duration", "duration"),
    "end": ("end",),
    "split": ("split", "subset"),
    "disagreement": ("disagreement",),
}
# This counts only beside a start.
ONLY_WITH_START = ("end",)
# What parts the columns of tables; the one that the first line has most of is taken.
DELIMITERS = (",", ";", "\t", "|")
# What lists the recordings of Hugging Face's audiofolder.
AUDIOFOLDER = ("metadata.jsonl", "metadata.csv")


def read_source(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield rows with the keys of `COLUMNS` from any known format, recognised by name and content.

    Raises
    ------
    UsageError
        If the format is unknown, or a column is missing.
    DataError
        If a line is invalid.
    """
    if (path / "wav.scp").exists():
        return kaldi_directory(path)
    if (path / "dataset_info.json").exists() or (path / "dataset_dict.json").exists():
        return saved_dataset(path, columns)
    if path.is_dir():
        lists = [found for name in AUDIOFOLDER for found in sorted([path / name, *path.glob(f"*/{name}")])]
        present = [found for found in lists if found.is_file() and _names_audio(found)]
        return audiofolder(path, present, columns) if present else audio_with_text(path)
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return nemo_manifest(path, columns)
    if path.suffix.lower() in (".csv", ".tsv"):
        return table(path, columns)
    raise UsageError(
        f"{path}: is of an unknown kind; expected a NeMo manifest (.json, .jsonl), a table (.csv, .tsv), a Kaldi "
        "directory (with wav.scp), a folder that datasets.save_to_disk wrote, or a folder of audio with "
        "metadata.csv in it or .txt beside each file"
    )


# {"audio_filepath": "a/b.wav", "duration": 3.2, "offset": 0.5, "text": "so it is", "speaker": "17"}
def nemo_manifest(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of JSON lines; a ``duration`` without ``offset`` is of a part from the start on, as in NeMo."""
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
        except ValueError:
            raise DataError(f"{path}, line {number}: is not JSON; expected one object per line, as in NeMo") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: is {type(row).__name__}; expected an object, as in NeMo")
        names = _columns(path, row, columns, f"line {number}: ")
        values = {wanted: row[name] for wanted, name in names.items()}
        if values.get("duration") and "start" not in values:
            values["start"] = 0.0
        yield values


# wav_filename,wav_filesize,transcript
# clips/0001.wav,64044,so it is
def table(path: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a CSV file, or a TSV file (without quoting), with a header.

    A ``duration`` without a start is that of the whole recording.
    """
    place = 0

    def lines() -> Iterator[str]:
        nonlocal place
        for place, line in numbered_lines(path):  # noqa: B007
            # Within quotes the end of a line parts words.
            yield line + "\n"

    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(next(lines(), ""))
    tabs = delimiter == "\t"
    reader = csv.DictReader(
        lines(), delimiter=delimiter, quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL, strict=True
    )
    try:
        if not reader.fieldnames:
            raise DataError(f"{path}: is empty; expected a first line that names the columns")
        names = _columns(path, reader.fieldnames, columns)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {place}: the number of fields is not the header's {len(reader.fieldnames)}"
                )
            values = {wanted: row[name] for wanted, name in names.items()}
            if "start" not in values and "duration" in values:
                values["stated"] = values.pop("duration")
            yield values
    except csv.Error as error:
        raise DataError(f"{path}, line {place}: is not CSV ({error})") from None


def _delimiter(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=lambda mark: (bare.count(mark), mark == ","))


# metadata.csv or metadata.jsonl, in the folder or in one for each split:
# file_name,transcription
# clips/0001.wav,so it is
def audiofolder(folder: Path, lists: Sequence[Path], columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of Hugging Face's audiofolder; names are relative to their list, whose folder is the split."""
    for path in lists:
        rows = table(path, columns) if path.suffix == ".csv" else nemo_manifest(path, columns)
        split = {} if path.parent == folder else {"split": path.parent.name}
        for row in rows:
            yield {**split, **row, "audio": str(path.parent / str(row["audio"]))}


def _names_audio(path: Path) -> bool:
    """Whether a list is audiofolder's: others, such as LJSpeech's, have the same name."""
    return "file_name" in next(read_lines(path), "")


# dataset_dict.json, train/state.json, train/data-00000-of-00001.arrow; the column audio: {bytes, path}
def saved_dataset(folder: Path, columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a folder that ``datasets.save_to_disk`` wrote; audio that is in it is written beside it, once.

    Raises
    ------
    DataError
        If it is damaged, or its audio cannot be written to ``FOLDER-audio``.
    """
    import pyarrow as pa

    parts = [folder]
    if (folder / "dataset_dict.json").exists():
        parts = [path for path in sorted(folder.iterdir()) if (path / "dataset_info.json").exists()]
    for part in parts:
        split = {} if part == folder else {"split": part.name}
        number = 0
        for path in sorted(part.glob("data-*.arrow")):
            try:
                with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
                    for batch in reader:
                        for row in batch.to_pylist():
                            names = _columns(path, row, columns)
                            values = {wanted: row[name] for wanted, name in names.items()}
                            audio = _audio_of(values["audio"], folder, part.name, number)
                            yield {"id": f"{number:08d}", **split, **values, "audio": audio}
                            number += 1
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(
                    f"{path}: cannot be read ({first_line(error)}); expected what save_to_disk wrote"
                ) from None


def _audio_of(value: Any, folder: Path, part: str, number: int) -> str:
    """Return the file of a row's audio; its bytes are written where it has none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
        raise DataError(f"{folder}: row {number} has the audio {str(value)[:60]!r}; expected bytes or a path")
    if not value.get("bytes"):
        return str(value["path"])
    suffix = Path(str(value.get("path") or "")).suffix or ".wav"
    path = folder.with_name(f"{folder.name}-audio") / part / f"{number:08d}{suffix}"
    if not path.exists() or path.stat().st_size != len(value["bytes"]):
        with atomic_path(path) as temporary:
            temporary.write_bytes(value["bytes"])
    return str(path)


def _columns(path: Path, present: Iterable[str], columns: Mapping[str, str], place: str = "") -> dict[str, str]:
    """Return for each wanted name the column that has it."""
    present = list(present)
    names = {}
    for wanted, usual in COLUMNS.items():
        if wanted in columns:
            if columns[wanted] not in present:
                hint = did_you_mean(columns[wanted], present)
                raise UsageError(
                    f"{path}: {place}has no column {columns[wanted]!r}{hint}; there are: {', '.join(present)}"
                )
            names[wanted] = columns[wanted]
        else:
            found = [name for name in usual if name in present]
            if found and (wanted not in ONLY_WITH_START or "start" in names):
                names[wanted] = found[0]
    if "audio" not in names:
        raise UsageError(
            f"{path}: {place}none of its columns ({', '.join(present)}) names the audio; name it: --columns audio=NAME"
        )
    return names


def audio_with_text(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every recording below `folder` with the text in the file of its stem and ``.txt`` beside it."""
    for path in audio_in(folder):
        text = path.with_suffix(".txt")
        words = " ".join(read_lines(text)) if text.exists() else ""
        name = "-".join(path.relative_to(folder).with_suffix("").parts)
        speaker = path.parent.name if path.parent != folder else ""
        yield {"audio": path, "text": words, "id": name, "speaker": speaker}
