"""A model bundle: a directory that holds all that recognition needs, and describes it.

config.json         name, description, features, model, measured results
tokens.json         the tokens, blank first
filterbank.npy      the mel filters of log-mel models, so that inference needs no librosa
model.onnx          the network for ONNX Runtime
model.safetensors   the same weights for torch
README.md           the model card
model.int8.onnx     the quantised network of an LSTM (optional)
model.stream.onnx   the network for streams, of models that can stream (optional)
lm.bin              a language model (optional; older bundles have lm.arpa.gz)
token_scores.json   the scores of subwords, to encode text (for tokens of kind "unigram")
lexicon.txt.gz      words and their phones (for tokens of kind "phones")
g2p.npz             a model that guesses the phones of other words (optional)
tuning.json         the trials of `asr tune`, and tuning.png, a plot of them (optional)
"""

import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from asr.bundle.front_end import FRONT_ENDS, FrontEnd, FrontEndConfig, LogMelFrontEnd, foreign_front_end
from asr.bundle.graph_config import GraphConfig
from asr.bundle.sections import (
    check_decoding,
    check_files,
    check_results,
    from_format_1,
    front_end_config,
    read_filterbank,
    read_label_priors,
    to_format_1,
)
from asr.bundle.shipped import find_bundle
from asr.bundle.weights import read_format_1, read_weights
from asr.errors import AsrError, ModelError, UsageError
from asr.features import LogMel, LogMelConfig
from asr.model_config import ModelConfig, Normalisation
from asr.settings import from_dict, to_dict
from asr.store.layout import file_checksum
from asr.text import PROFILES
from asr.tokenizer import LEXICON, SCORES, Tokenizer, read_tokenizer

FORMAT_VERSION = 2
WEIGHTS = "model.safetensors"
FILES = ("config.json", "tokens.json", "filterbank.npy", "model.onnx", WEIGHTS, "README.md")
LANGUAGE_MODEL, ARPA = "lm.bin", "lm.arpa.gz"

