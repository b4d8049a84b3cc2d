"""Training from a store of ten million utterances: the first batch, memory, and an epoch dealt to 64 ranks.

    OMP_NUM_THREADS=1 python benchmarks/many_utterances.py [--utterances 10000000] [--ranks 64] [--store DIR]

The store is made up: transcripts and lengths are all there, features only those of one shard, which the header names
again and again. Times are given twice, by the clock and of the processor, which on a busy machine are not alike. Of
memory, "own" is what the program has allocated; "mapped" are pages of files, which the system takes back when it needs
them.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from asr.features import LogMelConfig
from asr.files import write_text
from asr.model_config import ModelConfig
from asr.store.layout import (
    INDEX,
    ShardFacts,
    ShardRow,
    ShardWriter,
    StoreHeader,
    schema,
    shard_name,
    write_filterbank,
    write_header,
)
from asr.store.store import FeatureStore
from asr.tokenizer import CharTokenizer
from asr.training.batches import BatchSource
from asr.training.config import AugmentConfig
from asr.training.distributed import Ranks
from asr.training.plan import Steps

SHARD_UTTERANCES = 1000
FEATURES = LogMelConfig(sample_rate=16_000, n_mels=80)
MODEL = ModelConfig(cell="lstm", num_layers=3, hidden_size=320, time_reduction=4)
# Per second of speech; a transcript of so many letters fits its outputs.
LETTERS = 13
# Steps of which the shares are looked at.
SAMPLED_STEPS = 1000


def make_store(folder: Path, count: int) -> None:
    """Write a store of utterances of 2 to 15 seconds."""
    rng = np.random.default_rng(1)
    num_frames = rng.integers(200, 1500, SHARD_UTTERANCES)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz      "))
    text = "".join(rng.choice(letters, 1_000_000))
    lengths = num_frames * LETTERS // 100
    shard = folder / shard_name(0)
    with shard.open("wb") as file:
        writer = ShardWriter(file, schema("features", FEATURES.n_mels, {}))
        for index, frames in enumerate(num_frames.tolist()):
            features = rng.normal(-6, 3, (frames, FEATURES.n_mels)).astype(np.float16)
            writer.add(ShardRow(f"u{index}", "", "", frames / 100, ""), features)
        writer.close()
    fields = [("id", pa.string()), ("text", pa.string()), ("speaker", pa.string()), ("duration_seconds", pa.float64())]
    layout = pa.schema([*fields, ("source", pa.string()), ("num_frames", pa.int32())])
    with pa.OSFile(str(folder / INDEX), "wb") as file, pa.ipc.new_file(file, layout) as index_writer:
        for first in range(0, count, SHARD_UTTERANCES):
            starts = rng.integers(0, len(text) - 400, SHARD_UTTERANCES).tolist()
            texts = [text[start : start + n] for start, n in zip(starts, lengths.tolist(), strict=True)]
            nothing = [""] * SHARD_UTTERANCES
            ids = [f"u{first + i}" for i in range(SHARD_UTTERANCES)]
            columns = [ids, texts, nothing, num_frames / 100, nothing, num_frames.astype(np.int32)]
            index_writer.write_batch(pa.record_batch([pa.array(x) for x in columns], schema=layout))
    write_filterbank(folder, FEATURES)
    fact = ShardFacts(shard.name, SHARD_UTTERANCES, shard.stat().st_size, "0" * 64)
    header = StoreHeader(
        kind="features", corpus="made up", title="", version="1", licence="", citation="", split="train",
        features=FEATURES, profile=None, speeds=(), limits={}, shard_utterances=SHARD_UTTERANCES, utterances=count,
        seconds=float(num_frames.sum()) / 100 * count / SHARD_UTTERANCES, shards=(fact,) * (count // SHARD_UTTERANCES),
    )  # fmt: skip
    write_header(folder, header)


def memory() -> str:
    """Return the memory of this process: its own, that of mapped files, and the most that both have been."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped, most = (int(lines[name].split()[0]) / 2**10 for name in ("RssAnon", "RssFile", "VmHWM"))
    return f"{own:.0f} MiB own, {mapped:.0f} MiB mapped, at most {most:.0f} MiB"


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(
        f"{what}: {time.perf_counter() - wall:.1f} s by the clock, {time.process_time() - cpu:.1f} s of the "
        f"processor; {memory()}",
        flush=True,
    )


def deal(source: BatchSource, ranks: int, size: int) -> None:
    """Print how long a rank takes to have its part of an epoch, and how alike the parts are."""
    seconds = source.batch_frames * source.store.config.hop_seconds
    with timed(f"batches of {seconds:.0f} s, {size} a step, dealt to {ranks} ranks; one rank"):
        plan = source.plan(1, 1)
        steps = Steps(plan, size, Ranks(0, ranks), np.random.default_rng(1))
    chosen = np.unique(np.linspace(0, len(steps) - 1, SAMPLED_STEPS).astype(int)).tolist()
    frames = np.zeros((ranks, len(chosen)))
    for rank in range(ranks):
        its = Steps(plan, size, Ranks(rank, ranks), np.random.default_rng(1))
        frames[rank] = [sum(len(part) * part.lengths.total.max(initial=0) for part in its[index]) for index in chosen]
    of_ranks = frames.sum(axis=1)
    print(
        f"  {len(plan)} batches, {len(steps)} steps ({len(chosen)} looked at); padded frames of a rank: "
        f"{100 * (of_ranks.max() / of_ranks.mean() - 1):.2f} % above the mean at most, "
        f"{100 * (1 - of_ranks.min() / of_ranks.mean()):.2f} % below; in a step the largest part is "
        f"{100 * (frames.max(axis=0).sum() / frames.mean(axis=0).sum() - 1):.1f} % above the mean"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--utterances", type=int, default=10_000_000, help=f"a multiple of {SHARD_UTTERANCES}")
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--store", type=Path, help="kept, and used again; by default made anew and deleted")
    arguments = parser.parse_args()
    folder = arguments.store or Path(tempfile.mkdtemp())
    try:
        if not (folder / "store.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            make_store(folder, arguments.utterances)
            write_text(folder / "README", "A made-up store of benchmarks/many_utterances.py\n")
        tokenizer = CharTokenizer.from_texts(["abcdefghijklmnopqrstuvwxyz "])
        print(f"before: {memory()}")
        with timed("store opened, first batch made"):
            store = FeatureStore.open(folder)
            source = BatchSource(store, tokenizer, MODEL, 120_000, AugmentConfig())
            plan = source.plan(1, 0)
            source.batch(plan[0], 1, 0)
        with timed("the next 200 batches"):
            for planned in plan[1:201]:
                source.batch(planned, 1, 0)
        del plan
        deal(source, arguments.ranks, arguments.ranks)
        source.batch_frames = 6000 * arguments.ranks
        deal(source, arguments.ranks, 1)
    finally:
        if arguments.store is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
