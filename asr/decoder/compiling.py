"""Compiling kernels: once on a machine, announced, and kept in Numba's cache.

The cache is in the package's own ``__pycache__``; where that cannot be written to, in the user's cache directory; or
wherever ``NUMBA_CACHE_DIR`` says. Where there is none at all, each process compiles for itself.
"""

import contextlib
import functools
import gc
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])

# Division by zero gives what it gives in NumPy; C code has no use for these functions.
OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
CACHE_NAME = "asr-kernels"
DAY_SECONDS = 86_400


def compiled(function: Function) -> Function:
    """Compile a function that Python calls, at its first call; it runs without the GIL and is kept in the cache."""
    return _compile_and_keep(function)


def compiled_in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile like `compiled` a function that makes no arrays, so that references to arrays need no counting.

    Counting them takes more than half of the time of a beam search: each is an atomic operation.
    """
    return _compile_and_keep(function, _nrt=False)


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only kernels call and that makes no arrays; it is kept as a part of them."""
    # Inlined: a call would push all the arrays of a search, some two hundred numbers, onto the stack.
    return numba.njit(**OPTIONS, no_cpython_wrapper=True, forceinline=True, _nrt=False)(function)  # type: ignore[no-any-return]


def writeable(value: Any) -> Any:
    """Return an array, or a tuple with arrays, that can be written to, copied if need be.

    Arrays that joblib or ray share between processes cannot be, and Numba takes them for another type.
    """
    if isinstance(value, tuple):
        return tuple(map(writeable, value))
    return np.require(value, requirements="W") if isinstance(value, np.ndarray) else value


@contextlib.contextmanager
def announcing() -> Iterator[None]:
    """Log, once in this block, that kernels of the decoder are being compiled, if they are."""
    announcer = _Announcer()
    with event.install_listener("numba:compile", announcer):
        yield
    if announcer.announced:
        # What the compiler leaves would be collected in the midst of a stream, which takes a second.
        gc.collect()


def _compile_and_keep(function: Function, **options: bool) -> Function:
    directory = _cache_directory()
    if directory is None:
        return numba.njit(**OPTIONS, **options)(function)  # type: ignore[no-any-return]
    # Numba decides where to keep a function when it is declared.
    chosen, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(directory)
    try:
        return numba.njit(cache=True, **OPTIONS, **options)(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = chosen


@functools.cache
def _cache_directory() -> Path | None:
    """Return a writeable directory for the kernels of just these sources; None if there is none.

    Numba looks at the changes of a kernel's own file only, but what the kernel calls is compiled into it.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    name = f"{CACHE_NAME}-{digest.hexdigest()[:12]}"
    own = package / "__pycache__"
    for parent in [Path(numba.config.CACHE_DIR)] if numba.config.CACHE_DIR else [own, *_user_caches()]:
        directory = parent / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(directory, os.W_OK):
            if parent == own:
                _remove_old(own, directory)
            return directory
    return None


def _user_caches() -> list[Path]:
    named = [os.environ[name] for name in ("XDG_CACHE_HOME", "LOCALAPPDATA") if os.environ.get(name)]
    with contextlib.suppress(RuntimeError):
        named.append(str(Path.home() / ".cache"))
    return [Path(name) / "asr" for name in named]


def _remove_old(parent: Path, current: Path) -> None:
    """Remove what was compiled from sources that have changed since, unless a running process may still use it."""
    import shutil

    for other in parent.glob(f"{CACHE_NAME}-*"):
        with contextlib.suppress(OSError):
            if other != current and other.stat().st_mtime < time.time() - DAY_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


class _Announcer(event.Listener):  # type: ignore[misc]
    """Says once that the decoder's kernels are being compiled; Numba's cache is not asked for this."""

    announced = False

    def on_start(self, event: Any) -> None:
        if not self.announced and str(event.data["dispatcher"].py_func.__module__).startswith("asr.decoder"):
            self.announced = True
            logging.getLogger("asr").warning("asr: compiling the decoder for this machine, once (some seconds)")

    def on_end(self, event: Any) -> None:
        pass
