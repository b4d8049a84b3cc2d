"""From finished shards to a store: the index, the rejected utterances, and last the header."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from asr.errors import DataError
from asr.files import atomic_path, write_text
from asr.preparation.plan import SplitPlan
from asr.preparation.shard_tasks import Measures, Receipt, ShardTask
from asr.store.columns import read_arrow
from asr.store.layout import INDEX, REJECTED, ShardFacts, StoreHeader, arrow_array, write_header


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


def finish_split(plan: SplitPlan, tasks: list[ShardTask], header: StoreHeader) -> None:
    """Write what is beside the shards, the header last, and remove the working files.

    Parameters
    ----------
    plan : SplitPlan
    tasks : list of ShardTask
        All of the split, finished.
    header : StoreHeader
        Without shards and totals.

    Raises
    ------
    DataError
        If nothing was kept.
    """
    folder = plan.folder
    rejected = list(plan.rejected)
    shards: list[ShardFacts] = []
    for task in tasks:
        receipt = Receipt.read(task.done)
        rejected += receipt.rejected
        shards.append(ShardFacts(task.shard.name, len(receipt.measures), receipt.bytes, receipt.sha256))
    reasons = Counter(row.reason for row in rejected)
    kept = sum(shard.utterances for shard in shards)
    if not kept:
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise DataError(
            f"split {folder.name}: all {len(rejected)} utterances were rejected: {listed}; such as "
            f"{rejected[0].id}: {rejected[0].detail}"
        )
    measures = (Receipt.read(task.done).measures for task in tasks)
    seconds = write_index(folder / INDEX, [task.shard for task in tasks], measures)
    lines = [json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n" for row in rejected]
    write_text(folder / REJECTED, "".join(lines))
    names = {shard.file for shard in shards}
    for stale in folder.glob("shard-*.arrow"):
        if stale.name not in names:
            stale.unlink()
    totals = replace(
        header,
        utterances=kept,
        seconds=round(seconds, 3),
        rejected=dict(reasons),
        outside_alphabet=dict(sorted(plan.characters.items())),
        shards=tuple(shards),
    )
    write_header(folder, totals)
    shutil.rmtree(plan.work)


def write_index(path: Path, shards: list[Path], measures: Iterable[Sequence[Measures]]) -> float:
    """Write the index of `shards`, one record batch each; return the duration of all in seconds.

    Parameters
    ----------
    measures : iterable of sequence of Measures
        For each shard, of each of its utterances.
    """
    import pyarrow as pa

    layout = index_schema()
    columns = [name for name in layout.names if name not in Measures._fields]
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
            measured = zip(*rows, strict=True) if rows else [() for _ in Measures._fields]
            arrays += [
                arrow_array(values, layout.field(name).type)
                for name, values in zip(Measures._fields, measured, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=layout))
    return seconds


def _join(column: Any) -> Any:
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if column.num_chunks else arrow_array([], column.type)
