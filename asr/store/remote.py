"""Where a store lies: in a folder, or in an object store, which is read through a cache on the local disk.

``s3://bucket/folder`` and ``gs://bucket/folder`` are read by pyarrow's file systems, with the credentials that the
environment has: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_ENDPOINT_URL``, a profile or the machine's
role; ``GOOGLE_APPLICATION_CREDENTIALS``. A shard is fetched when an utterance of it is first asked for.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from asr.errors import DataError, MissingExtraError, first_line
from asr.files import atomic_path
from asr.store.columns import read_arrow
from asr.store.layout import FILTERBANK, HEADER, INDEX, ShardFacts, file_checksum, read_header, write_bytes

# A `Path` makes one slash of two.
ADDRESS = re.compile(r"(?P<scheme>s3|gs):/+(?P<path>.+)")
# Bytes that are read at a time.
BLOCK = 1 << 22


class Place(Protocol):
    """Where a store lies: a folder with all but its shards, and how to have one of these."""

    @property
    def folder(self) -> Path:
        """The folder with all but the shards."""

    def shard(self, shard: ShardFacts) -> Path:
        """Return the file of a shard, which need not be there."""


class LocalFolder:
    """A store's folder on a disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shard(self, shard: ShardFacts) -> Path:
        """Return the file of a shard."""
        return self.folder / shard.file


class RemoteFolder:
    """A store's folder in an object store.

    What is fetched is kept in a folder named after the checksum of ``store.json``, which has those of all shards: a
    store that was prepared anew has another.

    Parameters
    ----------
    address : str
        As in ``s3://bucket/an4/train``.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def exists(self) -> bool:
        """Whether a whole store is there. Raises as `folder`, but where there is none."""
        from pyarrow.fs import FileType

        system, folder = self._system
        with self._explained():
            return bool(system.get_file_info(f"{folder}/{HEADER}").type == FileType.File)

    @cached_property
    def folder(self) -> Path:
        """The folder of the cache, with all but the shards.

        Raises
        ------
        DataError
            If the store, its bucket or the permission is missing, or the object store cannot be reached.
        MissingExtraError
            If pyarrow is not installed.
        """
        with self._explained(), self._open(HEADER) as file:
            header = file.read()
        folder = cache_folder() / hashlib.sha256(header).hexdigest()[:32]
        with self._explained():
            write_bytes(folder / HEADER, header)
        count = read_header(folder).utterances
        self._fetch(folder / INDEX, lambda path: len(read_arrow(path)) == count)
        self._fetch(folder / FILTERBANK, lambda path: np.load(path, allow_pickle=False).ndim == 2)
        return folder

    def shard(self, shard: ShardFacts) -> Path:
        """Return the file of a shard, fetched if it is not in the cache yet.

        Raises
        ------
        DataError
            If it cannot be had, or is not what ``store.json`` says.
        """
        return self._fetch(self.folder / shard.file, lambda path: file_checksum(path) == shard.sha256)

    def _fetch(self, path: Path, is_right: Callable[[Path], bool]) -> Path:
        """Fetch a file into the cache, unless it is there; a wrong one, which would stay for ever, is not kept."""
        if not path.exists():
            with self._explained(), atomic_path(path) as temporary:
                try:
                    source = self._open(path.name)
                except FileNotFoundError:
                    raise DataError(f"{self.address}/{path.name}: is missing: copy the store again") from None
                with source, temporary.open("wb") as file:
                    while block := source.read(BLOCK):
                        file.write(block)
                try:
                    right = is_right(temporary)
                except (EOFError, ValueError):
                    right = False
                if not right:
                    raise DataError(
                        f"{self.address}/{path.name}: is not whole, or not what {HEADER} says: copy the store again"
                    )
        return path

    def _open(self, name: str) -> Any:
        system, folder = self._system
        return system.open_input_stream(f"{folder}/{name}")

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The file system, and the folder in it."""
        try:
            from pyarrow.fs import FileSystem
        except ImportError:
            raise MissingExtraError("pyarrow", "data", "reading a store") from None
        with self._explained():
            system, folder = FileSystem.from_uri(self.address)
        return system, folder

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what pyarrow and the disk raise into one line."""
        try:
            yield
        # Which is a ValueError, and says what is wrong already.
        except DataError:
            raise
        except FileNotFoundError:
            raise DataError(
                f"{self.address}: no such store; expected the folder of one split, with its {HEADER}, as in "
                "s3://bucket/an4/train: copy one there (aws s3 cp --recursive data/an4 s3://bucket/an4)"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.address}: cannot be read ({first_line(error)}): are the address, the permission and the "
                "credentials right (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL; "
                f"GOOGLE_APPLICATION_CREDENTIALS), and is there room in {cache_folder()}?"
            ) from None


def is_store(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a whole store in a folder or at an address. Raises as `RemoteFolder.exists`."""
    address = remote_address(path)
    return RemoteFolder(address).exists if address else Path(path, HEADER).is_file()


def locate(path: str | os.PathLike[str]) -> Place:
    """Return where the store at `path` lies, a folder or an address."""
    address = remote_address(path)
    return RemoteFolder(address) if address else LocalFolder(Path(path))


def remote_address(path: str | os.PathLike[str]) -> str:
    """Return the address that `path` is, with both slashes again if it went through a `Path`; empty: of a folder."""
    match = ADDRESS.fullmatch(Path(path).as_posix())
    return f"{match['scheme']}://{match['path']}" if match else ""


def cache_folder() -> Path:
    """Return the folder for what is fetched: ``asr/stores`` below ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "asr", "stores")
