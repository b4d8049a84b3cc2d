"""A store's utterances for other programs: a NeMo manifest, or lhotse's cuts, both naming the original recordings."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import DataError, MissingExtraError
from asr.files import atomic_path, write_text
from asr.store.store import AudioStore, FeatureStore

JOINED = " + "
# Only what `asr.preparation.shard_tasks.source_of` writes: names of files may have "#" in them too.
CHANGE = r"(?:t=[\d.,e+-]+|channels=[\d,]+|speed=[\d.]+)"
FRAGMENT = re.compile(rf"#(?P<values>{CHANGE}(?:&{CHANGE})*)$")

# What a file's name cannot have here or there is written as in addresses, and so is "%": no two ids have one name.
UNSAFE = re.compile(r"""[%/\\:*?"<>|\x00-\x1f]|^\.""")


@dataclass(frozen=True)
class Source:
    """Where an utterance was taken from; see `asr.store.store.StoredUtterance`.

    Parameters
    ----------
    files : tuple of str
    start_seconds : float
    speed : float
    channels : tuple of int
        Empty: all.
    """

    files: tuple[str, ...]
    start_seconds: float
    speed: float
    channels: tuple[int, ...] = ()


def parse_source(text: str) -> Source:
    """Return what a stored ``source`` says."""
    match = FRAGMENT.search(text)
    pairs = dict(pair.split("=") for pair in match["values"].split("&")) if match else {}
    files = text[: match.start()] if match else text
    start = float(pairs.get("t", "0").split(",")[0])
    channels = tuple(int(channel) for channel in pairs.get("channels", "").split(",") if channel)
    return Source(tuple(files.split(JOINED)), start, float(pairs.get("speed", "1")), channels)


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Parameters
    ----------
    utterances : int
    left_out : int
        Utterances of a feature store that are joined, changed in speed, or single channels: no recording that could
        be named holds them.
    """

    utterances: int
    left_out: int


def export_nemo(store: FeatureStore | AudioStore, path: Path, root: Path) -> Exported:
    """Write a NeMo manifest: JSON lines of ``audio_filepath``, ``duration``, ``text``, ``offset``, ``speaker``.

    Parameters
    ----------
    store : FeatureStore or AudioStore
        Of an audio store the waveforms are written, into a folder beside `path`.
    path : Path
    root : Path
        The corpus's folder, below which the recordings of a feature store lie.

    Raises
    ------
    DataError
        If a recording is not below `root`.
    """
    rows, left_out = _rows(store, path, root)
    lines = []
    for row in rows:
        fields = {"audio_filepath": row["audio"], "duration": row["duration"], "text": row["text"]}
        if row["offset"]:
            fields["offset"] = row["offset"]
        lines.append(json.dumps({**fields, "speaker": row["speaker"]}, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))
    return Exported(len(rows), left_out)


def export_lhotse(store: FeatureStore | AudioStore, path: Path, root: Path) -> Exported:
    """Write lhotse's cuts (``.jsonl`` or ``.jsonl.gz``), each with its recording and supervision.

    Parameters and errors as `export_nemo`; besides ``MissingExtraError`` where lhotse is not installed.
    """
    try:
        from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    except ImportError:
        raise MissingExtraError("lhotse", "corpora", "exporting cuts") from None
    rows, left_out = _rows(store, path, root)
    cuts = []
    for row in rows:
        recording = Recording.from_file(row["audio"], recording_id=row["id"])
        duration = min(row["duration"], round(recording.duration - row["offset"], 6))
        supervision = SupervisionSegment(
            id=row["id"], recording_id=row["id"], start=0.0, duration=duration, text=row["text"], speaker=row["speaker"]
        )
        cuts.append(
            MonoCut(
                id=row["id"],
                start=row["offset"],
                duration=duration,
                channel=0,
                recording=recording,
                supervisions=[supervision],
            )
        )
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{path}: expected a name that ends in .jsonl or .jsonl.gz for lhotse's cuts")
    # lhotse tells the format by the name's end, which the temporary name has not.
    with atomic_path(path) as temporary:
        whole = temporary.with_name(f"{temporary.name}{''.join(path.suffixes)}")
        CutSet.from_cuts(cuts).to_file(whole)
        whole.replace(temporary)
    return Exported(len(cuts), left_out)


def _rows(store: FeatureStore | AudioStore, path: Path, root: Path) -> tuple[list[dict[str, Any]], int]:
    rows: list[dict[str, Any]] = []
    left_out = 0
    for number in range(len(store)):
        source = parse_source(store.sources[number])
        row = {
            "id": store.ids[number],
            "text": store.texts[number],
            "speaker": store.speakers[number],
            "duration": round(float(store.durations_seconds[number]), 6),
            "offset": 0.0,
        }
        if isinstance(store, AudioStore):
            rows.append({**row, "audio": _write_wav(store, number, path.parent / f"{path.name.split('.')[0]}-audio")})
        elif len(source.files) > 1 or source.speed != 1.0 or source.channels:
            left_out += 1
        else:
            audio = root / source.files[0]
            if not audio.exists():
                raise DataError(f"{audio}: no such recording; expected the corpus's folder: --root FOLDER")
            rows.append({**row, "audio": str(audio.absolute()), "offset": source.start_seconds})
    return rows, left_out


def _write_wav(store: AudioStore, number: int, folder: Path) -> str:
    import soundfile

    utterance = store[number]
    path = folder / f"{UNSAFE.sub(lambda match: f'%{ord(match[0]):02X}', utterance.id)}.wav"
    with atomic_path(path) as temporary:
        soundfile.write(temporary, np.asarray(utterance.samples), utterance.sample_rate, format="WAV")
    return str(path.absolute())
