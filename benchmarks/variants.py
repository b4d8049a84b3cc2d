"""One thing left out of AN4's training, and other cells of as many parameters: dev WER, loss and time.

    python recipes/an4.py --stage prepare
    python benchmarks/variants.py [--epochs 30] [--out exp/an4_variants] [--only "no masks" …] [--steps-only]

Each variant is a run of recipes/an4.py with other settings, in a folder of its own: started again, it goes on, and what
is done is not done again. Epochs are as many for all, fewer than the recipe's; WER is greedy, on the dev set.
The recipe has since dropped its masks and stretches more: what is compared has both as they were.
At the end the models take steps in turn in one process, so that their times compare: best of some rounds over the same
batches.
"""

import argparse
import bisect
import csv
import math
import runpy
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

RECIPE = "recipes/an4.py"
# Batches that steps are timed on, and how often.
STEPS, ROUNDS = 6, 4
AUGMENT = "training.augment"
BASE = (
    f"{AUGMENT}.time_stretch=0.15",
    f"{AUGMENT}.frequency_stretch=0.1",
    f"{AUGMENT}.frequency_masks=2",
    f"{AUGMENT}.frequency_mask_bands=15",
    f"{AUGMENT}.time_masks_per_second=0.7",
    f"{AUGMENT}.time_mask_seconds=0.15",
)
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "no masks": (f"{AUGMENT}.frequency_masks=0", f"{AUGMENT}.time_masks_per_second=0"),
    "no stretching": (f"{AUGMENT}.time_stretch=0", f"{AUGMENT}.frequency_stretch=0"),
    "no dropout": ("model.dropout=0",),
    "no averaged weights": ("training.ema_decay=0",),
    "no intermediate CTC": ("training.intermediate_ctc=0",),
    "no pauses, no noise": tuple(
        f"{AUGMENT}.{name}=0" for name in ("pause_probability", "noise_probability", "noise_utterances")
    ),
    "no weight decay": ("training.weight_decay=0",),
}
CELLS: dict[str, dict[str, Any]] = {
    "GRU, bidirectional": {"cell": "gru"},
    "vanilla RNN (tanh), bidirectional": {"cell": "rnn_tanh"},
    "LSTM, one direction": {"bidirectional": False},
    "GRU, one direction": {"cell": "gru", "bidirectional": False},
    "vanilla RNN (tanh), one direction": {"cell": "rnn_tanh", "bidirectional": False},
    "LSTM reservoir, bidirectional": {"reservoir": True},
}


def parameters(recipe: Any, model: Any, num_tokens: int) -> tuple[int, int]:
    """Return how many parameters a model has, and how many of them are trained."""
    from asr.model import AcousticModel

    every = list(AcousticModel(model, recipe.features.n_mels, num_tokens).parameters())
    return sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)


def of_equal_size(recipe: Any, changes: dict[str, Any], num_tokens: int) -> Any:
    """Return the recipe's model with another cell, and the most units that give it at most 1 % more parameters."""
    most = 1.01 * parameters(recipe, recipe.model, num_tokens)[0]
    models = [replace(recipe.model, **changes, hidden_size=units) for units in range(64, 1200, 8)]
    return models[bisect.bisect_right(models, most, key=lambda model: parameters(recipe, model, num_tokens)[0]) - 1]


def train(settings: tuple[str, ...], out: Path, data: Path) -> str:
    """Run the recipe; return what is wrong, if anything."""
    out.mkdir(parents=True, exist_ok=True)
    changed = [part for setting in settings for part in ("--set", setting)]
    folders = ("--data", str(data), "--out", str(out))
    command = (sys.executable, RECIPE, "--stage", "tokenizer", "--stage", "train", *folders, *changed)
    ran = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    with (out / "train.log").open("a") as log:
        log.write(ran.stderr)
    if ran.returncode == 130:
        raise SystemExit(130)
    lines = ran.stderr.strip().splitlines()
    return "" if not ran.returncode else lines[-1] if lines else f"status {ran.returncode}"


