"""The Hugging Face Hub: a model's name → its files, pinned by commit; and a bundle → a model there. [hub] extra.

Downloads are in huggingface_hub's own cache. A model that is ready to be used is a folder of plain files beside it, in
that library's cache of assets, so that it is whole or absent, and is found without asking the Hub:

ctc-asr/ORG--NAME/COMMIT              a bundle; what is large is a hard link into the cache where that can be
ctc-asr/ORG--NAME/refs/REVISION       the commit that a branch or a tag meant when it was last made ready
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asr.bundle.shipped import shipped_bundles
from asr.errors import MissingExtraError, ModelError, UsageError, first_line
from asr.files import link_or_copy, locked, write_text
from asr.version import __version__

LIBRARY = "ctc-asr"
BRANCH = "main"
HUB_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[^\s@]+))?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")


class UnreachableError(ModelError):
    """The Hub cannot be reached: no network, or ``HF_HUB_OFFLINE`` is set."""


@dataclass(frozen=True)
class HubName:
    """A model of the Hub.

    Parameters
    ----------
    repo : str
        ``org/name``.
    revision : str
        A branch, tag or commit; empty where none was given.
    """

    repo: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a whole commit hash, which always means the same files."""
        return COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True)
class RemoteModel:
    """The Hub's description of a model.

    Parameters
    ----------
    repo, commit : str
    files : tuple of str
        Names of all its files, folders parted by ``/``.
    licence, language : str
        As its card has them; empty where it has none, or several.
    """

    repo: str
    commit: str
    files: tuple[str, ...]
    licence: str = ""
    language: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit[:12]}"

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Put files into `folder`, by hard links into the cache where that can be.

        Raises
        ------
        UnreachableError
            If the connection fails; the part of a large file already downloaded is kept, and the next call resumes.
        ModelError
            If a file cannot be downloaded.
        """
        hub = _hub("a model of the Hub")
        for name in (name for name in names if not (folder / name).exists()):
            with _explained(HubName(self.repo, self.commit)):
                path = hub.hf_hub_download(self.repo, name, revision=self.commit, **_library())
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(Path(path).resolve(), folder / name)


def hub_name(model: object) -> HubName | None:
    """Return the name on the Hub that `model` stands for; None if it is a path or a model that ships with the package.

    Parameters
    ----------
    model : str or other
        Only of ``org/name`` or ``org/name@revision``, and where no such file or folder is here, there is a name.
    """
    match = HUB_NAME.fullmatch(model) if isinstance(model, str) else None
    if match is None or Path(match[0]).exists() or match[0] in shipped_bundles():
        return None
    return HubName(match["repo"], match["revision"] or "")


def look_up(name: HubName) -> RemoteModel:
    """Ask the Hub what a name means now.

    Raises
    ------
    UsageError
        If there is no such model or revision, or it is private.
    ModelError
        If its terms have not been accepted, or a file's name leads out of the model's folder.
    UnreachableError
        If the Hub cannot be asked.
    MissingExtraError
        If huggingface_hub is not installed.
    """
    hub = _hub(f"model {str(name)!r}, which is no folder here, so a model of the Hugging Face Hub,")
    with _explained(name):
        info = hub.HfApi(**_library()).model_info(name.repo, revision=name.revision or None)
    files = tuple(file.rfilename for file in info.siblings or ())
    for file in files:
        if "\\" in file or ":" in file or any(part in ("", ".", "..") for part in file.split("/")):
            raise ModelError(
                f"model {name}: lists a file {file!r} that may lie outside its folder; nothing was downloaded"
            )
    card = info.card_data or {}
    licence, language = card.get("license"), card.get("language")
    if isinstance(language, list) and len(language) == 1:
        (language,) = language
    return RemoteModel(
        name.repo,
        str(info.sha),
        files,
        licence if isinstance(licence, str) else "",
        language if isinstance(language, str) else "",
    )


def find_ready(name: HubName) -> Path | None:
    """Return the folder of a model that was prepared before; else None."""
    commit = name.revision
    if not name.is_commit:
        ref = _ref(name)
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""
    folder = _folder(name.repo) / commit
    return folder if COMMIT.fullmatch(commit) and folder.is_dir() else None


@contextmanager
def making_ready(remote: RemoteModel) -> Iterator[Path]:
    """Yield the folder for a model's bundle, after waiting for any other process that makes the same."""
    folder = _folder(remote.repo)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", lambda: None):
        yield folder / remote.commit


def remember(name: HubName, commit: str) -> None:
    """Note the commit of a branch or a tag, so that it is found without asking the Hub."""
    if not name.is_commit:
        write_text(_ref(name), commit + "\n")


def upload(
    folder: Path, name: HubName, stale: Iterable[str], *, private: bool = False, message: str = "Upload a model"
) -> str:
    """Upload a folder as a commit of a model on the Hub, which is created if it does not exist.

    Parameters
    ----------
    folder : Path
    name : HubName
        Its revision is a branch, which must be there; empty for the main one.
    stale : iterable of str
        Patterns of files that are removed there where `folder` has none of the same name.
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
    UsageError, ModelError, UnreachableError, MissingExtraError
        As `look_up`; ModelError also where the token may not write.
    """
    api = _hub("uploading a model").HfApi(**_library())
    with _explained(name):
        api.create_repo(name.repo, private=private or None, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name.repo,
            folder_path=folder,
            revision=name.revision or None,
            commit_message=message,
            delete_patterns=list(stale),
        )
    return str(commit.commit_url)


def is_of_hub(folder: Path) -> bool:
    """Tell whether a folder is one that was made ready here: shared by all that use the name, so not to be changed."""
    return COMMIT.fullmatch(folder.name) is not None and folder.parent.parent.name == LIBRARY


def _folder(repo: str) -> Path:
    from huggingface_hub.constants import HF_ASSETS_CACHE

    return Path(HF_ASSETS_CACHE) / LIBRARY / repo.replace("/", "--")


def _ref(name: HubName) -> Path:
    return _folder(name.repo) / "refs" / f"{quote(name.revision or BRANCH, safe='')}.txt"


def _library() -> dict[str, str]:
    return {"library_name": LIBRARY, "library_version": __version__}


def _hub(purpose: str) -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError("huggingface_hub", "hub", purpose) from None
    return huggingface_hub


@contextmanager
def _explained(name: HubName) -> Iterator[None]:
    """Turn the library's errors, whose messages are of many lines, into ours."""
    from huggingface_hub import constants, errors

    login = "hf auth login, or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"model {name}: needs you to accept its terms: do so at {constants.ENDPOINT}/{name.repo}, and {login}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UsageError(
            f"model {str(name)!r} is neither a folder here nor a public model on {constants.ENDPOINT}: check the name; "
            f"if it is private: {login}"
        ) from None
    except errors.RevisionNotFoundError:
        raise UsageError(
            f"model {name.repo} has no revision {name.revision!r}; expected a branch, a tag or a commit"
        ) from None
    except errors.OfflineModeIsEnabled:
        raise UnreachableError(
            f"model {name}: is not in the cache, and HF_HUB_OFFLINE is set: unset it to download the model"
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ModelError(
                f"model {name}: {constants.ENDPOINT} does not allow this (status {status}): {login}, with a token that "
                "may"
            ) from None
        raise UnreachableError(f"model {name}: {constants.ENDPOINT} answers {status}; try again later") from None
    except Exception as error:  # The exceptions of the HTTP library share no base class over its versions.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreachableError(
            f"model {name}: {constants.ENDPOINT} cannot be reached, or the connection broke ({first_line(error)}); try "
            "again: what was downloaded is kept"
        ) from None
