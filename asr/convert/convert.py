"""A model from elsewhere → a bundle."""

from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.convert.draft import Facts
from asr.convert.language_model import FOLDER as LANGUAGE_MODEL_FOLDER
from asr.convert.onnx_folder import is_onnx_folder, read_onnx_folder
from asr.convert.vocabulary import read_json
from asr.errors import ModelError, UsageError

# What to do with files that are no ONNX file: loading some of them would run code.
ELSEWHERE = {
    ".nemo": "export it with NeMo: model.export('model.onnx'), with the tokens in tokens.txt beside it",
    ".pt": "export it with the toolkit that made it (icefall: export-onnx-ctc.py), with tokens.txt beside it",
    ".pth": "export it with the toolkit that made it, with tokens.txt beside it",
    ".ckpt": "export it with the toolkit that made it, with tokens.txt beside it",
}


def convert(
    source: Path,
    out: Path,
    *,
    name: str = "",
    language: str = "",
    licence: str = "unknown",
    origin: str = "",
    blank: int | None = None,
    force: bool = False,
) -> Bundle:
    """Write the bundle of a CTC model that another toolkit made.

    Parameters
    ----------
    source : Path
        A folder or ONNX file: of onnx-asr's or sherpa-onnx's layout, or as NeMo or optimum export it; or a folder
        that transformers saved, which needs the [convert] extra.
    out : Path
        The bundle's folder.
    name, language, licence, origin : str
        What the card says; the name is that of the source by default, and the language "en". Of a model of several
        languages, such as MMS, the language tells which of its vocabularies is meant.
    blank : int, optional
        The column of the blank, where it cannot be told; of ONNX files alone.
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
        If there is no such source, `out` is in use, or the blank is given of a model that states it.
    MissingExtraError
        If torch or transformers are needed and not there.
    """
    folder = source if source.is_dir() else source.parent
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder; expected a model's")
    if source.suffix in ELSEWHERE:
        raise ModelError(f"{source}: is a checkpoint, which is not read here; {ELSEWHERE[source.suffix]}")
    if source.is_file() and source.suffix != ".onnx":
        raise ModelError(f"{source}: is no ONNX file; expected that, or the folder of a model")
    facts = Facts(name or _name(source), licence, language or "en", origin)
    if source.is_file() or is_onnx_folder(folder):
        graph = source if source.is_file() else None
        draft = read_onnx_folder(folder, graph=graph, blank=blank, language=language)
        return draft.write(out, facts, force=force, language_model=_language_model(folder))
    if blank is not None:
        raise UsageError(f"--blank is {blank}; of models that transformers saved, config.json states it: leave it out")
    return _from_hugging_face(folder, out, facts, language, force=force)


def _from_hugging_face(folder: Path, out: Path, facts: Facts, language: str, *, force: bool) -> Bundle:
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if not config.get("architectures"):
        checkpoints = sorted(path for path in folder.iterdir() if path.suffix in ELSEWHERE)
        hint = f"; of {checkpoints[0].name}: {ELSEWHERE[checkpoints[0].suffix]}" if checkpoints else ""
        raise ModelError(
            f"{folder}: is no model that is known here; expected an ONNX file with its tokens, or a folder that "
            f"transformers saved{hint}"
        )
    from asr.convert.huggingface import exported

    with exported(folder, config, language) as draft:
        return draft.write(out, facts, force=force, language_model=_language_model(folder))


def _language_model(folder: Path) -> Path | None:
    return folder / LANGUAGE_MODEL_FOLDER if (folder / LANGUAGE_MODEL_FOLDER).is_dir() else None


def _name(source: Path) -> str:
    path = source.resolve()
    return path.name if path.is_dir() else path.parent.name
