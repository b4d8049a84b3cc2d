"""Recipes and corpus scripts, those that ship and a user's own: found by name, copied, and run by path."""

import ast
import runpy
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from asr.errors import UsageError, did_you_mean

# Also the name of the folder, in the working directory and in a checkout.
Kind = Literal["recipes", "data_prep"]
NOUNS = {"recipes": "recipe", "data_prep": "corpus"}


def shipped_folder(kind: Kind) -> Path:
    """Return the folder of the scripts that ship: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "shipped" / kind
    return inside if inside.is_dir() else package.parent / kind


def known_scripts(kind: Kind) -> dict[str, Path]:
    """Return name → script, of those that ship and those in the working directory; the latter go first."""
    folders = (shipped_folder(kind), Path(kind))
    return {script.stem: script for folder in folders for script in sorted(folder.glob("*.py"))}


def find_script(kind: Kind, name_or_path: str | Path) -> Path:
    """Return a script: the path of a ``.py`` file, or the name of one of `known_scripts`.

    Raises
    ------
    UsageError
        If there is none.
    """
    path = Path(name_or_path)
    if path.suffix == ".py":
        if not path.is_file():
            raise UsageError(f"{path}: no such {NOUNS[kind]} script; expected {kind}/NAME.py")
        return path
    known = known_scripts(kind)
    if path.name not in known:
        listed = ", ".join(sorted(known)) or f"none in {Path(kind).absolute()}"
        raise UsageError(f"no {NOUNS[kind]} {path.name!r}{did_you_mean(path.name, known)}; expected one of: {listed}")
    return known[path.name]


def summary(script: Path) -> str:
    """Return the first line of a script's docstring; the script is not run."""
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def copy_script(kind: Kind, name: str, folder: Path) -> Path:
    """Copy a script that ships into `folder`, with the scripts beside it that it imports, and return the copy.

    Raises
    ------
    UsageError
        If there is no such script, or a file of its name is in `folder` already.
    """
    script = find_script(kind, name)
    copy = folder / script.name
    if copy.exists():
        raise UsageError(f"{copy}: already exists: remove it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for source in [*_imported_siblings(script), script]:
        # A sibling that is there already is the user's own.
        if not (folder / source.name).exists():
            shutil.copyfile(source, folder / source.name)
    return copy


def _imported_siblings(script: Path) -> list[Path]:
    statements = ast.parse(script.read_text(encoding="utf-8")).body
    modules = [statement.module for statement in statements if isinstance(statement, ast.ImportFrom)]
    siblings = [script.with_name(f"{module}.py") for module in modules if module]
    return [sibling for sibling in siblings if sibling.is_file()]


def run_script(script: Path, arguments: Sequence[str]) -> None:
    """Run a script as ``python SCRIPT ARGUMENTS`` would."""
    argv, path = sys.argv, sys.path
    sys.argv = [str(script), *arguments]
    # A script may import one beside it.
    sys.path = [str(script.resolve().parent), *path]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path = argv, path
