"""From finished shards to a store: the index, what was rejected, and last of all the header."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import DataError
from asr.files import atomic_path, write_text
from asr.preparation.plan import SplitPlan
from asr.preparation.shard_tasks import MEASURES, ShardTask
from asr.store.layout import FORMAT, HEADER, INDEX, REJECTED, arrow_array
from asr.store.store import read_arrow


@dataclass(frozen=True)
class SplitSummary:
    """What became of a split.

    Parameters
    ----------
    utterances : int
        Kept.
    hours : float
    rejected : Counter of str
        Reason → utterances.
    """

    utterances: int
    hours: float
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Summary:
    """What a preparation did.

    Parameters
    ----------
    out : Path
    splits : dict of str to SplitSummary
        In the order of the corpus.
    warnings : tuple of str
    """

    out: Path
    splits: dict[str, SplitSummary]
    warnings: tuple[str, ...]


def index_schema() -> Any:
    """Return the Arrow schema of the index."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.string()),
            ("speaker", pa.string()),
            ("duration_seconds", pa.float64()),
            ("source", pa.string()),
            ("num_frames", pa.int32()),
            ("frames_needed", pa.int32()),
            ("level_db", pa.float32()),
            ("clipped", pa.float32()),
            ("content", pa.string()),
            ("disagreement", pa.float32()),
        ]
    )


def finish_split(plan: SplitPlan, tasks: list[ShardTask], header: dict[str, Any]) -> SplitSummary:
    """Write what is beside the shards, the header last, and remove the working files.

    Parameters
    ----------
    plan : SplitPlan
    tasks : list of ShardTask
        All of the split, finished.
    header : dict
        What the header says beside shards and totals.

    Raises
    ------
    DataError
        If nothing was kept.
    """
    folder = plan.folder
    rejected = list(plan.rejected)
    shards: list[dict[str, Any]] = []
    for task in tasks:
        receipt = read_receipt(task)
        rejected += receipt["rejected"]
        shards.append(
            {
                "file": task.shard.name,
                "utterances": len(receipt["measures"]),
                "bytes": receipt["bytes"],
                "sha256": receipt["sha256"],
            }
        )
    reasons = Counter(row["reason"] for row in rejected)
    kept = sum(shard["utterances"] for shard in shards)
    if not kept:
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise DataError(
            f"split {folder.name}: all {len(rejected)} utterances were rejected: {listed}; such as "
            f"{rejected[0]['id']}: {rejected[0]['detail']}"
        )
    measures = (read_receipt(task)["measures"] for task in tasks)
    seconds = write_index(folder / INDEX, [task.shard for task in tasks], measures)
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rejected]
    write_text(folder / REJECTED, "".join(lines))
    names = {shard["file"] for shard in shards}
    for stale in folder.glob("shard-*.arrow"):
        if stale.name not in names:
            stale.unlink()
    totals = {
        "format": FORMAT, **header, "utterances": kept, "seconds": round(seconds, 3), "rejected": dict(reasons),
        "outside_alphabet": dict(sorted(plan.characters.items())), "shards": shards,
    }  # fmt: skip
    write_text(folder / HEADER, json.dumps(totals, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(plan.work)
    return SplitSummary(kept, seconds / 3600, reasons)


def read_receipt(task: ShardTask) -> dict[str, Any]:
    """Return what `asr.preparation.shard_tasks.prepare_shard` returned."""
    receipt: dict[str, Any] = json.loads(task.done.read_text(encoding="utf-8"))
    return receipt


def write_index(path: Path, shards: list[Path], measures: Iterable[list[list[Any]]]) -> float:
    """Write the index of `shards`, one record batch each; return the duration of all in seconds.

    Parameters
    ----------
    measures : iterable of list of list
        For each shard, for each of its utterances, the values of `MEASURES`.
    """
    import pyarrow as pa

    layout = index_schema()
    columns = [name for name in layout.names if name not in MEASURES]
    seconds = 0.0
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as file,
        pa.ipc.new_file(file, layout) as writer,
    ):
        for shard, rows in zip(shards, measures, strict=True):
            table = read_arrow(shard)
            seconds += sum(table.column("duration_seconds").to_pylist())
            arrays = [_join(table.column(name)) for name in columns]
            measured = zip(*rows, strict=True) if rows else [() for _ in MEASURES]
            arrays += [
                arrow_array(values, layout.field(name).type) for name, values in zip(MEASURES, measured, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=layout))
    return seconds


def _join(column: Any) -> Any:
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if column.num_chunks else arrow_array([], column.type)
