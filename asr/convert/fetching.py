"""A model on the Hugging Face Hub → the files of it that are needed, in a folder; nothing large before it is known."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from asr.bundle.bundle import FILES, OPTIONAL_FILES
from asr.bundle.hub import RemoteModel
from asr.convert.graph import external_files
from asr.convert.language_model import FOLDER as LANGUAGE_MODEL_FOLDER
from asr.convert.onnx_folder import VOCABULARIES, choose_graph, int8_of, refuse_others
from asr.convert.vocabulary import read_json
from asr.errors import MissingExtraError, ModelError

# What to do with files that are no ONNX file: loading some of them would run code.
CHECKPOINTS = {
    ".nemo": "export it with NeMo: model.export('model.onnx'), with the tokens in tokens.txt beside it",
    ".pt": "export it with the toolkit that made it (icefall: export-onnx-ctc.py), with tokens.txt beside it",
    ".pth": "export it with the toolkit that made it, with tokens.txt beside it",
    ".ckpt": "export it with the toolkit that made it, with tokens.txt beside it",
}
CONFIG = "config.json"
WEIGHTS, SHARDS = "model.safetensors", "model.safetensors.index.json"
# What tells of the tokens and the features.
SMALL_FILES = (
    CONFIG, *VOCABULARIES, "vocab.json", "added_tokens.json", "tokenizer_config.json", "tokenizer.json",
    "preprocessor_config.json", "processor_config.json",
)  # fmt: skip


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder's ``config.json`` is a bundle's."""
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    return isinstance(config, dict) and "format_version" in config


def fetch(remote: RemoteModel, folder: Path, language: str = "") -> None:
    """Put into `folder` what a bundle is, or what `asr.convert` needs.

    Parameters
    ----------
    remote : RemoteModel
    folder : Path
        Empty.
    language : str
        Of MMS: whose adapter is needed.

    Raises
    ------
    ModelError
        If the model is none that is known here, or a download fails.
    MissingExtraError
        If it can be converted, but not without the [convert] extra.
    """
    remote.download([CONFIG] if CONFIG in remote.files else [], folder)
    config = read_json(folder / CONFIG) if CONFIG in remote.files else {}
    if not isinstance(config, dict):
        raise ModelError(f"model {remote}: its {CONFIG} is no object; expected that of a model")
    if "format_version" in config:
        section = config.get("graph")
        stated = section.get("data_files") if isinstance(section, dict) else None
        own = {*FILES, *OPTIONAL_FILES, *(stated if isinstance(stated, list) else ())}
        remote.download([name for name in remote.files if name in own], folder)
        return
    refuse_others(config, f"model {remote}")
    graphs = [name for name in remote.files if name.endswith(".onnx") and name.rpartition("/")[0] in ("", "onnx")]
    small = [name for name in SMALL_FILES if name in remote.files]
    small += [name for name in remote.files if name.startswith(f"{LANGUAGE_MODEL_FOLDER}/")]
    if graphs:
        graph = choose_graph(graphs, f"model {remote}")
        remote.download([*small, graph], folder)
        beside = [str(PurePosixPath(graph).with_name(name)) for name in external_files(folder / graph)]
        twin = int8_of(graph)
        remote.download([name for name in (*beside, twin) if name in remote.files], folder)
        return
    refuse_unknown(remote.files, config, f"model {remote}")
    _require_extra(remote)
    remote.download([*small, *_weights(remote, folder, language)], folder)


def refuse_unknown(names: Sequence[str], config: dict[str, Any], where: object) -> None:
    """Refuse a folder that holds neither an ONNX file nor what transformers saved as safetensors.

    Parameters
    ----------
    names : sequence of str
        Of its files.
    config : dict
        Its ``config.json``.
    where : Path or str
        For messages.

    Raises
    ------
    ModelError
        Naming what to do.
    """
    if config.get("architectures"):
        if not any(name.endswith(".safetensors") for name in names):
            raise ModelError(
                f"{where}: has no {WEIGHTS}; pickled weights are not read, as loading them could run code: load the "
                "model with transformers and save_pretrained it, which writes safetensors"
            )
        return
    checkpoints = sorted(name for name in names if PurePosixPath(name).suffix in CHECKPOINTS)
    hint = f"; of {checkpoints[0]}: {CHECKPOINTS[PurePosixPath(checkpoints[0]).suffix]}" if checkpoints else ""
    raise ModelError(
        f"{where}: is no model that is known here; expected a bundle, an ONNX file with its tokens, or what "
        f"transformers saved{hint}"
    )


def _weights(remote: RemoteModel, folder: Path, language: str) -> list[str]:
    adapter = f"adapter.{language}.safetensors"
    extra = [adapter] if language and adapter in remote.files else []
    if WEIGHTS in remote.files or SHARDS not in remote.files:
        return [name for name in (WEIGHTS, *extra) if name in remote.files]
    remote.download([SHARDS], folder)
    shards = set(read_json(folder / SHARDS).get("weight_map", {}).values())
    return [*(name for name in remote.files if name in shards), *extra]


def _require_extra(remote: RemoteModel) -> None:
    """Say before a download of gigabytes, and not after it, that they could not be converted."""
    for package in ("torch", "transformers", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "convert", f"model {remote}, which is to be converted from PyTorch,")
