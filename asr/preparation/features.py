"""The feature configuration of a preparation: global statistics, and the filterbank beside the shards."""

import io
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError, DataError
from asr.features import LogMel, LogMelConfig, mel_filterbank
from asr.preparation.plan import SplitPlan
from asr.store.layout import FILTERBANK, HEADER, read_header, write_bytes

# Utterances that the global mean and deviation are taken from, spread evenly over the training splits.
SAMPLE_UTTERANCES = 200


def global_statistics(
    config: LogMelConfig, training: Sequence[SplitPlan], read: Callable[[dict[str, Any]], NDArray[np.float32]]
) -> LogMelConfig:
    """Return `config` with the mean and standard deviation of a fixed sample of the training utterances.

    Parameters
    ----------
    config : LogMelConfig
    training : sequence of SplitPlan
    read : callable
        Planned utterance → samples ``(num_samples,)`` float32.

    Raises
    ------
    DataError
        If there is no training utterance that can be read.
    """
    log_mel = LogMel(replace(config, normalisation="none", mean=(), std=()))
    count, total, squares = 0, np.zeros(config.n_mels), np.zeros(config.n_mels)
    for row in _sample(training):
        try:
            features = log_mel(read(row)).astype(np.float64)
        except AsrError:
            continue  # the shard that it belongs to rejects it by name
        count += len(features)
        total += features.sum(axis=0)
        squares += np.square(features).sum(axis=0)
    if not count:
        raise DataError(
            "global normalisation: no training utterance that can be read; expected some to take the mean and "
            "deviation from: prepare the training split too, or choose --normalisation utterance"
        )
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    # Six digits: enough for float16 features, and the same whichever machine summed them.
    return replace(
        config,
        normalisation="global",
        mean=tuple(float(f"{value:.6g}") for value in mean),
        std=tuple(float(f"{value:.6g}") for value in std),
    )


def statistics_of_others(config: LogMelConfig, out: Path, replaced: Collection[str]) -> tuple[LogMelConfig, str] | None:
    """Return what the stores below `out` were normalised by, and the names of their splits; None if there are none.

    Stores in one folder are trained and tested on together, so a split that is added or replaced must not have
    statistics of its own.

    Parameters
    ----------
    config : LogMelConfig
        Without statistics; stores of other features do not count.
    out : Path
    replaced : collection of str
        Splits whose stores are about to be replaced, and do not count.

    Raises
    ------
    DataError
        If they differ among each other.
    """
    found: dict[LogMelConfig, list[str]] = {}
    for path in sorted(out.glob(f"*/{HEADER}")):
        features = LogMelConfig.from_dict(read_header(path.parent)["features"])
        alike = replace(features, normalisation="none", mean=(), std=()) == config
        if path.parent.name not in replaced and features.normalisation == "global" and alike:
            found.setdefault(features, []).append(path.parent.name)
    if len(found) > 1:
        raise DataError(
            f"{out}: its splits were normalised by different statistics ({'; '.join(map(', '.join, found.values()))}); "
            "expected the same for all: prepare all of them again with --force"
        )
    return next(((features, ", ".join(names)) for features, names in found.items()), None)


def _sample(training: Sequence[SplitPlan]) -> Iterator[dict[str, Any]]:
    total = sum(split.utterances for split in training)
    step = max(1, total // SAMPLE_UTTERANCES)
    rows = (row for split in training for row in split.rows())
    return (row for number, row in enumerate(rows) if number % step == 0)


def write_filterbank(folder: Path, config: LogMelConfig) -> None:
    """Write the filters as ``filterbank.npy``, unless the same are there."""
    buffer = io.BytesIO()
    np.save(buffer, mel_filterbank(config), allow_pickle=False)
    path = folder / FILTERBANK
    if not path.exists() or path.read_bytes() != buffer.getvalue():
        write_bytes(path, buffer.getvalue())
