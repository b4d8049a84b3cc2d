"""A bundle → what others use: an ONNX file with its description, or a folder for the Hugging Face Hub."""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from asr.bundle.bundle import FILES, GRAPHS, OPTIONAL_FILES, STREAMING_GRAPH, WEIGHTS, Bundle, Precision
from asr.bundle.card import FEATURES, eval_results, model_card, onnx_card
from asr.bundle.hub import HUB_NAME, HubName, upload
from asr.bundle.runtime import check_precision, make_runtime
from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.errors import MissingExtraError, UsageError
from asr.files import atomic_directory, write_text
from asr.model_config import ModelConfig
from asr.settings import to_dict

EVAL_RESULTS = ".eval_results"
ONNX_FILES = ("model.onnx", "tokens.json", "filterbank.npy", FEATURES, "README.md")


def export_onnx(bundle: Bundle, directory: Path, precision: Precision = "float32", *, force: bool = False) -> None:
    """Write `ONNX_FILES`: a graph that any program with ONNX Runtime can run, and all that is needed around it.

    Parameters
    ----------
    bundle : Bundle
    directory : Path
    precision : {"float32", "int8"}
    force : bool
        Whether an older export in `directory` is replaced.

    Raises
    ------
    UsageError
        If the directory is in use, if it is the bundle's own, or the model cannot be had in this precision.
    ModelError
        If the bundle is damaged.
    MissingExtraError
        If the package onnx is not installed.
    """
    check_precision(bundle, precision)
    if directory.resolve() == bundle.directory.resolve():
        raise UsageError(
            f"{directory} is the model's own folder, whose weights an ONNX export would replace; give another folder"
        )
    check_free(directory, force)
    graph = _build(bundle, bundle.described(), precision)
    with atomic_directory(directory) as new:
        (new / "model.onnx").write_bytes(graph)
        if bundle.filterbank is not None:
            np.save(new / "filterbank.npy", bundle.filterbank)
        write_text(new / "tokens.json", json.dumps(bundle.tokenizer.tokens, ensure_ascii=False) + "\n")
        write_text(new / FEATURES, json.dumps(to_dict(bundle.features), indent=2) + "\n")
        write_text(new / "README.md", onnx_card(bundle, precision))


def export_huggingface(
    bundle: Bundle,
    directory: Path,
    precision: Precision | None = None,
    *,
    force: bool = False,
    streaming: bool = False,
) -> None:
    """Write a folder ready for upload: a bundle whose ``README.md`` is a Hugging Face model card.

    Parameters
    ----------
    bundle : Bundle
    directory : Path
        May be the bundle's own, with `force`.
    precision : {"float32", "int8"}, optional
        "int8" makes the quantised graph where the bundle has none, "float32" leaves it out; by default it is copied
        where there is one.
    force : bool
        Whether an older export in `directory` is replaced.
    streaming : bool
        Whether a graph for streams is made where the bundle has none.

    Raises
    ------
    UsageError, ModelError, MissingExtraError
        As `export_onnx`; UsageError also for a graph for streams of a model that cannot stream.
    """
    if streaming and (reason := bundle.described().why_not_streaming):
        raise UsageError(f"model {bundle.name!r} cannot stream: {reason}")
    check_precision(bundle, precision or "float32")
    check_free(directory, force, bundle.graph.data_files)
    weights = (bundle.directory / WEIGHTS).read_bytes() if bundle.model else b""
    digest = bundle.weights_sha256 or (hashlib.sha256(weights).hexdigest() if weights else "")
    bundle = dataclasses.replace(bundle, weights_sha256=digest)
    int8 = bundle.directory / GRAPHS["int8"]
    with atomic_directory(directory) as new:
        for path in bundle.files:
            if path != int8 or precision != "float32":
                shutil.copyfile(path, new / path.name)
        if precision == "int8" and not int8.is_file():
            (new / int8.name).write_bytes(_build(bundle, bundle.network, "int8", weights))
        if streaming and not (new / STREAMING_GRAPH).is_file():
            (new / STREAMING_GRAPH).write_bytes(_build_streaming(bundle, weights))
        write_text(new / "config.json", bundle.config_json())
        write_text(new / "README.md", model_card(bundle))
        # What is published can be loaded: files that are damaged, or another model's, are found here.
        copy = Bundle.load(new)
        if copy.model:
            copy.weights()
        for name in copy.precisions:
            make_runtime(copy, threads=1, precision=name)
        if (new / STREAMING_GRAPH).is_file():
            OnnxStreamingRuntime(copy)


