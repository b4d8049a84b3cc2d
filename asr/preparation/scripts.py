"""Corpus scripts: where they are, and the corpus that each describes."""

import importlib.util
from pathlib import Path

from asr.errors import UsageError, did_you_mean
from asr.preparation.corpus import Corpus


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Return the ``CORPUS`` of a corpus script: a path, or the name of a script in ``data_prep``.

    Raises
    ------
    UsageError
        If there is no such script, or it has no ``CORPUS``.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        folders = (Path("data_prep"), Path(__file__).resolve().parents[2] / "data_prep")
        known = {script.stem: script for folder in reversed(folders) for script in folder.glob("*.py")}
        if path.name not in known:
            listed = ", ".join(sorted(known)) or f"none in {folders[0].absolute()}"
            raise UsageError(f"no corpus {path.name!r}{did_you_mean(path.name, known)}; expected one of: {listed}")
        path = known[path.name]
    if not path.is_file():
        raise UsageError(f"{path}: no such corpus script; expected data_prep/NAME.py")
    spec = importlib.util.spec_from_file_location(f"data_prep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: is not a Python script")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    corpus = getattr(module, "CORPUS", None)
    if not isinstance(corpus, Corpus):
        raise UsageError(f"{path}: has no CORPUS = Corpus(...); expected the script of one corpus")
    return corpus
