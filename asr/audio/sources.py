"""Open any kind of audio source: a name for messages, and a seekable file."""

import io
import os
import tempfile
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, first_line

# Of what cannot be read twice (pipes), more than this many bytes are kept on the disk.
SPOOL_BYTES = 1 << 24

# Floats beyond this are integers that nobody scaled; lossy codecs and resampling overshoot 1 by far less.
MAX_AMPLITUDE = 16.0

# What libsndfile reads, and what PyAV reads: a folder is searched for these.
AUDIO_SUFFIXES = frozenset(
    [
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".mpga", ".oga", ".ogg", ".opus", ".rf64", ".snd"),
        *(".sph", ".w64", ".wav", ".wave"),
        *(".3gp", ".aac", ".ac3", ".amr", ".asf", ".avi", ".awb", ".flv", ".m4a", ".m4b", ".mka", ".mkv", ".mov"),
        *(".mp2", ".mp4", ".mpeg", ".mpg", ".mts", ".spx", ".ts", ".weba", ".webm", ".wma", ".wmv", ".wv"),
    ]
)


@dataclass(frozen=True)
class Waveform:
    """Mono audio.

    Parameters
    ----------
    samples : ndarray, shape (num_samples,), float32
        Amplitudes; full scale is [-1, 1].
    sample_rate : int
        Samples per second, in Hz.
    """

    samples: NDArray[np.float32]
    sample_rate: int

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


AudioSource = str | os.PathLike[str] | bytes | BinaryIO | Waveform | NDArray[Any]


def open_source(source: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[str, BinaryIO]:
    """Return a name for messages and an open, seekable, non-empty file.

    Raises
    ------
    AudioError
        If the file does not exist, cannot be read, is empty, or is not a source of audio.
    """
    file: BinaryIO
    if isinstance(source, bytes):
        name, file = f"{len(source)} bytes", io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        file = _open_path(name)
    else:
        name = str(getattr(source, "name", "file object"))
        file = _spool(source)
    try:
        first = file.read(1)
    except OSError as error:
        file.close()
        raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from None
    if not first:
        file.close()
        raise AudioError(f"{name}: is empty (0 bytes); expected an audio file")
    file.seek(0)
    return name, file


def _open_path(name: str) -> BinaryIO:
    """Open a file (of a pipe, a copy of its content), or say why that cannot be."""
    try:
        file = open(name, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise AudioError(f"{name or repr(name)}: no such file") from None
    except (OSError, ValueError) as error:
        # Windows calls the opening of a directory "permission denied".
        if isinstance(error, IsADirectoryError | PermissionError) and os.path.isdir(name):
            raise AudioError(f"{name}: is a directory; expected an audio file") from None
        raise AudioError(f"{name!r}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if file.seekable():
        return file
    with file:
        return _spool(file)


def _spool(source: Any) -> BinaryIO:
    """Return a copy of a file: libsndfile needs to seek, which a pipe cannot, and the caller's file stays open."""
    read = getattr(source, "read", None)
    name = getattr(source, "name", "file object")
    # What a file-like object of somebody's own raises is an error of that source, whatever it is.
    try:
        content = read(SPOOL_BYTES) if read else None
    except Exception as error:
        raise AudioError(f"{name}: cannot be read ({_said(error)})") from None
    if not isinstance(content, bytes):
        raise AudioError(f"got a {type(source).__name__}; expected a path, bytes, a binary file or an array")
    assert read is not None
    spooled = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
    while content:
        try:
            spooled.write(content)
        except OSError as error:
            spooled.close()
            raise AudioError(
                f"{name}: cannot be copied to {tempfile.gettempdir()} ({_said(error)}): make room there, or set TMPDIR"
            ) from None
        try:
            content = read(SPOOL_BYTES)
        except Exception as error:
            spooled.close()
            raise AudioError(f"{name}: cannot be read ({_said(error)})") from None
    spooled.seek(0)
    return cast("BinaryIO", spooled)


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or first_line(error))


def check_shape(array: NDArray[Any]) -> None:
    """Refuse an array that does not have the shape of samples.

    Raises
    ------
    AudioError
    """
    if array.ndim not in (1, 2):
        raise AudioError(f"got samples of shape {array.shape}; expected (num_samples,) or (num_samples, channels)")
    if array.ndim == 2 and array.shape[1] > array.shape[0] > 0 and array.shape[0] <= 8:
        raise AudioError(
            f"got samples of shape {array.shape}, more channels than samples; expected (num_samples, channels): "
            "transpose the array"
        )


def float_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Scale an array of any real dtype to float32 in [-1, 1].

    Raises
    ------
    AudioError
        If its values cannot be samples.
    """
    if not array.size:
        return np.zeros(0, dtype=np.float32)
    if array.dtype.kind == "i":
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    if array.dtype.kind != "f":
        raise AudioError(f"got samples of dtype {array.dtype}; expected floats in [-1, 1] or signed integers")
    largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
    if largest > MAX_AMPLITUDE:
        raise AudioError(
            f"got floating-point samples up to {largest:g}; expected [-1, 1]: divide 16-bit samples by 32768"
        )
    return array.astype(np.float32, copy=False)