def push(
    bundle: Bundle, name: HubName, *, dataset: str = "", private: bool = False, message: str = "Upload a model"
) -> str:
    """Upload a bundle to the Hugging Face Hub, with its card and its results.

    Parameters
    ----------
    bundle : Bundle
    name : HubName
        Where to; its revision is a branch.
    dataset : str
        The Hub's name of what the results were measured on: they are then written for its leaderboard, too. By default
        the bundle's own dataset, where that is such a name.
    private : bool
        Whether a new model is seen by its owner alone.
    message : str
        What the commit says.

    Returns
    -------
    str
        Where the commit is to be seen.

    Raises
    ------
    UsageError, ModelError, MissingExtraError
        As `export_huggingface` and `asr.bundle.hub.upload`; UsageError also where `dataset` is no such name.
    """
    dataset = dataset or (bundle.dataset if HUB_NAME.fullmatch(bundle.dataset) else "")
    if dataset and not HUB_NAME.fullmatch(dataset):
        raise UsageError(f"the dataset is {dataset!r}; expected its name on the Hub, as openslr/librispeech_asr")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name.repo.rpartition("/")[2]
        export_huggingface(bundle, folder)
        if dataset and bundle.results:
            write_text(folder / EVAL_RESULTS / f"{dataset.replace('/', '--')}.yaml", eval_results(bundle, dataset))
        # What an older version had and this one has not would count as a part of it.
        return upload(folder, name, (*OPTIONAL_FILES, WEIGHTS), private=private, message=message)


def _build(bundle: Bundle, network: ModelConfig, precision: Precision, saved: bytes = b"") -> bytes:
    """Return the graph that computes `network` in `precision`, as the content of a file.

    With `saved`, the content of the bundle's weights, the graph reads from there what it can; without, it has them all.
    """
    try:
        from asr.bundle.export import make_graph
        from asr.bundle.graph import store_outside
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "train", "building an ONNX graph") from None
    weights = bundle.weights()
    if saved and bundle.format_version > 1:
        graph = make_graph(bundle, network, weights, precision)
        store_outside(graph, saved, WEIGHTS)
    else:
        graph = make_graph(bundle, network, {name: x.astype(np.float32) for name, x in weights.items()}, precision)
    return bytes(graph.SerializeToString())


def _build_streaming(bundle: Bundle, saved: bytes) -> bytes:
    """Return the graph for streams; of a bundle of format 1 it holds the weights itself."""
    try:
        from asr.bundle.export import make_streaming_graph
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "train", "building an ONNX graph") from None
    return make_streaming_graph(
        bundle, bundle.described(), bundle.weights(), saved if bundle.format_version > 1 else b""
    )


def check_free(directory: Path, force: bool, data_files: tuple[str, ...] = ()) -> None:
    """Refuse to write over what is there, but for an older export with `force`.

    Parameters
    ----------
    directory : Path
    force : bool
    data_files : tuple of str
        Files of weights beside the graph, which belong to the export.

    Raises
    ------
    UsageError
        If the folder holds files that are not part of an export, or a model and `force` is not given.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not directory.is_dir():
        raise UsageError(f"{directory} is a file; expected a folder to write to, new or empty")
    strange = sorted({path.name for path in directory.iterdir()} - {*FILES, *OPTIONAL_FILES, *ONNX_FILES, *data_files})
    if strange:
        raise UsageError(
            f"{directory} holds {strange[0]!r}, which is not part of an export; give a new or empty folder"
        )
    if not force:
        raise UsageError(f"{directory} holds a model already; give another folder, or --force to replace it")
