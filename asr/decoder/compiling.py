"""Compiling kernels: once on a machine, announced, and kept in Numba's cache.

The cache is the package's own ``__pycache__``; where that cannot be written to, the user's cache directory or
``NUMBA_CACHE_DIR``. Where there is none at all, each process compiles for itself.
"""

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])

# Division by zero gives what it gives in NumPy; C code has no use for these functions.
OPTIONS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


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
    return njit(**OPTIONS, no_cpython_wrapper=True, _nrt=False)(function)  # type: ignore[no-any-return]


def _compile_and_keep(function: Function, **options: bool) -> Function:
    try:
        kernel = njit(cache=True, **OPTIONS, **options)(function)
    except RuntimeError:
        # Numba finds no directory that it may write to.
        return njit(**OPTIONS, **options)(function)  # type: ignore[no-any-return]
    # Numba looks at the kernel's own file only, but what it calls is compiled into it.
    with contextlib.suppress(AttributeError):
        kernel._cache._cache_file._source_stamp = _source_stamp()
    return kernel  # type: ignore[no-any-return]


@functools.cache
def _source_stamp() -> tuple[float, int]:
    """Return what changes when any file of the decoder does: the newest time and the sum of sizes."""
    stats = [path.stat() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return max((stat.st_mtime for stat in stats), default=0.0), sum(stat.st_size for stat in stats)


class _Announcer(event.Listener):  # type: ignore[misc]
    """Says once in a process that the decoder's kernels are being compiled; Numba's cache is not asked for this."""

    announced = False

    def on_start(self, event: Any) -> None:
        if not self.announced and str(event.data["dispatcher"].py_func.__module__).startswith("asr.decoder"):
            self.announced = True
            print("asr: compiling the decoder for this machine, which is done once (some seconds)", file=sys.stderr)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcer())
