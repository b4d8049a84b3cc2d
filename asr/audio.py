"""Any audio file, bytes, file object or array → float32 mono samples at the wanted rate.

libsndfile (wav, flac, ogg, mp3, NIST sphere, …) reads; what it cannot read (m4a, mp4, webm) PyAV reads, where
it is installed. soxr resamples, as in librosa.
"""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    import soundfile

# Samples of each channel that are read at once (1 MB in mono).
BLOCK_SAMPLES = 1 << 18

# Floats beyond this are integers that nobody scaled; lossy codecs and resampling overshoot 1 by far less.
MAX_AMPLITUDE = 16.0

AudioSource = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any]


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


def load_audio(
    source: AudioSource,
    sample_rate: int,
    *,
    source_rate: int | None = None,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
) -> Waveform:
    """Read audio, mix its channels down to one and resample it.

    Parameters
    ----------
    source : path, bytes, binary file object, or ndarray
        An array is ``(num_samples,)`` or ``(num_samples, channels)``; floats are taken in [-1, 1], integers are
        divided by the full scale of their type.
    sample_rate : int
        Wanted rate in Hz.
    source_rate : int, optional
        The rate of an array in Hz; required for arrays, ignored for files, which say their own.
    start_seconds, end_seconds : float
        The part of the file to read; the whole by default.

    Returns
    -------
    Waveform
        float32, mono, at `sample_rate`.

    Raises
    ------
    AudioError
        If the source is missing, empty, not audio, has no samples (in that part), or holds NaN or infinite
        samples; if an array has floats far outside [-1, 1] or no rate.
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """
    _check_rate(sample_rate)
    if not (start_seconds >= 0 and (end_seconds is None or end_seconds > start_seconds)):
        raise AudioError(f"got the part {start_seconds}–{end_seconds} s; expected 0 ≤ start_seconds < end_seconds")
    part_seconds = start_seconds, end_seconds
    if isinstance(source, np.ndarray):
        if source_rate is None:
            raise AudioError("an array of samples says nothing of its rate: give source_rate in Hz")
        _check_rate(source_rate)
        name = f"array of shape {source.shape}"
        blocks = _mono(_cut([_float_samples(source)], source_rate, *part_seconds), name, source_rate)
        samples = _resample_blocks(blocks, source_rate, sample_rate)
    else:
        name, file = _open(source)
        try:
            with file:
                samples = _read(file, name, sample_rate, part_seconds)
        except OSError as error:
            raise AudioError(f"{name}: cannot be read ({error.strerror or error})") from None
    if not samples.size:
        raise AudioError(_no_samples(name, start_seconds))
    return Waveform(samples, sample_rate)


def resample(samples: NDArray[np.float32], rate: int, wanted_rate: int) -> NDArray[np.float32]:
    """Resample float32 mono `samples` ``(num_samples,)`` from `rate` to `wanted_rate`, both in Hz, with soxr HQ."""
    _check_rate(rate)
    _check_rate(wanted_rate)
    return _resample_blocks([samples], rate, wanted_rate)


def audio_duration(path: str | os.PathLike[str]) -> float:
    """Return the duration of an audio file in seconds, from its header where the format has one.

    Raises
    ------
    AudioError
        As `load_audio`.
    """
    import soundfile

    _name, file = _open(path)
    with file:
        try:
            info = soundfile.info(_Seekable(file))
        except soundfile.LibsndfileError:
            info = None
    return float(info.frames / info.samplerate) if info else load_audio(path, 16_000).duration_seconds


def _check_rate(rate: int) -> None:
    if not rate > 0:
        raise AudioError(f"got a sample rate of {rate} Hz; expected a positive number")


def _open(source: AudioSource) -> tuple[str, BinaryIO]:
    """Return a name for messages and an open, seekable, non-empty file."""
    file: BinaryIO
    if isinstance(source, bytes):
        name, file = f"{len(source)} bytes", io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        file = _open_path(name)
    elif isinstance(content := source.read() if hasattr(source, "read") else None, bytes):
        # A copy in memory: libsndfile needs to seek, which a pipe cannot, and the caller's file stays open.
        name, file = str(getattr(source, "name", "file object")), io.BytesIO(content)
    else:
        raise AudioError(f"got a {type(source).__name__}; expected a path, bytes, a binary file or an array")
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
        return io.BytesIO(file.read())


