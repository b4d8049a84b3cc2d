"""Samples at another rate, all at once or block by block."""

import math
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError


def check_rate(rate: Any) -> None:
    """Refuse an invalid sample rate.

    Raises
    ------
    AudioError
    """
    if not (isinstance(rate, Real) and 0 < float(rate) < math.inf):
        raise AudioError(f"got a sample rate of {rate!r} Hz; expected a positive number")


def resample_blocks(
    blocks: Iterator[NDArray[np.float32]], rate: int, wanted_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Yield mono blocks ``(num_samples,)`` at `rate` as blocks at `wanted_rate` (soxr HQ, as librosa)."""
    if rate == wanted_rate:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, wanted_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)


def resample(samples: NDArray[np.float32], rate: int, wanted_rate: int) -> NDArray[np.float32]:
    """Resample float32 mono `samples` ``(num_samples,)`` from `rate` to `wanted_rate`, both in Hz, with soxr HQ."""
    check_rate(rate)
    check_rate(wanted_rate)
    blocks = list(resample_blocks(iter([samples]), rate, wanted_rate))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
