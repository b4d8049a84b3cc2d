"""Locks between processes; a lock goes with the process that holds it, however that ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the file `path`; where locks cannot be had (Windows, some network file systems), do without.

    Parameters
    ----------
    path : Path
        Made, and left there: to remove it would part those who wait from those who come.
    busy : callable
        Called if another process holds the lock; unless it raises, that process is waited for.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
