"""The same recipe with several seeds: how much results vary, and the best model by the dev set."""

import json
import math
import shutil
import statistics
from dataclasses import replace
from typing import Any

from rich.table import Table

from asr.bundle.bundle import Bundle
from asr.errors import UsageError
from asr.files import atomic_directory, write_text
from asr.recipe.evaluation import print_table
from asr.recipe.ranks import is_first
from asr.recipe.recipe import Run
from asr.recipe.stages import run_stages

Row = dict[str, Any]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds in ``"1,2,3"``.

    Raises
    ------
    UsageError
        If they are not two or more different whole numbers.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds is {text!r}; expected whole numbers with commas, as in 1,2,3") from None
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds is {text!r}; expected two or more, each once, as in 1,2,3")
    return seeds


def run_seeds(run: Run, seeds: tuple[int, ...]) -> None:
    """Run all stages with each seed in ``<out>/seed-N``; the bundle with the best dev WER becomes ``<out>/bundle``.

    The dev WER is greedy, because the weights of a language model are fitted to the dev set; of equal ones, the first
    seed wins. ``<out>/seeds.json`` holds what the table shows.
    """
    runs = {
        seed: replace(
            run,
            recipe=replace(run.recipe, training=replace(run.recipe.training, seed=seed)),
            out=run.out / f"seed-{seed}",
        )
        for seed in seeds
    }
    for one in runs.values():
        run_stages(one)
    if not is_first():
        return
    results = {seed: Bundle.load(one.bundle).results for seed, one in runs.items()}
    best = min(seeds, key=lambda seed: _greedy_dev(run, results[seed]))
    rows = _rows(results)
    with atomic_directory(run.bundle) as new:
        shutil.copytree(runs[best].bundle, new, dirs_exist_ok=True)
    write_text(run.out / "seeds.json", json.dumps({"best": best, "results": rows}, indent=1) + "\n")
    table = Table("set", "decoder", *(f"seed {seed}" for seed in seeds), "mean", "range", title=run.recipe.name)
    for row in rows:
        numbers = [f"{value:.2f}" for value in (*row["wer"], row["mean"])]
        table.add_row(row["split"], row["decoder"], *numbers, f"{min(row['wer']):.2f}–{max(row['wer']):.2f}")
    print_table(table)
    print(f"word error rates in per cent; {run.bundle} is that of seed {best}, the best on {run.recipe.dev}")


def _greedy_dev(run: Run, results: list[Row]) -> float:
    """Return the mean over the dev sets of their word error rates without a language model, whose rows come first."""
    first: dict[str, float] = {}
    for row in results:
        first.setdefault(row["split"], row["wer"])
    return math.fsum(first[split] for split in run.recipe.dev_splits) / len(run.recipe.dev_splits)


def _rows(results: dict[int, list[Row]]) -> list[Row]:
    """Return a row for each set and decoder: the word error rates in the order of the seeds, and their mean."""
    first, *_ = results.values()
    rows = []
    for index, row in enumerate(first):
        rates = [result[index]["wer"] for result in results.values()]
        kept = {name: row[name] for name in ("split", "decoder", "utterances", "words")}
        rows.append({**kept, "seeds": list(results), "wer": rates, "mean": statistics.mean(rates)})
    return rows
