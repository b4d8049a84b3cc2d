"""The bundles that ship in the package, and how a model is found by its name."""

import json
import os
from pathlib import Path

from asr.errors import UsageError, did_you_mean

SHIPPED = Path(__file__).parent.parent / "models"
# The one that is taken where none is named.
DEFAULT_MODEL = "english"


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
    """Return a sentence that lists the bundles in the package, one per line."""
    lines = [f"  {name:8} {description}" for name, description in shipped_bundles().items()]
    return "\n".join(["give the directory of a bundle, or one of these:", *lines])
