"""The optimiser, its learning rate over time, and the device."""

import math
import os
from collections.abc import Mapping
from typing import Any

import torch

from asr.errors import UsageError
from asr.model import AcousticModel
from asr.training.config import Precision, TrainingConfig


def schedule(progress: float, config: TrainingConfig) -> float:
    """Return the learning rate as a part of the largest, at `progress` (0..1) of all steps."""
    if progress < config.warmup:
        return max(progress / config.warmup, 1e-3)
    rest = (progress - config.warmup) / (1 - config.warmup)
    if config.decay == "constant":
        return 1.0
    falling = 0.5 * (1 + math.cos(math.pi * rest)) if config.decay == "cosine" else 1 - rest
    return 0.01 + 0.99 * falling


def make_optimizer(model: AcousticModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the optimiser; matrices are decayed, biases and layer norms are not.

    AdamW is Loshchilov & Hutter's (2019), with the second moment's decay of Vaswani et al. (2017) for warm-ups.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = config.learning_rate
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.momentum > 0)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def state_kind(training: Mapping[str, Any]) -> tuple[str, bool]:
    """Return what decides which state an optimiser keeps, of the settings of training as JSON."""
    return training["optimizer"], training["optimizer"] != "adamw" and training["momentum"] > 0


def choose_device(name: str) -> torch.device:
    """Return the device that `name` means.

    Raises
    ------
    UsageError
        If it is unknown or not available.
    """
    # Each of the processes that torchrun starts on a host has a GPU of its own.
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if name == "auto":
        return torch.device(own if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(own if name == "cuda" else name)
    except RuntimeError:
        raise UsageError(f"training.device is {name!r}; expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"training.device is {name!r}, but torch sees no CUDA device; expected cpu or auto")
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise UsageError(
            f"training.device is {device}, but there are {torch.cuda.device_count()} CUDA devices, counted from 0; "
            "expected one of them: start as many ranks on a host as it has"
        )
    return device


def computes_in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Return whether matrix products are computed in bfloat16; "auto": where `device` is made for it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("amx_bf16"))
