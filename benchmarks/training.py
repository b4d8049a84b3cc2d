"""Training speed: our steps beside those of ``nn.LSTM(bidirectional=True)``, on the same batches, in one run.

    python benchmarks/training.py [--data data/an4/train] [--units 320 --batch-seconds 80] [--full]
    python benchmarks/training.py --ranks 2 [--batch-seconds 160]
    python benchmarks/training.py --device cuda

The peers have the same convolutions, as many recurrent layers and units, the same loss, clipping and optimiser, and
are written the usual way: (a) packs the sequences, as a bidirectional net must so that padding does not reach the
utterances; (b) runs over the padding as well, which is wrong but the least there is to compute. They take turns, batch
by batch; the sum over the batches of each one's best time counts. Then: loading alone, what a step spends beside the
model's own forward, loss and backward, and whether memory stays flat while epochs are loaded.

With --ranks, whole steps as a recipe takes them on so many cores, 3 × 320 units: ours in bfloat16 by as many ranks of
one thread, which share each batch, beside (a) in float32 by one process with as many threads, on the same batches. They
take turns, each in processes of its own; the best pass over the batches counts.
"""

import os
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr.model import AcousticModel
from asr.model_config import ModelConfig
from asr.model_layers import ConvFrontEnd
from asr.store.store import FeatureStore
from asr.tokenizer import BLANK, CharTokenizer
from asr.training.batch_loader import prefetched
from asr.training.batches import Batch, BatchSource
from asr.training.config import AugmentConfig, TrainingConfig
from asr.training.distributed import Ranks
from asr.training.plan import Steps
from asr.training.steps import Schedule, Stepper

MODEL = ModelConfig(cell="lstm", num_layers=3, hidden_size=256, time_reduction=4, dropout=0.3)
# The stretching and masks of AN4's recipe.
AUGMENT = AugmentConfig(time_stretch=0.15, time_masks_per_second=0.7)
GPU_MODELS = ((4, 512), (5, 1024))


