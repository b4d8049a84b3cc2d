"""How a model is trained; free of torch, so that recipes can be read without it."""

from dataclasses import dataclass, field
from typing import Literal

from asr.errors import UsageError


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training features, drawn anew for every utterance of every epoch.

    Parameters
    ----------
    time_stretch, frequency_stretch : float
        Time and mel axes are stretched by factors drawn from 1 ± this.
    frequency_masks, frequency_mask_bands : int
        SpecAugment (Park et al. 2019): number of masks, and the most bands that one mask covers.
    time_masks_per_second, time_mask_seconds : float
        Number of time masks for a second of audio, and the longest mask in seconds.
    noise_utterances : float
        Utterances of noise with an empty transcript for each real one, so that the model learns to write nothing
        where nothing is said.
    """

    time_stretch: float = 0.1
    frequency_stretch: float = 0.1
    frequency_masks: int = 2
    frequency_mask_bands: int = 15
    time_masks_per_second: float = 0.5
    time_mask_seconds: float = 0.15
    noise_utterances: float = 0.02

    def __post_init__(self) -> None:
        for name in ("time_stretch", "frequency_stretch"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"training.augment.{name} is {getattr(self, name)}; expected 0 ≤ {name} < 1")
        masks = ("frequency_masks", "frequency_mask_bands", "time_masks_per_second", "time_mask_seconds")
        for name in (*masks, "noise_utterances"):
            if getattr(self, name) < 0:
                raise UsageError(f"training.augment.{name} is {getattr(self, name)}; expected 0 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """Optimiser, schedule and batches.

    Parameters
    ----------
    epochs : int
        Passes over the training store.
    optimizer : {"adamw", "sgd", "rmsprop"}
        SGD has Nesterov momentum.
    learning_rate : float
        The largest, reached at the end of the warm-up.
    warmup : float
        Part of all steps in which the learning rate rises linearly from zero.
    decay : {"cosine", "linear", "constant"}
        How it falls, to 1 % of the largest at the last step.
    momentum, weight_decay : float
        `momentum` is for "sgd" and "rmsprop". Biases and layer norms are not decayed.
    max_gradient_norm : float
        Gradients are scaled down to this norm.
    batch_seconds : float
        Audio of a batch in seconds, padding included.
    seed : int
        Of the initial weights, the order of batches, dropout and augmentation.
    device : str
        "cpu", "cuda", "cuda:1", … or "auto": CUDA where there is one.
    checkpoint_minutes : float
        Time between two checkpoints within an epoch; each epoch ends with one.
    augment : AugmentConfig
    """

    epochs: int = 60
    optimizer: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    momentum: float = 0.9
    weight_decay: float = 1e-2
    max_gradient_norm: float = 5.0
    batch_seconds: float = 60.0
    seed: int = 1
    device: str = "auto"
    checkpoint_minutes: float = 10.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "max_gradient_norm", "batch_seconds", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected a positive number")
        for name in ("warmup", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"training.{name} is {getattr(self, name)}; expected 0 ≤ {name} < 1")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"training.seed is {self.seed}; expected 0 ≤ seed < 2³²")
        if self.weight_decay < 0:
            raise UsageError(f"training.weight_decay is {self.weight_decay}; expected 0 or more")
