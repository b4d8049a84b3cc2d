"""A training run so small that it takes a second; also a program, for tests that kill it or run it in two ranks.

python -m tests.training.small_run train DIRECTORY [--kill-at STEP] [KEY=VALUE ...]
python -m tests.training.small_run gradient FILE
"""

import argparse
import csv
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import asr.training.report
from asr.errors import AsrError
from asr.features import LogMelConfig, mel_filterbank
from asr.model import AcousticModel
from asr.model_config import ModelConfig
from asr.settings import override
from asr.tokenizer import CharTokenizer
from asr.training.batches import BatchSource
from asr.training.config import AugmentConfig, TrainingConfig
from asr.training.distributed import Ranks
from asr.training.loop import Trainer
from asr.training.plan import Steps
from asr.training.steps import Schedule, Stepper

MODEL = ModelConfig(cell="gru", num_layers=2, hidden_size=6, conv_channels=2, time_reduction=2)
TOKENIZER = CharTokenizer.from_texts(["ab "])
CONFIG = TrainingConfig(
    epochs=3, batch_seconds=1.2, device="cpu", tensorboard=False, augment=AugmentConfig(noise_utterances=0.2)
)


@dataclass
class Utterance:
    features: np.ndarray


class MemoryStore:
    """A feature store in memory."""

    config = LogMelConfig(sample_rate=8000, n_mels=12)
    path = "memory"

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.num_frames = rng.integers(12, 60, count)
        self.identity = [seed]
        self.filterbank = mel_filterbank(self.config)
        self.durations_seconds = self.num_frames * 0.01
        self.ids = [f"u{i}" for i in range(count)]
        self.texts = ["".join(rng.choice(list("ab"), rng.integers(1, 4))) for _ in range(count)]
        self.utterances = [Utterance(rng.standard_normal((n, 12)).astype(np.float16)) for n in self.num_frames]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]


TRAIN, DEV = MemoryStore(14, 1), MemoryStore(4, 2)


def make_trainer(
    directory, config=CONFIG, train=TRAIN, dev=DEV, tokenizer=TOKENIZER, middle=None, dropout=MODEL.dropout, **more_dev
):
    torch.manual_seed(config.seed)
    model = AcousticModel(replace(MODEL, dropout=dropout), train.config.n_mels, len(tokenizer))
    if middle:
        model.add_intermediate_output(len(middle))
    frames = round(100 * config.batch_seconds)
    # An epoch has some utterances once, some twice, and half of the others.
    weights = np.resize((1.0, 0.5, 2.0), len(train))
    source = BatchSource(train, tokenizer, MODEL, frames, config.augment, weights=weights, middle=middle)
    devs = {name: BatchSource(store, tokenizer, MODEL, frames) for name, store in {"dev": dev, **more_dev}.items()}
    return Trainer(model, tokenizer, source, devs, config, directory)


def read_log(directory):
    with (directory / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("seconds", "hours_per_second")} for row in rows]


def kill_at_step(number):
    """Have this process killed in its step `number`, counted from 1, after its gradient is there."""
    # The first is a trial that changes nothing.
    count, original = -1, Stepper._update

    def update(*arguments):
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    Stepper._update = update  # type: ignore[method-assign]


def gradient_of_all_batches(path):
    """Write the gradient of one step over the whole of `TRAIN`, of which each rank has its share, in float64."""
    ranks = Ranks.join()
    torch.manual_seed(0)
    model = AcousticModel(replace(MODEL, dropout=0.0), 12, len(TOKENIZER)).double()
    source = BatchSource(TRAIN, TOKENIZER, MODEL, 240)
    plan = source.plan(1, 0)
    # Of three batches, two ranks have parts; all of them are one step.
    (mine,) = Steps(plan, len(plan), ranks, np.random.default_rng(0))
    batches = [source.load(planned) for planned in mine if len(planned)]
    stepper = Stepper(model, replace(CONFIG, max_gradient_norm=1e9, optimizer="sgd"), ranks)
    values = stepper([replace(batch, features=batch.features.double()) for batch in batches], Schedule(0.1, (0,)))
    weights = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
    np.savez(f"{path}.{ranks.rank}.npz", gradient=stepper.gradient.flat, values=values, weights=weights)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "gradient"])
    parser.add_argument("path", type=Path)
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--dropout", type=float, default=MODEL.dropout)
    parser.add_argument("--kill-rank", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kill_at and arguments.kill_rank == int(os.environ.get("RANK", "0")):
        kill_at_step(arguments.kill_at)
    if arguments.what == "gradient":
        gradient_of_all_batches(arguments.path)
        return
    asr.training.report.draw = lambda rows: "<svg></svg>"  # noqa: ARG005
    try:
        make_trainer(arguments.path, override(CONFIG, arguments.settings), dropout=arguments.dropout).run()
    except AsrError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