class UsualModel(nn.Module):
    """Convolutions, ``nn.LSTM`` of several layers in both directions, a linear layer."""

    def __init__(self, config: ModelConfig, n_mels: int, vocab_size: int, *, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        self.front_end = ConvFrontEnd(config, n_mels)
        self.lstm = nn.LSTM(
            self.front_end.output_size,
            config.hidden_size,
            config.num_layers,
            batch_first=True,
            dropout=config.dropout,
            bidirectional=True,
        )
        self.output = nn.Linear(2 * config.hidden_size, vocab_size)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `AcousticModel`."""
        x, lengths = self.front_end(features, lengths)
        if self.packed:
            sequence = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            x, _ = pad_packed_sequence(self.lstm(sequence)[0], batch_first=True)
        else:
            x, _ = self.lstm(x)
        return self.output(x).log_softmax(dim=-1), lengths


class UsualStep:
    """A training step as tutorials have it."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def __call__(self, batch: Batch) -> float:
        """Change the model by one batch."""
        self.optimizer.zero_grad()
        log_probs, lengths = self.model(batch.features, batch.feature_lengths)
        loss = ctc_loss(log_probs.transpose(0, 1), batch.targets, lengths, batch.target_lengths, blank=BLANK)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        return loss.item()


def our_step(model: AcousticModel, config: TrainingConfig, ranks: Ranks | None = None) -> Callable[[Batch], float]:
    stepper = Stepper(model, config, ranks or Ranks())
    numbers = itertools.count()

    def step(batch: Batch) -> float:
        # As in the loop: once in twenty steps the change of the weights is measured.
        number = next(numbers)
        return float(stepper([batch], Schedule(1e-4, (number,), measure=number % 20 == 0))[0])

    return step


def best_seconds(
    steps: dict[str, Callable[[Batch], object]], batches: Sequence[Batch], rounds: int
) -> dict[str, float]:
    """Return for each system the sum over the batches of its shortest time on each; they take turns.

    Of one thread it is processor time, which other programs on the machine hardly change.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    best = {name: np.full(len(batches), np.inf) for name in steps}
    for _ in range(rounds):
        for index, batch in enumerate(batches):
            for name, step in steps.items():
                start = clock()
                step(batch)
                best[name][index] = min(best[name][index], clock() - start)
    return {name: float(times.sum()) for name, times in best.items()}


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare_steps(source: BatchSource, arguments: argparse.Namespace) -> float:
    """Print the speeds of steps; return ours, in hours of audio a second."""
    n_mels, vocab_size = source.store.config.n_mels, len(source.tokenizer)
    plan = source.plan(1, 0)[: arguments.batches]
    batches = [source.batch(planned, 1, 0) for planned in plan]
    hours = sum(float(batch.feature_lengths.sum()) for batch in batches) * source.store.config.hop_seconds / 3600
    config, network = TrainingConfig(device="cpu"), replace(MODEL, hidden_size=arguments.units)
    model = AcousticModel(network, n_mels, vocab_size)
    bare = Stepper(model, config, Ranks())

    def passes_alone(batch: Batch) -> None:
        model.train()
        log_probs, lengths = model(batch.features, batch.feature_lengths)
        loss = ctc_loss(log_probs.transpose(0, 1), batch.targets, lengths, batch.target_lengths, reduction="sum")
        bare.gradient.flat.zero_()
        loss.backward()

    systems: dict[str, Callable[[Batch], object]] = {
        "ours": our_step(AcousticModel(network, n_mels, vocab_size), config),
        "ours, bfloat16": our_step(AcousticModel(network, n_mels, vocab_size), replace(config, precision="bfloat16")),
        "forward, loss, backward alone": passes_alone,
        "(a) nn.LSTM, packed": UsualStep(UsualModel(network, n_mels, vocab_size, packed=True)),
        "(b) nn.LSTM, padded": UsualStep(UsualModel(network, n_mels, vocab_size, packed=False)),
    }
    seconds = best_seconds(systems, batches, arguments.rounds)
    padding = 1 - sum(float(b.feature_lengths.sum()) for b in batches) / sum(
        b.features[..., 0].numel() for b in batches
    )
    print(
        f"{len(batches)} batches, {sum(len(b.ids) for b in batches)} utterances, {100 * padding:.0f} % padding, LSTM "
        f"{network.num_layers} × {network.hidden_size}, {torch.get_num_threads()} thread(s)"
    )
    for name, value in seconds.items():
        print(
            f"  {name:32}{1000 * value / len(batches):8.0f} ms a step  {hours / value:.4f} hours/s  "
            f"{3600 * hours / value:.0f} x real time"
        )
    ours, packed = seconds["ours"], seconds["(a) nn.LSTM, packed"]
    print(f"ours, bfloat16, against (a) packed in float32: {packed / seconds['ours, bfloat16']:.2f} ×")
    print(f"ours against (a) packed: {packed / ours:.2f} × (aim 1.4)")
    print(f"ours against (b) padded: {seconds['(b) nn.LSTM, padded'] / ours:.2f} × (aim 0.9)")
    rest = 1 - seconds["forward, loss, backward alone"] / ours
    print(f"share of the step beside forward, loss and backward: {100 * rest:.1f} % (aim under 5)")
    return hours / min(ours, seconds["ours, bfloat16"])


def compare_ranks(arguments: argparse.Namespace) -> None:
    """Print the speeds of whole steps on several cores, × real time, and their ratio."""
    own = [sys.executable, __file__, "--data", str(arguments.data), "--batches", str(arguments.batches)]
    own += ["--batch-seconds", str(arguments.batch_seconds), "--part"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(arguments.ranks), *own[1:]]
    commands = {"ours": ([*torchrun, "ours"], 1), "packed": ([*own, "packed"], arguments.ranks)}
    best = dict.fromkeys(commands, 0.0)
    for _ in range(arguments.rounds):
        for name, (command, threads) in commands.items():
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            ran = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            best[name] = max(best[name], float(ran.stdout))
            print(f"  {name}: {float(ran.stdout):.0f} x real time", flush=True)
    print(
        f"3 x 320, batches of {arguments.batch_seconds:g} s, {arguments.ranks} cores: ours, bfloat16, a rank a core: "
        f"{best['ours']:.0f} x real time (aim 180); nn.LSTM, packed, float32, {arguments.ranks} threads: "
        f"{best['packed']:.0f} x; ratio {best['ours'] / best['packed']:.2f} (aim 2.5)"
    )


def measure_part(source: BatchSource, arguments: argparse.Namespace) -> None:
    """Print how much faster than real time the steps of one system are; the first rank alone does."""
    ranks, config = Ranks.join(), replace(MODEL, hidden_size=320)
    steps = Steps(source.plan(1, 0), 1, ranks, np.random.default_rng(0))[: arguments.batches]
    batches = [source.batch(planned, 1, 0) for (planned,) in steps]
    frames = torch.tensor([float(batch.feature_lengths.sum()) for batch in batches])
    ranks.add_up(frames)
    n_mels, vocab_size = source.store.config.n_mels, len(source.tokenizer)
    torch.manual_seed(0)
    step: Callable[[Batch], object]
    if arguments.part == "ours":
        step = our_step(AcousticModel(config, n_mels, vocab_size), TrainingConfig(precision="bfloat16"), ranks)
    else:
        step = UsualStep(UsualModel(config, n_mels, vocab_size, packed=True))
    fastest = np.inf
    for _ in range(3):
        start = time.perf_counter()
        for batch in batches:
            step(batch)
        fastest = min(fastest, time.perf_counter() - start)
    if ranks.first:
        print(float(frames.sum()) * source.store.config.hop_seconds / fastest)


def compare_loading(source: BatchSource, training_speed: float, epochs: int) -> None:
    """Print the speed of loading alone, and the memory after each tenth of the epochs."""
    hop = source.store.config.hop_seconds
    frames, seconds, resident = 0.0, 0.0, [resident_mib()]
    for epoch in range(epochs):
        start = time.perf_counter()
        for planned in source.plan(1, epoch):
            frames += float(source.batch(planned, 1, epoch).feature_lengths.sum())
        seconds += time.perf_counter() - start
        if (epoch + 1) % max(1, epochs // 10) == 0:
            resident.append(resident_mib())
    speed = frames * hop / 3600 / seconds
    print(
        f"loading alone, augmented: {speed:.2f} hours/s, {speed / training_speed:.0f} × the speed of training "
        "(aim 20)\n"
        f"resident memory over {epochs} epochs of loading, MiB: {' '.join(f'{value:.0f}' for value in resident)}"
    )


def measure_loop(source: BatchSource) -> None:
    """Print what an epoch costs beside its steps, when batches are made on a thread."""
    plan = source.plan(1, 0)
    config = TrainingConfig(device="cpu", precision="bfloat16")
    step = our_step(AcousticModel(MODEL, source.store.config.n_mels, len(source.tokenizer)), config)
    start, waited = time.perf_counter(), 0.0
    with prefetched(lambda planned: source.batch(planned, 1, 0), plan) as loaded:
        while True:
            asked = time.perf_counter()
            batch = next(loaded, None)
            waited += time.perf_counter() - asked
            if batch is None:
                break
            step(batch)
    total = time.perf_counter() - start
    print(f"an epoch of bfloat16 steps waits for batches {100 * waited / total:.1f} % of its {total:.1f} s")


def measure_device(name: str, n_mels: int, vocab_size: int) -> None:
    """Print the speed and memory of larger models on a GPU, and the cost as batch and length grow."""
    device = torch.device(name)

    def run(config: ModelConfig, precision: Any, batch_size: int, seconds: float, steps: int = 12) -> None:
        T, S = round(seconds / 0.01), round(seconds * 8)
        model = AcousticModel(config, n_mels, vocab_size).to(device)
        stepper = Stepper(model, TrainingConfig(precision=precision), Ranks())
        batch = Batch(
            torch.randn(batch_size, T, n_mels).pin_memory(),
            torch.full((batch_size,), T),
            torch.randint(1, vocab_size, (batch_size, S)),
            torch.full((batch_size,), S),
            ("noise",) * batch_size,
        )
        resident = batch.to(device)
        output_lengths = torch.from_numpy(config.output_frames(batch.feature_lengths.numpy()))

        def passes_alone(_batches: Sequence[Batch], _schedule: Schedule) -> None:
            """Do what is the model's own, forward pass, loss and backward pass, on a batch that lies on the GPU."""
            with torch.autocast("cuda", torch.bfloat16, enabled=stepper.bfloat16):
                log_probs, _ = model(resident.features, resident.feature_lengths)
            log_probs = log_probs.transpose(0, 1)
            loss = ctc_loss(log_probs, resident.targets, output_lengths, batch.target_lengths, BLANK, "sum")
            loss.backward()

        seconds_each = []
        torch.cuda.reset_peak_memory_stats()
        for timed in (stepper, passes_alone):
            for number in range(steps):
                if number == 3:
                    torch.cuda.synchronize()
                    start = time.perf_counter()
                timed([batch], Schedule(1e-4, (number,)))
            torch.cuda.synchronize()
            seconds_each.append((time.perf_counter() - start) / (steps - 3))
        whole, passes = seconds_each
        print(
            f"  LSTM {config.num_layers} × {config.hidden_size}, {precision:8}, {batch_size:4} × {seconds:4.0f} s: "
            f"{1000 * whole:7.1f} ms, {batch_size * seconds / 3600 / whole:.3f} hours/s, rest of the step "
            f"{100 * (1 - passes / whole):.1f} %, {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"
        )

    print(torch.cuda.get_device_name(device))
    for (layers, hidden), precision in itertools.product(GPU_MODELS, ("float32", "bfloat16")):
        run(replace(MODEL, num_layers=layers, hidden_size=hidden), precision, 32, 15.0)
    for batch_size, seconds in ((8, 15.0), (32, 15.0), (128, 15.0), (32, 5.0), (32, 30.0)):
        run(replace(MODEL, num_layers=4, hidden_size=512), "bfloat16", batch_size, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("data/an4/train"), help="a feature store")
    parser.add_argument("--device", default="cpu", help="cuda: larger models there")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="all batches of an epoch, 100 epochs of loading")
    parser.add_argument("--ranks", type=int, default=1, help="compare whole steps on so many cores")
    parser.add_argument("--units", type=int, default=MODEL.hidden_size)
    parser.add_argument("--batch-seconds", type=float, default=40.0)
    parser.add_argument("--part", choices=["ours", "packed"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ranks > 1:
        compare_ranks(arguments)
        return
    if arguments.device != "cpu":
        measure_device(arguments.device, 80, 30)
        return
    if arguments.full:
        arguments.batches = 10**9
    store = FeatureStore.open(arguments.data)
    tokenizer = CharTokenizer.from_texts(store.texts)
    source = BatchSource(store, tokenizer, MODEL, round(arguments.batch_seconds / store.config.hop_seconds), AUGMENT)
    if arguments.part:
        measure_part(source, arguments)
        return
    speed = compare_steps(source, arguments)
    compare_loading(source, speed, 100 if arguments.full else 10)
    measure_loop(source)


if __name__ == "__main__":
    main()