def results(log: Path) -> tuple[float, float, float]:
    """Return WER and loss on dev of the best epoch of a run's log, and the training loss of the last."""
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(log.open())]
    return *min((row["dev_wer"], row["dev_loss"]) for row in rows), rows[-1]["train_loss"]


def step_seconds(models: dict[str, Any], recipe: Any, store: Any, tokenizer: Any) -> dict[str, float]:
    """Return the mean seconds of a step of each model on some batches of the recipe."""
    import torch

    from asr.model import AcousticModel
    from asr.training.batches import BatchSource
    from asr.training.distributed import Ranks
    from asr.training.steps import Schedule, Stepper

    torch.set_num_threads(1)
    config = recipe.training
    frames = round(config.batch_seconds / recipe.features.hop_seconds)
    source = BatchSource(store, tokenizer, recipe.model, frames, config.augment)
    batches = [source.batch(planned, 1, 0) for planned in source.plan(1, 0)[:STEPS]]
    steppers = {
        name: Stepper(AcousticModel(model, recipe.features.n_mels, len(tokenizer)), config, Ranks())
        for name, model in models.items()
    }
    best = {name: [math.inf] * STEPS for name in models}
    for _ in range(ROUNDS):
        for number, batch in enumerate(batches):
            for name, stepper in steppers.items():
                started = time.perf_counter()
                stepper([batch], Schedule(1e-4, (1, number)))
                best[name][number] = min(best[name][number], time.perf_counter() - started)
    return {name: statistics.mean(times) for name, times in best.items()}


def main() -> None:
    from asr.store.store import open_store
    from asr.tokenizer import CharTokenizer

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/an4"))
    parser.add_argument("--out", type=Path, default=Path("exp/an4_variants"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--steps-only", action="store_true", help="train nothing, time steps")
    parser.add_argument("--only", nargs="*", choices=[*LEFT_OUT, *CELLS], metavar="NAME")
    arguments = parser.parse_args()
    recipe = runpy.run_path(RECIPE)["RECIPE"]
    store = open_store(arguments.data / recipe.train)
    tokenizer = CharTokenizer.from_texts(store.texts)
    num_tokens = len(tokenizer)
    variants = {name: (recipe.model, settings) for name, settings in LEFT_OUT.items()}
    for name, changes in CELLS.items():
        model = of_equal_size(recipe, changes, num_tokens)
        settings = tuple(f"model.{key}={value}" for key, value in changes.items())
        variants[name] = (model, (*settings, f"model.hidden_size={model.hidden_size}"))
    print(f"{'':36} {'units':>5} {'million':>7} {'trained':>7} {'WER %':>6} {'loss':>6} {'training loss':>13}")
    for name in [] if arguments.steps_only else arguments.only or variants:
        model, settings = variants[name]
        folder = arguments.out / "".join(letter if letter.isalnum() else "_" for letter in name)
        wrong = train((f"training.epochs={arguments.epochs}", *BASE, *settings), folder, arguments.data)
        if not (folder / "log.csv").is_file():
            raise SystemExit(f"{name}: {wrong}")
        wer, dev_loss, train_loss = results(folder / "log.csv")
        size, trained = (count / 1e6 for count in parameters(recipe, model, num_tokens))
        print(
            f"{name:36} {model.hidden_size:5} {size:7.2f} {trained:7.2f} {100 * wer:6.2f} {dev_loss:6.3f} "
            f"{train_loss:13.3f}  {wrong}",
            flush=True,
        )
    models = {"LSTM, bidirectional": recipe.model, **{name: variants[name][0] for name in CELLS}}
    seconds = step_seconds(models, recipe, store, tokenizer)
    for name, value in seconds.items():
        print(f"{name:36} {1000 * value:6.0f} ms a step, {value / seconds['LSTM, bidirectional']:.2f} of the LSTM's")


if __name__ == "__main__":
    main()
