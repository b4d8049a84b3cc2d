"""One step of the optimiser: forward, loss, backward, clipping, update.

Nothing of ours in it waits for a GPU. torch's CTC loss does: its kernel copies the lengths by itself, and so waits
once for the forward pass and once for the loss; all of the backward pass and the update is then queued at once.

The gradient is that of the sum of all utterances' losses, divided by their number: over all batches of the step,
and over all ranks.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from asr.errors import UsageError, first_line
from asr.model import AcousticModel
from asr.training.batches import Batch
from asr.training.config import TrainingConfig
from asr.training.distributed import Ranks
from asr.training.losses import COUNTS, batch_loss
from asr.training.optimizer import computes_in_bfloat16, layer_name, make_optimizer

Note = TypeVar("Note")

# What is summed over the steps of an epoch; followed by the gradient norm and the update ratio of each layer.
PER_STEP = ("steps", "skipped", "clipped", "gradient_norm", "measured")
# What errors say that are a lack of memory and have no class of their own: of a CPU; of CUDA, which torch raises as
# AcceleratorError; and of libraries that allocate by themselves.
NO_MEMORY = ("allocate memory", "out of memory", "CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED")
# Steps that a GPU may be behind the program before the program asks how they went.
LAG = 2


@dataclass(frozen=True)
class Schedule:
    """What a step depends on besides its batches.

    Parameters
    ----------
    learning_rate : float
    seed : tuple of int
        Of dropout; each rank and batch adds its own number.
    measure : bool
        Whether to measure how much the weights change, which costs a copy of them.
    consistency : float
        Weight of the divergence of two views.
    """

    learning_rate: float
    seed: tuple[int, ...]
    measure: bool = False
    consistency: float = 0.0


class FlatGradient:
    """The gradients of all trained weights in one vector, of which each weight's gradient is a view.

    Parameters
    ----------
    model : AcousticModel

    Attributes
    ----------
    flat : Tensor, shape (P,)
    layers : dict
        Name of each layer → its slice of `flat`.
    """

    def __init__(self, model: AcousticModel) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.parameters = [parameter for _, parameter in named]
        first = self.parameters[0]
        self.flat = torch.zeros(sum(p.numel() for p in self.parameters), dtype=first.dtype, device=first.device)
        self.layers: dict[str, slice] = {}
        start = 0
        for name, parameter in named:
            stop = start + parameter.numel()
            parameter.grad = self.flat[start:stop].view_as(parameter)
            layer = layer_name(name)
            self.layers[layer] = slice(self.layers[layer].start if layer in self.layers else start, stop)
            start = stop

    def norms(self) -> Tensor:
        """Return the norm of each layer's gradient, ``(L,)``."""
        return torch.stack([torch.linalg.vector_norm(self.flat[part]) for part in self.layers.values()])

    def weights(self) -> Tensor:
        """Return a copy of all trained weights, in the order of `flat`."""
        return torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])


