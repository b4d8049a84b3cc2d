"""Averages of weights: over the steps of a run, and over its best epochs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from asr.errors import ModelError
from asr.files import atomic_path
from asr.training.checkpoint import Score


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


class BestWeights:
    """The weights of the best epochs, in ``best/epoch_0012.safetensors`` and so on, and ``best.safetensors``.

    Parameters
    ----------
    directory : Path
    count : int
        How many epochs to keep.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.directory = directory
        self.count = max(1, count)

    def rank(self, scores: Sequence[Score]) -> tuple[Score, ...]:
        """Return the best of `scores`, as many as are kept, best first."""
        return tuple(sorted(scores)[: self.count])

    def write(self, model: nn.Module, score: Score, *, best: bool) -> None:
        """Write an epoch's weights.

        Raises
        ------
        ModelError
            If they cannot be written.
        """
        names = [self._path(score)] if self.count > 1 else []
        for path in [*names, self.directory / "best.safetensors"] if best else names:
            try:
                with atomic_path(path) as temporary:
                    temporary.write_bytes(save(model.state_dict()))
            except OSError as error:
                raise ModelError(
                    f"{path}: cannot write the weights ({error.strerror}); the last checkpoint is complete: make room "
                    "and run the same command again to resume"
                ) from None

    def present(self, scores: Sequence[Score]) -> list[Score]:
        """Return those of `scores` whose weights are there to be averaged: none of a run that kept the best alone."""
        return [score for score in scores if self.count == 1 or self._path(score).is_file()]

    def prune(self, scores: Sequence[Score]) -> None:
        """Delete the weights of all epochs but those of `scores`."""
        kept = {self._path(score) for score in scores}
        for path in (self.directory / "best").glob("epoch_*.safetensors"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def load(self, model: nn.Module, scores: Sequence[Score]) -> None:
        """Give `model` the weights of the best epoch; where several are kept, the mean of those of `scores`, if any.

        Raises
        ------
        ModelError
            If a file is gone.
        """
        several = self.count > 1 and scores
        paths = [self._path(score) for score in scores] if several else [self.directory / "best.safetensors"]
        for path in paths:
            if not path.is_file():
                raise ModelError(
                    f"{path}: no such file; expected the weights of one of the best epochs: copy it back, or delete "
                    f"{self.directory / 'checkpoints'} to start again"
                )
        model.load_state_dict(mean_weights(paths))

    def _path(self, score: Score) -> Path:
        return self.directory / "best" / f"epoch_{score.epoch + 1:04d}.safetensors"


def mean_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights in some safetensors files, computed in float64."""
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, value in load_file(path).items():
            total[name] = total[name] + value.double() if name in total else value.double()
    kinds = load_file(paths[0])
    return {name: (value / len(paths)).to(kinds[name].dtype) for name, value in total.items()}
