"""Any audio file, bytes, file object or array → float32 mono samples at the wanted rate.

libsndfile (wav, flac, ogg, mp3, NIST sphere, …) reads; what it cannot read (m4a, mp4, webm) PyAV reads, where
it is installed. soxr resamples, as in librosa.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, MissingExtraError

if TYPE_CHECKING:
    import soundfile

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
        If the source is missing, empty, not audio, has no samples, or holds NaN or infinite samples.
    MissingExtraError
        If the format needs PyAV and it is not installed.
    """
    if isinstance(source, np.ndarray):
        if source_rate is None:
            raise AudioError("an array of samples says nothing of its rate: give source_rate in Hz")
        name = f"array of shape {source.shape}"
        samples, rate = _float_samples(source), source_rate
        last = None if end_seconds is None else round(end_seconds * rate)
        samples = samples[round(start_seconds * rate) : last]
    else:
        name, file = _open(source)
        samples, rate = _decode(file, name, start_seconds, end_seconds)
    mono = _mono(samples, name)
    if not np.isfinite(mono).all():
        raise AudioError(
            f"{name}: {int((~np.isfinite(mono)).sum())} samples are NaN or infinite; expected finite audio"
        )
    return Waveform(resample(mono, rate, sample_rate), sample_rate)


def resample(samples: NDArray[np.float32], rate: int, wanted_rate: int) -> NDArray[np.float32]:
    """Resample float32 mono `samples` ``(num_samples,)`` from `rate` to `wanted_rate`, both in Hz, with soxr HQ."""
    if rate <= 0 or wanted_rate <= 0:
        raise AudioError(f"got sample rates {rate} Hz and {wanted_rate} Hz; expected positive numbers")
    if rate == wanted_rate:
        return samples
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(samples, rate, wanted_rate, quality="HQ")
    return resampled


def audio_duration(path: str | os.PathLike[str]) -> float:
    """Return the duration of an audio file in seconds, from its header where the format has one.

    Raises
    ------
    AudioError
        As `load_audio`.
    """
    _name, file = _open(path)
    import soundfile

    with file:
        try:
            info = soundfile.info(file)
        except soundfile.LibsndfileError:
            return load_audio(path, 16_000).duration_seconds
    return float(info.frames / info.samplerate)


def _open(source: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[str, BinaryIO]:
    """Return a name for messages and an open, non-empty file."""
    file: BinaryIO
    if isinstance(source, bytes):
        name, file = f"{len(source)} bytes", io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        name = str(path)
        if path.is_dir():
            raise AudioError(f"{name}: is a directory; expected an audio file")
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file") from None
        except OSError as error:
            raise AudioError(f"{name}: cannot be read ({error.strerror})") from None
    else:
        # A copy in memory: libsndfile needs to seek, and pipes cannot.
        name, file = str(getattr(source, "name", "file object")), io.BytesIO(source.read())
    if not file.read(1):
        file.close()
        raise AudioError(f"{name}: is empty (0 bytes); expected an audio file")
    file.seek(0)
    return name, file


def _decode(
    file: BinaryIO, name: str, start_seconds: float, end_seconds: float | None
) -> tuple[NDArray[np.float32], int]:
    """Return samples ``(num_samples, channels)`` float32 and their rate in Hz."""
    import soundfile

    with file:
        try:
            with soundfile.SoundFile(file) as sound:
                rate = int(sound.samplerate)
                return _read_part(sound, start_seconds, end_seconds), rate
        except soundfile.LibsndfileError as error:
            file.seek(0)
            samples, rate = _decode_with_av(file, name, str(error))
    last = None if end_seconds is None else round(end_seconds * rate)
    return samples[round(start_seconds * rate) : last], rate


def _read_part(sound: "soundfile.SoundFile", start_seconds: float, end_seconds: float | None) -> NDArray[np.float32]:
    first = round(start_seconds * sound.samplerate)
    if first:
        sound.seek(min(first, sound.frames))
    count = -1 if end_seconds is None else max(0, round(end_seconds * sound.samplerate) - first)
    samples: NDArray[np.float32] = sound.read(count, dtype="float32", always_2d=True)
    return samples


def _decode_with_av(file: BinaryIO, name: str, reason: str) -> tuple[NDArray[np.float32], int]:
    """Read what libsndfile cannot. `reason` is libsndfile's message, kept for the error."""
    head = file.read(16)
    file.seek(0)
    if not _is_container(head):
        raise AudioError(f"{name}: is not audio in a format that can be read ({reason.strip().rstrip('.')})")
    try:
        import av
    except ImportError:
        raise MissingExtraError("PyAV", "media", f"{name}: reading mp4, m4a, webm and similar containers") from None
    blocks: list[NDArray[np.float32]] = []
    try:
        with av.open(file) as container:
            rate = int(container.streams.audio[0].rate)
            resampler = av.AudioResampler(format="flt", rate=rate)
            for frame in container.decode(audio=0):
                for part in resampler.resample(frame):
                    blocks.append(part.to_ndarray().reshape(-1, len(part.layout.channels)))
    except (av.FFmpegError, IndexError) as error:
        raise AudioError(f"{name}: is not audio that can be read ({error})") from None
    if not blocks:
        raise AudioError(f"{name}: holds no samples; expected audio")
    return np.concatenate(blocks), rate


def _is_container(head: bytes) -> bool:
    """Whether the first 16 bytes are of a container that only PyAV reads (mp4, Matroska, ASF, ADTS, AMR)."""
    return head[4:8] == b"ftyp" or head.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"\xff\xf1", b"\xff\xf9", b"#!AMR"))


def _float_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Scale an array of any real dtype to float32 in [-1, 1]."""
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    if array.dtype.kind == "i":
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    raise AudioError(f"got samples of dtype {array.dtype}; expected floats in [-1, 1] or signed integers")


def _mono(samples: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Average the channels of ``(num_samples,)`` or ``(num_samples, channels)``."""
    if samples.ndim not in (1, 2):
        raise AudioError(f"got samples of shape {samples.shape}; expected (num_samples,) or (num_samples, channels)")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0] > 0 and samples.shape[0] <= 8:
        raise AudioError(
            f"got samples of shape {samples.shape}, more channels than samples; expected (num_samples, channels): "
            "transpose the array"
        )
    if samples.size == 0:
        raise AudioError(f"{name}: holds no samples; expected audio")
    if samples.ndim == 1:
        return samples
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
