"""Compiling kernels: once on a machine, announced, and kept in Numba's cache.

The cache is the package's own ``__pycache__``; where that cannot be written to, the user's cache directory or
``NUMBA_CACHE_DIR``. Where there is none at all, each process compiles for itself.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.core import event

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function that Python calls, at its first call; it runs without the GIL and is kept in the cache."""
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        return njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        # Numba finds no directory that it may write to.
        return njit(**options)(function)  # type: ignore[no-any-return]


def part(function: Function) -> Function:
    """Compile a function that only kernels call: it is cached with them, and costs no wrapper for Python."""
    options = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    return njit(**options)(function)  # type: ignore[no-any-return]


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
