"""A model's folder or name → a bundle, wherever it is: here, in the package, or on the Hugging Face Hub."""

import importlib.util
import os
import tempfile
from pathlib import Path

from asr.bundle.bundle import Bundle
from asr.bundle.hub import (
    HubName,
    RemoteModel,
    UnreachableError,
    find_ready,
    hub_name,
    look_up,
    making_ready,
    remember,
)
from asr.bundle.shipped import list_shipped
from asr.convert.convert import convert_folder, facts_of
from asr.convert.fetching import fetch, is_bundle
from asr.errors import UsageError
from asr.files import atomic_directory, link_or_copy


def open_bundle(model: Bundle | str | os.PathLike[str]) -> Bundle:
    """Return a bundle; one of the Hub is downloaded when it is first used, and converted if it is another's.

    Parameters
    ----------
    model : Bundle, path or str
        A bundle, its folder, the name of one that ships in the package, or, where there is no such folder, a model of
        the Hugging Face Hub: ``org/name`` is the version that was used before, or else the newest; ``org/name@branch``
        asks the Hub what is the newest on that branch, and takes the one that was used before where it cannot be
        asked; ``org/name@commit`` is always the same.

    Raises
    ------
    UsageError
        If there is no such model.
    ModelError
        If it is damaged, is none that is known here, or cannot be downloaded.
    MissingExtraError
        If it has to be converted, and that needs the [convert] extra.
    """
    if isinstance(model, Bundle):
        return model
    name = hub_name(model)
    if name is None:
        return Bundle.load(model)
    if importlib.util.find_spec("huggingface_hub") is None:
        # The mistyped name of a folder looks like this, too.
        raise UsageError(
            f"model {str(name)!r} is no directory here, and models of the Hugging Face Hub need huggingface_hub, which "
            f"is not installed: pip install 'ctc-asr[hub]'; or {list_shipped()}"
        )
    return Bundle.load(_ready(name))


def _ready(name: HubName) -> Path:
    """Return the folder of a model of the Hub that is ready to be used."""
    known = find_ready(name)
    if known and (name.is_commit or not name.revision):
        return known
    try:
        remote = look_up(name)
    except UnreachableError:
        if known:
            return known
        raise
    with making_ready(remote) as folder:
        if not folder.is_dir():
            _make_ready(remote, folder)
    remember(name, remote.commit)
    return folder


def _make_ready(remote: RemoteModel, folder: Path) -> None:
    # Beside the result, so that hard links can be made.
    with tempfile.TemporaryDirectory(prefix=".source.", dir=folder.parent) as scratch:
        source = Path(scratch)
        fetch(remote, source, remote.language)
        if not is_bundle(source):
            convert_folder(source, folder, facts_of(remote), remote.language, linked=True)
            return
        bundle = Bundle.load(source)
        with atomic_directory(folder) as new:
            for path in bundle.files:
                link_or_copy(path, new / path.name)
