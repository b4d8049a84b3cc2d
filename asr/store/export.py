"""A store's utterances for other programs: a NeMo manifest, or lhotse's cuts, both naming the original recordings."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import DataError, MissingExtraError
from asr.files import atomic_path, write_text
from asr.store.source import Source
from asr.store.store import AudioStore, FeatureStore

# What a file's name cannot have here or there is written as in addresses, and so is "%": no two ids have one name.
UNSAFE = re.compile(r"""[%/\\:*?"<>|\x00-\x1f]|^\.""")


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
        offset = {"offset": row.offset_seconds} if row.offset_seconds else {}
        fields = {"audio_filepath": row.audio, "duration": row.duration_seconds, "text": row.text, **offset}
        lines.append(json.dumps({**fields, "speaker": row.speaker}, ensure_ascii=False) + "\n")
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
        recording = Recording.from_file(row.audio, recording_id=row.id)
        duration = min(row.duration_seconds, round(recording.duration - row.offset_seconds, 6))
        supervision = SupervisionSegment(
            id=row.id, recording_id=row.id, start=0.0, duration=duration, text=row.text, speaker=row.speaker
        )
        cuts.append(
            MonoCut(
                id=row.id,
                start=row.offset_seconds,
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


@dataclass(frozen=True)
class _Row:
    """An utterance as other programs name it: a part of a recording."""

    id: str
    text: str
    speaker: str
    audio: str
    duration_seconds: float
    offset_seconds: float = 0.0


def _rows(store: FeatureStore | AudioStore, path: Path, root: Path) -> tuple[list[_Row], int]:
    rows: list[_Row] = []
    left_out = 0
    for number in range(len(store)):
        source, offset = Source.parse(store.sources[number]), 0.0
        if isinstance(store, AudioStore):
            audio = _write_wav(store, number, path.parent / f"{path.name.split('.')[0]}-audio")
        elif len(source.files) > 1 or source.speed != 1.0 or source.channels:
            left_out += 1
            continue
        else:
            recording = root / source.files[0]
            if not recording.exists():
                raise DataError(f"{recording}: no such recording; expected the corpus's folder: --root FOLDER")
            audio, offset = str(recording.absolute()), source.start_seconds
        duration = round(float(store.durations_seconds[number]), 6)
        rows.append(_Row(store.ids[number], store.texts[number], store.speakers[number], audio, duration, offset))
    return rows, left_out


def _write_wav(store: AudioStore, number: int, folder: Path) -> str:
    import soundfile

    utterance = store[number]
    path = folder / f"{UNSAFE.sub(lambda match: f'%{ord(match[0]):02X}', utterance.id)}.wav"
    with atomic_path(path) as temporary:
        soundfile.write(temporary, np.asarray(utterance.samples), utterance.sample_rate, format="WAV")
    return str(path.absolute())
