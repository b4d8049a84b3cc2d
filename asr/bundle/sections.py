"""The parts of a bundle on the disk: read one by one, and refused where they are damaged."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.bundle.front_end import FRONT_ENDS, FrontEndConfig
from asr.errors import ModelError, first_line
from asr.settings import from_dict

DECODING_KEYS = (
    "alpha", "beta", "beam_size", "oov_score", "empty_score", "prior_weight", "blank_scale", "sentence_end",
)  # fmt: skip
RESULT_KEYS = ("split", "decoder", "wer", "low", "high", "cer", "utterances", "words")


def check_files(directory: Path, names: tuple[str, ...], whole: tuple[str, ...]) -> None:
    """Refuse a folder that lacks one of `names`; the message lists those of a `whole` bundle."""
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise ModelError(
            f"{directory}: is not a complete model bundle: {', '.join(missing)} missing; expected {', '.join(whole)}: "
            "export or install it again"
        )


def front_end_config(section: dict[str, Any]) -> FrontEndConfig:
    """Return the front end that a section of ``config.json`` describes."""
    kind = section["kind"]
    if kind not in FRONT_ENDS:
        raise ModelError(
            f"config.json has the front end {kind!r}; this version reads {', '.join(FRONT_ENDS)}: upgrade ctc-asr"
        )
    values = {name: value for name, value in section.items() if name != "kind"}
    return from_dict(FRONT_ENDS[kind], values, "front_end")


def from_format_1(config: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Give the model's section what that of the features has of normalisation; return the statistics, if any."""
    features, model = config["features"], config["model"]
    model["normalisation"] = features.pop("normalisation", "utterance")
    names = {"mean": "normalisation.mean", "std": "normalisation.std"}
    statistics = {name: np.array(features.pop(key, ()), dtype=np.float32) for key, name in names.items()}
    if model["normalisation"] != "global":
        return {}
    for name, values in statistics.items():
        if values.shape != (features["n_mels"],):
            raise ModelError(f"config.json has {values.size} values for {name}; expected {features['n_mels']}")
    return statistics


def to_format_1(config: dict[str, Any], statistics: dict[str, NDArray[np.float32]]) -> None:
    """Turn the sections of format 2 into those of format 1; `statistics` as `from_format_1` returns them."""
    del config["frame_seconds"]
    features, model = config.pop("front_end"), config.pop("network")
    del features["kind"]
    mean, std = (values.tolist() for values in statistics.values()) if statistics else ([], [])
    # Models of that format do not look ahead.
    del model["lookahead_frames"]
    features |= {"normalisation": model.pop("normalisation"), "mean": mean, "std": std}
    config |= {"features": features, "model": model}


def check_decoding(directory: Path, decoding: object) -> None:
    """Refuse decoding weights that are no numbers, or of unknown names."""
    if not isinstance(decoding, dict) or not all(
        name in DECODING_KEYS and isinstance(value, int | float) for name, value in decoding.items()
    ):
        raise ModelError(
            f"{directory}: config.json has the decoding {decoding!r}; expected numbers named "
            f"{', '.join(DECODING_KEYS)}: run asr tune, or export the model again"
        )


def check_results(directory: Path, results: list[Any]) -> None:
    """Refuse results that lack a number."""
    for row in results:
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str if key in ("split", "decoder") else (int, float)) for key in RESULT_KEYS
        ):
            raise ModelError(
                f"{directory}: config.json has the result {row!r}; expected {', '.join(RESULT_KEYS)}, all but "
                "the first two numbers: export the model again"
            )


def read_label_priors(path: Path, count: int) -> NDArray[np.float32]:
    """Return the natural logarithms ``(count,)`` of the tokens' shares of the frames; raises ``ModelError``."""
    try:
        priors = np.load(path, allow_pickle=False).astype(np.float32)
    # NumPy evaluates the header of a damaged file, and raises whatever that does.
    except Exception as error:
        raise ModelError(f"{path}: cannot be read ({first_line(error)}); export or install the bundle again") from None
    if priors.shape != (count,) or not (priors <= 0).all():
        raise ModelError(
            f"{path}: has the shape {priors.shape}; expected natural logarithms of {count} shares, none above 0: "
            "export or install the bundle again"
        )
    return np.asarray(priors)


def read_filterbank(directory: Path) -> NDArray[np.float32]:
    """Return the mel filters ``(n_mels, frequencies)``; raises ``ValueError`` where the file is damaged."""
    try:
        filterbank: NDArray[np.float32] = np.load(directory / "filterbank.npy", allow_pickle=False)
    except OSError:
        raise
    # NumPy evaluates the header of a damaged file, and raises whatever that does.
    except Exception as error:
        raise ValueError(f"filterbank.npy: {first_line(error)}") from None
    return filterbank
