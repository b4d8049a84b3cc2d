"""Averages of weights: over the steps of a run, and over its best epochs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of the trained weights (Polyak & Juditsky 1992).

    The first steps count less: the decay is the smaller of `decay` and (1 + n) / (10 + n) after n steps, or the
    random weights of the start would be remembered for 1 / (1 - decay) steps.

    Parameters
    ----------
    model : Module
    decay : float
        0 for no average at all.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._weights: list[Tensor] = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.averages = [weight.detach().clone() for weight in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        if self.decay:
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self.averages, self._weights, 1 - decay)
            self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averages for its weights, for a while."""
        weights = [weight.detach().clone() for weight in self._weights]
        try:
            self._set(self.averages)
            yield
        finally:
            self._set(weights)

    def state(self) -> dict[str, Tensor]:
        """Return all that decides the averages to come."""
        return {"steps": torch.tensor(self.steps), **{str(i): average for i, average in enumerate(self.averages)}}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state`; where it holds no averages, they start at the weights as they are."""
        self.steps = int(state["steps"])
        for index, (average, weight) in enumerate(zip(self.averages, self._weights, strict=True)):
            average.copy_(state.get(str(index), weight.detach()))

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self._weights, values, strict=True):
            weight.copy_(value)


def mean_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights in some safetensors files, computed in float64."""
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, value in load_file(path).items():
            total[name] = total[name] + value.double() if name in total else value.double()
    kinds = load_file(paths[-1])
    return {name: (value / len(paths)).to(kinds[name].dtype) for name, value in total.items()}
