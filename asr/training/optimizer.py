"""The optimiser, its learning rate over time, and the device."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
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


def consistency_weight(progress: float, config: TrainingConfig) -> float:
    """Return the weight of `consistency_loss` at `progress` (0..1) of all steps: it rises linearly."""
    if progress >= config.consistency_warmup:
        return config.consistency
    return config.consistency * progress / config.consistency_warmup


def layer_name(parameter: str) -> str:
    """Return the layer of a parameter: ``layers.0.norm.weight`` → ``layers.0``, ``output_norm.bias`` → ``output``."""
    parts = parameter.split(".")
    return ".".join(parts[:2]) if parts[0] == "layers" else parts[0].split("_norm")[0]


def freeze(model: AcousticModel, layers: Sequence[str]) -> None:
    """Have some layers keep their weights.

    Raises
    ------
    UsageError
        As `asr.model_config.ModelConfig.check_frozen`.
    """
    model.config.check_frozen(layers)
    trained = trained_parameters(model, layers)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def trained_parameters(model: AcousticModel, frozen: Sequence[str]) -> list[str]:
    """Return the names of the weights that are trained where the layers `frozen` are not."""
    return [
        name
        for name, _ in model.named_parameters()
        if layer_name(name) not in frozen and not (model.config.reservoir and "weight_hh" in name)
    ]


def carried_over(
    state: Mapping[Any, Any], names: Sequence[str], now: Sequence[str], *, key: Callable[[int], Any]
) -> dict[Any, Any]:
    """Return what a state keeps of each weight, numbered as `now`, where it was as `names`; of new ones, nothing.

    Parameters
    ----------
    state : mapping
        ``key(i)`` → what is kept of weight i; other keys are passed over.
    names, now : sequence of str
        The weights, in order.
    key : callable
    """
    kept = {name: state[key(i)] for i, name in enumerate(names) if key(i) in state}
    return {key(i): kept[name] for i, name in enumerate(now) if name in kept}


def optimizer_order(model: AcousticModel, names: Sequence[str]) -> list[str]:
    """Return weights in the order that `make_optimizer` has them in: matrices first."""
    return sorted(names, key=lambda name: model.get_parameter(name).ndim <= 1)


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
    """Return the device that `name`, one of `TrainingConfig.device`, means to this process.

    Raises
    ------
    UsageError
        If it is not available, or several ranks of this host would share a GPU.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UsageError(f"training.device is {name!r}, but torch sees no CUDA device; expected cpu or auto")
    # Each of the processes that torchrun starts on a host has a GPU of its own.
    ranks, count = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if ranks > 1 and (ranks > count or ":" in name):
        raise UsageError(
            f"training.device is {name!r} and {ranks} ranks run on this host, which has {count} CUDA devices; expected "
            f"a device for each rank: start at most {count} (torchrun --nproc-per-node), with device=auto; or "
            "training.device=cpu"
        )
    device = torch.device(name if ":" in name else f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    if device.index >= count:
        raise UsageError(f"training.device is {device}, but there are {count} CUDA devices; expected 0 to {count - 1}")
    return device


def computes_in_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Return whether matrix products are computed in bfloat16; "auto": where `device` is made for it.

    Raises
    ------
    UsageError
        If bfloat16 is asked for and `device` is not made for it: it would be emulated, slower than float32.
    """
    if precision == "float32":
        return False
    capable = _has_bfloat16(device)
    if precision == "bfloat16" and not capable:
        needed = "compute capability 8.0 or higher" if device.type == "cuda" else "AVX512-BF16 or AMX (lscpu)"
        raise UsageError(
            f"training.precision is 'bfloat16', but {device} cannot compute in it (needs {needed}); expected float32, "
            "or auto, which chooses the faster one"
        )
    return capable


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # amx_bf16, avx512_bf16, and what ARM's processors have; of a torch that cannot tell, none.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(value is True for name, value in capabilities.items() if "bf16" in name)
