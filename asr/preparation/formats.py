"""Rows out of NeMo manifests, Kaldi directories, DeepSpeech CSV, other tables, folders of audio with text beside it."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asr.errors import DataError, UsageError, did_you_mean
from asr.preparation.parsing import audio_in, numbered_lines, read_lines

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
    "disagreement": ("disagreement",),
}
# These count only beside a start: else they say how long the whole recording is.
ONLY_WITH_START = ("duration", "end")


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
        names = _columns(path, row, columns, f"line {number}: ")
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
        if not reader.fieldnames:
            raise DataError(f"{path}: is empty; expected a first line that names the columns")
        names = _columns(path, reader.fieldnames, columns)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {place}: has another number of fields than the header's {len(reader.fieldnames)}"
                )
            yield {wanted: row[name] for wanted, name in names.items()}
    except csv.Error as error:
        raise DataError(f"{path}, line {place}: is not CSV ({error})") from None


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
            f"{path}: {place}none of its columns ({', '.join(present)}) names the audio; say which: "
            "--columns audio=NAME"
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
