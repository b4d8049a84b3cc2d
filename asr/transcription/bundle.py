"""A model bundle: a directory that holds all that recognition needs, and says what it is.

config.json         name, description, features, model, measured results
tokens.json         the tokens, blank first
filterbank.npy      the mel filters, so that inference needs no librosa
model.onnx          the network for ONNX Runtime
model.safetensors   the same weights for torch
README.md           the model card
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError, ModelError, UsageError, did_you_mean
from asr.features import LogMel, LogMelConfig
from asr.model_config import ModelConfig
from asr.settings import from_dict, to_dict
from asr.tokenizer import CharTokenizer

FORMAT_VERSION = 1
FILES = ("config.json", "tokens.json", "filterbank.npy", "model.onnx", "model.safetensors", "README.md")
LANGUAGE_MODEL = "lm.arpa.gz"
RESULT_KEYS = ("split", "decoder", "wer", "low", "high", "cer", "utterances", "words")

# Bundles that ship in the package.
SHIPPED = Path(__file__).parent.parent / "bundles"


@dataclass(frozen=True)
class Bundle:
    """What a bundle's small files say; the weights are read by a runtime.

    Parameters
    ----------
    directory : Path
    name : str
    description : str
        One sentence: what the model knows, and what it does not.
    features : LogMelConfig
    filterbank : ndarray, shape (n_mels, frequencies), float32
    model : ModelConfig
    tokenizer : CharTokenizer
    dataset, licence, language : str
        What it was trained on, the licence of the weights, and the language's code.
    decoding : dict
        ``alpha`` and ``beta`` as tuned for the bundle's own language model; empty without one.
    results : list of dict
        Measured results: ``split``, ``decoder``, ``wer``, ``low``, ``high``, ``cer`` (in per cent),
        ``utterances``, ``words``.
    """

    directory: Path
    name: str
    description: str
    features: LogMelConfig
    filterbank: NDArray[np.float32]
    model: ModelConfig
    tokenizer: CharTokenizer
    dataset: str = "unknown"
    licence: str = "unknown"
    language: str = "en"
    decoding: dict[str, float] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one output frame to the next."""
        return self.features.hop_seconds * self.model.time_reduction

    @property
    def log_mel(self) -> LogMel:
        """The features that the model was trained with."""
        return LogMel(self.features, self.filterbank)

    def config_json(self) -> str:
        """Return the content of ``config.json``."""
        values = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "description": self.description,
            "features": to_dict(self.features),
            "model": to_dict(self.model),
            "tokenizer": self.tokenizer.kind,
            "dataset": self.dataset,
            "licence": self.licence,
            "language": self.language,
            "decoding": self.decoding,
            "results": self.results,
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, model: str | os.PathLike[str]) -> "Bundle":
        """Read a bundle.

        Parameters
        ----------
        model : path or str
            A bundle's directory, or the name of one that ships in the package.

        Raises
        ------
        UsageError
            If there is no such directory or name.
        ModelError
            If a file is missing or damaged.
        """
        directory = find_bundle(model)
        missing = [name for name in FILES if not (directory / name).is_file()]
        if missing:
            raise ModelError(
                f"{directory}: is not a whole model bundle: {', '.join(missing)} missing; "
                f"expected {', '.join(FILES)}, as a recipe writes them"
            )
        try:
            config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
            version = config["format_version"]
            if version != FORMAT_VERSION:
                raise ModelError(
                    f"{directory}: the bundle's format version is {version}; this program reads {FORMAT_VERSION}: "
                    "upgrade ctc-asr, or export the model again"
                )
            bundle = cls(
                directory=directory,
                name=config["name"],
                description=config["description"],
                features=LogMelConfig.from_dict(config["features"]),
                filterbank=np.load(directory / "filterbank.npy", allow_pickle=False),
                model=from_dict(ModelConfig, config["model"], "model"),
                tokenizer=CharTokenizer(json.loads((directory / "tokens.json").read_text(encoding="utf-8"))),
                dataset=config["dataset"],
                licence=config["licence"],
                language=config["language"],
                decoding=config.get("decoding", {}),
                results=list(config["results"]),
            )
            bundle.log_mel  # noqa: B018  # Checks the filterbank.
            if set(bundle.decoding) - {"alpha", "beta"} or any(set(RESULT_KEYS) - set(row) for row in bundle.results):
                raise ModelError(f"{directory}: config.json has a decoding or results section that is not as expected")
            return bundle
        except ModelError:
            raise
        except KeyError as error:
            raise ModelError(f"{directory}: config.json has no {error}; expected it, as a recipe writes it") from None
        except (ValueError, TypeError, AttributeError, EOFError, OSError, BadZipFile, AsrError) as error:
            raise ModelError(f"{directory}: the bundle is damaged ({error}); export or install it again") from None


def shipped_bundles() -> dict[str, str]:
    """Return the names of the bundles in the package, each with its description."""
    return {
        config.parent.name: json.loads(config.read_text(encoding="utf-8"))["description"]
        for config in sorted(SHIPPED.glob("*/config.json"))
    }


def find_bundle(model: str | os.PathLike[str]) -> Path:
    """Return the directory of a bundle given by its path or its name.

    Raises
    ------
    UsageError
        If there is none; the message lists those that ship.
    """
    path = Path(model)
    shipped = shipped_bundles()
    # A folder that happens to have the name of a shipped model, as data/an4 has, does not hide it.
    if str(model) in shipped and not (path / "config.json").is_file():
        return SHIPPED / str(model)
    if path.is_dir():
        return path
    problem = "is a file" if path.exists() else "is neither a directory nor the name of a model that ships"
    raise UsageError(f"model {str(model)!r} {problem}{did_you_mean(str(model), shipped)}; {list_shipped()}")


def list_shipped() -> str:
    """Return a sentence that lists the bundles in the package, one a line."""
    lines = [f"  {name:8} {description}" for name, description in shipped_bundles().items()]
    return "\n".join(["give the directory of a bundle, or one of these:", *lines])