class Outcomes(Generic[Note]):
    """Tells which steps were left out; of a GPU's steps it tells only some steps later, so as not to wait for it.

    Parameters
    ----------
    device : device
    lag : int
        How many steps later.
    """

    def __init__(self, device: torch.device, lag: int) -> None:
        self.on_gpu = device.type == "cuda"
        self.lag = lag
        self._waiting: deque[tuple[Tensor, torch.cuda.Event | None, Note]] = deque()

    def add(self, skipped: Tensor, note: Note) -> None:
        """Take in whether a step was `skipped`, a scalar on the device, and what to remember about it."""
        if not self.on_gpu:
            self._waiting.append((skipped, None, note))
            return
        on_host = torch.empty(skipped.shape, dtype=skipped.dtype, pin_memory=True)
        on_host.copy_(skipped, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._waiting.append((on_host, event, note))

    def known(self, *, all_of_them: bool = False) -> Iterator[tuple[bool, Note]]:
        """Yield whether each step was left out and its note, oldest first, of steps long enough ago or of all."""
        while len(self._waiting) > (0 if all_of_them else self.lag):
            skipped, event, note = self._waiting.popleft()
            if event is not None:
                event.synchronize()
            yield bool(skipped), note


class Stepper:
    """Changes a model by one step at a time.

    Parameters
    ----------
    model : AcousticModel
        On its device.
    config : TrainingConfig
    ranks : Ranks

    Attributes
    ----------
    optimizer : torch.optim.Optimizer
    names : tuple of str
        Of the values that a step returns.
    """

    def __init__(self, model: AcousticModel, config: TrainingConfig, ranks: Ranks) -> None:
        self.model = model
        self.config = config
        self.ranks = ranks
        self.device = next(model.parameters()).device
        self.bfloat16 = computes_in_bfloat16(config.precision, self.device)
        self.optimizer = make_optimizer(model, config)
        self.gradient = FlatGradient(model)
        layers = tuple(self.gradient.layers)
        self.names = (*COUNTS, *PER_STEP, *(f"gradient_norm.{x}" for x in layers), *(f"update.{x}" for x in layers))

    def __call__(self, batches: Sequence[Batch], schedule: Schedule) -> Tensor:
        """Change the weights by one step; or, where its loss or gradient is not finite, leave them.

        Parameters
        ----------
        batches : sequence of Batch
            This rank's, none or more; on the CPU.
        schedule : Schedule

        Returns
        -------
        Tensor, shape (len(names),), float64
            On the model's device, the same on each rank. Of a step left out, all but ``skipped`` is 0.
        """
        counts = self._accumulate(batches, schedule)
        self.ranks.add_up(self.gradient.flat)
        self.ranks.add_up(counts)
        self.gradient.flat /= counts[COUNTS.index("utterances")]
        layer_norms = self.gradient.norms()
        norm = torch.linalg.vector_norm(layer_norms)
        finite = norm.isfinite() & counts[0].isfinite()
        self.gradient.flat *= (self.config.max_gradient_norm / (norm + 1e-6)).clamp(max=1.0)
        updates = self._update(finite, schedule)
        clipped = (norm > self.config.max_gradient_norm).double()
        per_step = [torch.ones_like(clipped), torch.zeros_like(clipped), clipped, norm.double()]
        per_step.append(torch.full_like(clipped, float(schedule.measure)))
        values = torch.cat((counts, torch.stack(per_step), layer_norms.double(), updates))
        skipped = torch.zeros_like(values)
        skipped[self.names.index("skipped")] = 1
        return torch.where(finite, values, skipped)

    def try_out(self, batch: Batch) -> None:
        """Take a step with a batch that changes nothing: a lack of memory shows now, and not hours later.

        Raises
        ------
        UsageError
            If the memory does not suffice, or the front end cannot be compiled.
        """
        with self.memory_explained(f"a batch of {len(batch.ids)} utterances and {batch.features.shape[1]} frames"):
            self._accumulate([batch], Schedule(0.0, (0,), consistency=self.config.consistency))
            # As if the loss were not finite; the optimiser makes its state all the same, and a measurement its copies.
            self._update(torch.zeros((), dtype=torch.bool, device=self.device), Schedule(0.0, (0,), measure=True))
        self.gradient.flat.zero_()

    @contextmanager
    def memory_explained(self, what: str) -> Iterator[None]:
        """Turn a lack of memory for `what`, and what torch.compile cannot do, into one error that says what to do."""
        try:
            yield
        except RuntimeError as error:
            if self.config.compile_front_end and type(error).__module__.startswith("torch._"):
                raise UsageError(
                    f"training.compile_front_end: torch.compile failed ({first_line(error)}); expected a C++ "
                    "compiler on a CPU, Triton on a GPU: install it, or set training.compile_front_end=false"
                ) from None
            if not isinstance(error, torch.OutOfMemoryError) and not any(text in str(error) for text in NO_MEMORY):
                raise
            raise UsageError(
                f"{what} does not fit the memory of {self.device}: lower training.batch_seconds (now "
                f"{self.config.batch_seconds:g})"
            ) from None

    def _accumulate(self, batches: Sequence[Batch], schedule: Schedule) -> Tensor:
        """Set the gradient to that of the sum of the batches' losses, and return their counts."""
        self.model.train()
        self.gradient.flat.zero_()
        counts = torch.zeros(len(COUNTS), dtype=torch.float64, device=self.device)
        for number, batch in enumerate(batches):
            # Dropout depends on the position alone, so that a resumed run draws what it would have drawn.
            words = np.random.SeedSequence((*schedule.seed, number, self.ranks.rank)).generate_state(2)
            torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
            loss, batch_counts = self.loss(batch, schedule)
            loss.backward()  # type: ignore[no-untyped-call]
            counts += batch_counts
        return counts

    def loss(self, batch: Batch, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Return the sum of the utterances' losses, which is to be minimised, and the batch's `COUNTS`."""
        return batch_loss(
            self.model,
            batch,
            batch.to(self.device),
            intermediate=self.config.intermediate_ctc,
            consistency=schedule.consistency,
            bfloat16=self.bfloat16,
        )

    def _update(self, finite: Tensor, schedule: Schedule) -> Tensor:
        """Change the weights where the gradient is `finite`; return the change of each layer, relative to it."""
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate
        before = self.gradient.weights() if schedule.measure else None
        if isinstance(self.optimizer, torch.optim.AdamW):
            # Fused, it leaves everything as it is where this says so: the decision is the device's own.
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif finite:
            self.optimizer.step()
        layers = self.gradient.layers.values()
        if before is None:
            return torch.zeros(len(layers), dtype=torch.float64, device=self.device)
        change = self.gradient.weights() - before
        ratios = [torch.linalg.vector_norm(change[x]) / torch.linalg.vector_norm(before[x]) for x in layers]
        return torch.stack(ratios).double()
