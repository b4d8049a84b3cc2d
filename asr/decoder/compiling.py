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
    """Compile a function at its first call, without the GIL, and keep it in the cache."""
    try:
        kernel = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:
        # Numba finds no directory that it may write to.
        kernel = njit(nogil=True, error_model="numpy")(function)
    return kernel  # type: ignore[no-any-return]


class _Announcer(event.Listener):  # type: ignore[misc]
    """Says once in a process that the decoder's kernels are being compiled; Numba's cache is not asked for this."""

    announced = False

    def on_start(self, event: Any) -> None:
        if not self.announced and event.data["dispatcher"].py_func.__module__.startswith("asr.decoder"):
            self.announced = True
            print("asr: compiling the decoder for this machine, which is done once (some seconds)", file=sys.stderr)

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Announcer())
