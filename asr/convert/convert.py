"""A model from elsewhere → a bundle."""

import tempfile
from dataclasses import replace
from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.bundle.hub import RemoteModel, hub_name, look_up
from asr.convert.draft import Facts
from asr.convert.fetching import CHECKPOINTS, fetch, is_bundle, refuse_unknown
from asr.convert.language_model import FOLDER as LANGUAGE_MODEL_FOLDER
from asr.convert.onnx_folder import onnx_files, read_onnx_folder, refuse_others
from asr.convert.vocabulary import read_object
from asr.errors import ModelError, UsageError


def convert(
    source: Path | str,
    out: Path,
    *,
    name: str = "",
    language: str = "",
    licence: str = "",
    origin: str = "",
    blank: int | None = None,
    max_seconds: float = 0.0,
    force: bool = False,
) -> Bundle:
    """Write the bundle of a CTC model that another toolkit made.

    Parameters
    ----------
    source : Path or str
        A folder or ONNX file: of onnx-asr's or sherpa-onnx's layout, or as NeMo or optimum export it; or a folder
        that transformers saved, which needs the [convert] extra. Or the name of such a model on the Hugging Face Hub,
        ``org/name`` or ``org/name@revision``, which needs the [hub] extra.
    out : Path
        The bundle's folder.
    name, language, licence, origin : str
        What the card says; by default the name is that of the source, the language "en", the licence "unknown", and of
        a model of the Hub all four are what the Hub says. Of a model of several languages, such as MMS, the language
        tells which of its vocabularies is meant.
    blank : int, optional
        The column of the blank, where it cannot be told; of ONNX files alone.
    max_seconds : float
        The longest utterance that the network takes: recordings are cut into shorter pieces. 0: as its files say, or
        any.
    force : bool
        Whether a model in `out` is replaced.

    Returns
    -------
    Bundle
        As it was written, after its graph has been loaded.

    Raises
    ------
    ModelError
        If the source is no CTC model that is known here; the message says what it is, and what to do.
    UsageError
        If there is no such source, it is a bundle already, `out` is in use, or the blank is given of a model that
        states it.
    MissingExtraError
        If torch, transformers or huggingface_hub are needed and not there.
    """
    if remote_name := hub_name(str(source)):
        remote = look_up(remote_name)
        with tempfile.TemporaryDirectory() as scratch:
            fetch(remote, Path(scratch), language)
            if is_bundle(Path(scratch)):
                raise UsageError(f"{source}: is a bundle already: asr transcribe --model {source} takes it as it is")
            facts = replace(facts_of(remote, name, language, licence, origin), max_seconds=max_seconds)
            return convert_folder(Path(scratch), out, facts, language, blank=blank, force=force)
    source = Path(source)
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder; expected a model's, or org/name of a model on the Hub")
    if source.suffix in CHECKPOINTS:
        raise ModelError(f"{source}: is a checkpoint, which is not read here; {CHECKPOINTS[source.suffix]}")
    if source.is_file() and source.suffix != ".onnx":
        raise ModelError(f"{source}: is no ONNX file; expected that, or the folder of a model")
    facts = Facts(name or _name(source), licence or "unknown", language or "en", origin, max_seconds)
    return convert_folder(source, out, facts, language, blank=blank, force=force)


def facts_of(remote: RemoteModel, name: str = "", language: str = "", licence: str = "", origin: str = "") -> Facts:
    """Return what a model of the Hub says of itself, where nothing else is given."""
    return Facts(
        name or remote.repo.partition("/")[2],
        licence or remote.licence or "unknown",
        language or remote.language or "en",
        origin or f"{remote.repo}@{remote.commit}",
    )


def convert_folder(
    source: Path,
    out: Path,
    facts: Facts,
    language: str = "",
    *,
    blank: int | None = None,
    force: bool = False,
    linked: bool = False,
) -> Bundle:
    """Write the bundle of a folder or an ONNX file, as `convert`; with `linked` as `Draft.write`."""
    folder = source if source.is_dir() else source.parent
    names = onnx_files(folder)
    if source.is_file() or names:
        graph = source if source.is_file() else None
        draft = read_onnx_folder(folder, graph=graph, blank=blank, language=language)
        return draft.write(out, facts, force=force, linked=linked, language_model=_language_model(folder))
    if blank is not None:
        raise UsageError(f"--blank is {blank}; of models that transformers saved, config.json states it: leave it out")
    config = read_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    refuse_others(config, folder)
    refuse_unknown([path.name for path in folder.iterdir()], config, folder)
    from asr.convert.huggingface import exported

    with exported(folder, config, language) as draft:
        return draft.write(out, facts, force=force, linked=linked, language_model=_language_model(folder))


def _language_model(folder: Path) -> Path | None:
    return folder / LANGUAGE_MODEL_FOLDER if (folder / LANGUAGE_MODEL_FOLDER).is_dir() else None


def _name(source: Path) -> str:
    path = source.resolve()
    return path.name if path.is_dir() else path.parent.name