class _Seekable:
    """A file as libsndfile sees it: no name to guess from, and no exception where damaged files point before it.

    soundfile calls these methods from C, where an exception cannot pass and is printed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, or stay where the target is impossible."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return self.tell()


def _read(file: BinaryIO, name: str, sample_rate: int, part_seconds: tuple[float, float | None]) -> NDArray[np.float32]:
    """Return a part of `file` as mono samples at `sample_rate`; libsndfile reads, or else PyAV."""
    import soundfile

    try:
        with soundfile.SoundFile(_Seekable(file)) as sound:
            blocks = _mono(_sound_blocks(sound, name, *part_seconds), name, sound.samplerate)
            return _resample_blocks(blocks, sound.samplerate, sample_rate)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
    file.seek(0)
    head = file.read(16)
    file.seek(0)
    if not _is_container(head):
        raise AudioError(f"{name}: is not audio in a format that can be read ({reason})")
    try:
        import av
    except ImportError:
        raise MissingExtraError("PyAV", "media", f"{name}: reading mp4, m4a, webm and similar containers") from None
    try:
        with av.open(file) as container:
            rate = int(container.streams.audio[0].rate)
            blocks = _mono(_cut(_container_blocks(container), rate, *part_seconds), name, rate)
            return _resample_blocks(blocks, rate, sample_rate)
    except (av.FFmpegError, IndexError) as error:
        raise AudioError(f"{name}: is not audio that can be read ({error})") from None


def _sound_blocks(
    sound: "soundfile.SoundFile", name: str, start_seconds: float, end_seconds: float | None
) -> Iterator[NDArray[np.float32]]:
    """Yield a part as blocks ``(num_samples, channels)``: an hour of stereo is never in memory at once."""
    first = round(start_seconds * sound.samplerate)
    if first >= sound.frames > 0:
        raise AudioError(_no_samples(name, start_seconds, sound.frames / sound.samplerate))
    if first:
        sound.seek(first)
    left = None if end_seconds is None else round(end_seconds * sound.samplerate) - first
    while left is None or left > 0:
        block = sound.read(BLOCK_SAMPLES if left is None else min(left, BLOCK_SAMPLES), "float32", always_2d=True)
        if not len(block):
            return
        left = None if left is None else left - len(block)
        yield block


def _container_blocks(container: Any) -> Iterator[NDArray[np.float32]]:
    """Yield the first audio stream of an open PyAV container as blocks ``(num_samples, channels)``."""
    import av

    resampler = av.AudioResampler(format="flt")
    for frame in container.decode(audio=0):
        for part in resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, len(part.layout.channels))


def _cut(
    blocks: Iterable[NDArray[np.float32]], rate: int, start_seconds: float, end_seconds: float | None
) -> Iterator[NDArray[np.float32]]:
    """Yield the part of `blocks` (samples first) between two times."""
    first = round(start_seconds * rate)
    last = None if end_seconds is None else round(end_seconds * rate)
    offset = 0
    for block in blocks:
        if last is not None and offset >= last:
            return
        yield block[max(0, first - offset) : None if last is None else last - offset]
        offset += len(block)


def _resample_blocks(blocks: Iterable[NDArray[np.float32]], rate: int, wanted_rate: int) -> NDArray[np.float32]:
    """Join mono blocks ``(num_samples,)`` at `rate` into samples at `wanted_rate` (soxr HQ, as librosa)."""
    if rate == wanted_rate:
        parts = list(blocks)
    else:
        import soxr

        stream = soxr.ResampleStream(rate, wanted_rate, 1, dtype="float32", quality="HQ")
        parts = [stream.resample_chunk(block) for block in blocks]
        parts.append(stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.float32), *parts])


def _no_samples(name: str, start_seconds: float, duration_seconds: float | None = None) -> str:
    if not start_seconds:
        return f"{name}: holds no samples; expected audio"
    held = "ends before that" if duration_seconds is None else f"ends at {duration_seconds:g} s"
    return f"{name}: the part starts at {start_seconds:g} s, but the audio {held}"


def _is_container(head: bytes) -> bool:
    """Whether the first 16 bytes are of a container that only PyAV reads (mp4, Matroska, ASF, ADTS, AMR)."""
    return head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"\xff\xf1", b"\xff\xf9", b"#!AMR"))


def _float_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Scale an array of any real dtype to float32 in [-1, 1]."""
    if array.ndim not in (1, 2):
        raise AudioError(f"got samples of shape {array.shape}; expected (num_samples,) or (num_samples, channels)")
    if array.ndim == 2 and array.shape[1] > array.shape[0] > 0 and array.shape[0] <= 8:
        raise AudioError(
            f"got samples of shape {array.shape}, more channels than samples; expected (num_samples, channels): "
            "transpose the array"
        )
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


def _mono(blocks: Iterable[NDArray[np.float32]], name: str, rate: int) -> Iterator[NDArray[np.float32]]:
    """Average the channels of each block ``(num_samples, channels)`` or ``(num_samples,)``, all of them finite."""
    offset = 0
    for block in blocks:
        if block.ndim == 1:
            mono = block
        else:
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        finite = np.isfinite(mono)
        if not finite.all():
            raise AudioError(
                f"{name}: has NaN or infinite samples, the first at {(offset + finite.argmin()) / rate:.3f} s; "
                "expected finite audio"
            )
        offset += len(mono)
        yield mono