Precision = Literal["float32", "int8"]
GRAPHS: dict[Precision, str] = {"float32": "model.onnx", "int8": "model.int8.onnx"}
STREAMING_GRAPH = "model.stream.onnx"
# What guesses the phones of words that the lexicon lacks.
G2P_FILE = "g2p.npz"
# Of `asr tune`: what was tried, and a picture of it.
TRIALS, PICTURE = "tuning.json", "tuning.png"
LABEL_PRIORS = "label_priors.npy"
OPTIONAL_FILES = (
    GRAPHS["int8"], STREAMING_GRAPH, LANGUAGE_MODEL, ARPA, SCORES, LEXICON, G2P_FILE, LABEL_PRIORS, TRIALS, PICTURE
)  # fmt: skip
# The key in config.json and in the graphs' metadata that says of which weights a graph was made.
WEIGHTS_SHA256 = "weights_sha256"


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle's small files; a runtime reads the weights.

    Parameters
    ----------
    directory : Path
    name : str
    description : str
        One sentence: what the model recognises, and what it does not.
    features : LogMelConfig, WaveformConfig or FbankConfig
        The input of the network.
    filterbank : ndarray, shape (n_mels, frequencies), float32, or None
        None if the network takes the waveform.
    model : ModelConfig or None
        None for a network that was trained elsewhere: it has a graph, but no weights for torch.
    tokenizer : Tokenizer
    dataset, licence, language : str
        The training data, the licence of the weights, and the language's code.
    origin : str
        For a fine-tuned model, name, data and licence of the model that training started from; else empty.
    decoding : dict
        ``alpha``, ``beta`` and ``beam_size`` as tuned for the bundle's own language model; empty without one.
    results : list of dict
        Measured results: ``split``, ``decoder``, ``wer``, ``low``, ``high``, ``cer`` (in per cent),
        ``utterances``, ``words``.
    weights_sha256 : str
        The digest of the ``model.safetensors`` from which the graphs were made; empty if config.json has none.
    format_version : int
        1 or 2.
    stated_frame_seconds : float
        Seconds from one output frame to the next, for bundles without `model`.
    statistics : dict
        Of format 1 with global normalisation: ``normalisation.mean`` and ``normalisation.std``, each ``(n_mels,)``
        float32; format 2 has them in ``model.safetensors``.
    graph : GraphConfig
        The tensors of the graphs.
    text_profile : str
        The name of a profile in `asr.text.PROFILES`: what it changes about case and punctuation does not count where
        the model's words are looked up in a language model that has none; empty: the model's words are those of the
        language model.
    """

    directory: Path
    name: str
    description: str
    features: FrontEndConfig
    filterbank: NDArray[np.float32] | None
    model: ModelConfig | None
    tokenizer: Tokenizer
    dataset: str = "unknown"
    licence: str = "unknown"
    language: str = "en"
    origin: str = ""
    decoding: dict[str, float] = field(default_factory=dict)
    results: list[dict[str, Any]] = field(default_factory=list)
    weights_sha256: str = ""
    format_version: int = FORMAT_VERSION
    stated_frame_seconds: float = 0.0
    statistics: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    graph: GraphConfig = field(default_factory=GraphConfig)
    text_profile: str = ""

    @property
    def language_model(self) -> Path | None:
        """The file of the bundle's own language model, if it has one."""
        paths = (self.directory / LANGUAGE_MODEL, self.directory / ARPA)
        return next((path for path in paths if path.is_file()), None)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one output frame to the next: of whole samples, which ``hop_seconds`` need not be."""
        return self.frame_samples / self.features.sample_rate

    @property
    def frame_samples(self) -> int:
        """Samples from one output frame to the next."""
        if self.model is None or not isinstance(self.features, LogMelConfig):
            return round(self.stated_frame_seconds * self.features.sample_rate)
        return self.features.hop_samples * self.model.time_reduction

    @cached_property
    def front_end(self) -> FrontEnd:
        """What makes of samples, or of a store's utterance, what the network takes."""
        if not isinstance(self.features, LogMelConfig):
            return foreign_front_end(self.features)
        log_mel = LogMel(self.features, self.filterbank)
        fills = self.normalisation == "utterance"
        if self.format_version == 1:
            return LogMelFrontEnd(log_mel, self.normalisation, *self.statistics.values(), fills_dead_air=fills)
        return LogMelFrontEnd(log_mel, fills_dead_air=fills)

    @property
    def normalisation(self) -> Normalisation:
        """How the model normalises its features; "none" of one that was trained elsewhere."""
        return self.model.normalisation if self.model else "none"

    @property
    def network(self) -> ModelConfig:
        """What the graphs compute: in format 1 the front end normalises, and not they; raises as `described`."""
        model = self.described()
        return replace(model, normalisation="none") if self.format_version == 1 else model

    def described(self) -> ModelConfig:
        """Return `model`.

        Raises
        ------
        UsageError
            If it is None.
        """
        if self.model is None:
            raise UsageError(
                f"model {self.name!r} was trained elsewhere and has no weights for torch, only a graph for ONNX "
                "Runtime; expected a model that a recipe trained"
            )
        return self.model

    def label_priors(self) -> NDArray[np.float32] | None:
        """Return the natural logarithm of each token's share of the frames ``(V,)``; None where the bundle has none.

        Raises
        ------
        ModelError
            If the file is damaged, or of other tokens.
        """
        path = self.directory / LABEL_PRIORS
        if not path.is_file():
            return None
        return read_label_priors(path, len(self.tokenizer))

    def check_weights(self) -> None:
        """Refuse weights that are not those the graphs were made of.

        Raises
        ------
        ModelError
        """
        path = self.directory / WEIGHTS
        if self.format_version == 1 or not self.weights_sha256 or not path.is_file():
            return
        if (digest := file_checksum(path)) != self.weights_sha256:
            raise ModelError(
                f"{path}: is damaged or another model's: its digest is {digest[:12]}…, config.json names "
                f"{self.weights_sha256[:12]}…; export or install the bundle again"
            )

    @property
    def files(self) -> list[Path]:
        """The bundle's files, those that are optional where they exist."""
        names = (*FILES, *OPTIONAL_FILES, *self.graph.data_files)
        return [self.directory / name for name in names if (self.directory / name).is_file()]

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions for which the bundle has a graph."""
        return tuple(name for name in get_args(Precision) if (self.directory / GRAPHS[name]).is_file())

    def weights(self) -> dict[str, NDArray[np.floating[Any]]]:
        """Read the weights of `model`, by their names in `asr.model.AcousticModel`.

        Raises
        ------
        ModelError
            If the file is damaged.
        UsageError
            As `described`.
        """
        model, path = self.described(), self.directory / WEIGHTS
        return read_format_1(path, self.statistics) if self.format_version == 1 else read_weights(path, model)

    def config_json(self) -> str:
        """Return the content of ``config.json``."""
        kind = next(name for name, config in FRONT_ENDS.items() if isinstance(self.features, config))
        values: dict[str, Any] = {
            "format_version": self.format_version,
            "name": self.name,
            "description": self.description,
            "front_end": {"kind": kind, **to_dict(self.features)},
            "network": to_dict(self.model) if self.model else None,
            "frame_seconds": self.frame_seconds,
            "tokenizer": self.tokenizer.kind,
            "dataset": self.dataset,
            "licence": self.licence,
            "language": self.language,
            "origin": self.origin,
            "decoding": self.decoding,
            "results": self.results,
            WEIGHTS_SHA256: self.weights_sha256,
        }
        if self.graph != GraphConfig():
            values["graph"] = to_dict(self.graph)
        if self.text_profile:
            values["text_profile"] = self.text_profile
        if self.format_version == 1:
            to_format_1(values, self.statistics)
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
        check_files(directory, ("config.json",), FILES)
        try:
            config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
            version = config["format_version"]
            if version not in (1, FORMAT_VERSION):
                raise ModelError(
                    f"{directory}: the bundle's format version is {version}; this version reads 1 and "
                    f"{FORMAT_VERSION}: upgrade ctc-asr, or export the model again"
                )
            statistics = from_format_1(config) if version == 1 else {}
            if version == 1:
                config |= {"front_end": {"kind": "log-mel", **config["features"]}, "network": config["model"]}
            features = front_end_config(config["front_end"])
            network = config["network"]
            unneeded = [*["filterbank.npy"] * (not isinstance(features, LogMelConfig)), *[WEIGHTS] * (network is None)]
            check_files(directory, tuple(name for name in FILES if name not in unneeded), FILES)
            bundle = cls(
                directory=directory,
                name=config["name"],
                description=config["description"],
                features=features,
                filterbank=read_filterbank(directory) if isinstance(features, LogMelConfig) else None,
                model=None if network is None else from_dict(ModelConfig, network, "network"),
                tokenizer=read_tokenizer(directory, config.get("tokenizer", "characters")),
                dataset=config["dataset"],
                licence=config["licence"],
                language=config["language"],
                origin=str(config.get("origin", "")),
                decoding=config.get("decoding", {}),
                results=list(config["results"]),
                weights_sha256=str(config.get(WEIGHTS_SHA256, "")),
                format_version=version,
                stated_frame_seconds=float(config.get("frame_seconds", 0.0)),
                statistics=statistics,
                graph=from_dict(GraphConfig, config.get("graph", {}), "graph"),
                text_profile=str(config.get("text_profile", "")),
            )
            check_files(directory, bundle.graph.data_files, FILES)
            bundle._check()
            return bundle
        except ModelError:
            raise
        except KeyError as error:
            raise ModelError(f"{directory}: config.json has no {error}; export or install the bundle again") from None
        except (ValueError, TypeError, AttributeError, EOFError, OSError, BadZipFile, AsrError) as error:
            raise ModelError(f"{directory}: the bundle is damaged ({error}); export or install it again") from None

    def _check(self) -> None:
        """Refuse an invalid filterbank, frame length, decoding weights or results."""
        self.front_end  # noqa: B018  # Checks the filterbank.
        if self.frame_samples < 1:
            raise ModelError(
                f"{self.directory}: config.json has a frame_seconds of {self.stated_frame_seconds}; expected the "
                "seconds from one output frame to the next"
            )
        if self.text_profile and self.text_profile not in PROFILES:
            raise ModelError(
                f"{self.directory}: config.json has the text_profile {self.text_profile!r}; expected one of "
                f"{', '.join(PROFILES)}"
            )
        check_decoding(self.directory, self.decoding)
        check_results(self.directory, self.results)
