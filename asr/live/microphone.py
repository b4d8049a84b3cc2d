"""The sound card's microphone → chunks of samples, by PortAudio (extra ``[live]``: sounddevice)."""

import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from asr.errors import AudioError, MissingExtraError, first_line

BLOCK_SECONDS = 0.04
# A working microphone always delivers samples, even in a silent room.
GONE_SECONDS = 3.0


@dataclass(frozen=True)
class InputDevice:
    """A microphone, or another audio input.

    Parameters
    ----------
    number : int
    name : str
    num_channels : int
    sample_rate : int
        Its own, in Hz.
    is_default : bool
    """

    number: int
    name: str
    num_channels: int
    sample_rate: int
    is_default: bool


def input_devices() -> list[InputDevice]:
    """Return all audio inputs.

    Raises
    ------
    MissingExtraError
        If sounddevice is not installed.
    AudioError
        If the system has no PortAudio, or it fails.
    """
    sounddevice = _sounddevice()
    try:
        rows, default = sounddevice.query_devices(), sounddevice.default.device[0]
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the sound devices cannot be listed ({first_line(error)})") from None
    return [
        InputDevice(number, row["name"], row["max_input_channels"], round(row["default_samplerate"]), number == default)
        for number, row in enumerate(rows)
        if row["max_input_channels"] > 0
    ]


def find_device(wanted: str = "") -> InputDevice:
    """Return the device with this number or with this in its name; the default one for "".

    Raises
    ------
    AudioError
        If there is none, or several have it in their names.
    """
    devices = input_devices()
    if not devices:
        raise AudioError(
            "no microphone was found: plug one in, allow its use in the system's settings, or listen to a pipe (-)"
        )
    if not wanted:
        return next((device for device in devices if device.is_default), devices[0])
    found = [device for device in devices if wanted == str(device.number)] or [
        device for device in devices if wanted.lower() in device.name.lower()
    ]
    if len(found) != 1:
        known = "; ".join(f"{device.number}: {device.name}" for device in devices)
        what = "no input has this number or name" if not found else "several inputs have this in their names"
        raise AudioError(f"device {wanted!r}: {what}; expected one of {known}")
    return found[0]


class Microphone:
    """Samples of a microphone: iterate over it within a `with` block; it never ends by itself.

    Parameters
    ----------
    device : InputDevice

    Attributes
    ----------
    sample_rate : int
        In Hz: the device's own.
    num_lost : int
        How often the system has dropped samples because they were not read in time.

    Raises
    ------
    AudioError
        If the device cannot be opened; while reading, if it delivers no more samples.
    """

    def __init__(self, device: InputDevice) -> None:
        sounddevice = _sounddevice()
        self.device, self.sample_rate, self.num_lost = device, device.sample_rate, 0
        self._chunks: queue.SimpleQueue[NDArray[np.float32] | None] = queue.SimpleQueue()
        try:
            self._stream = sounddevice.InputStream(
                samplerate=self.sample_rate,
                device=device.number,
                channels=1,
                dtype="float32",
                blocksize=round(BLOCK_SECONDS * self.sample_rate),
                callback=self._take,
                finished_callback=lambda: self._chunks.put(None),
            )
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise AudioError(
                f"device {device.number} ({device.name}) cannot be opened ({first_line(error)}); does another program "
                "use it? asr listen --devices lists the others"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close(ignore_errors=True)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        while True:
            try:
                chunk = self._chunks.get(timeout=GONE_SECONDS)
            except queue.Empty:
                chunk = None
            if chunk is None:
                raise AudioError(f"device {self.device.number} ({self.device.name}) delivers no more sound: unplugged?")
            # Everything that is there: larger chunks are faster, and so the machine catches up.
            chunks = [chunk]
            while not self._chunks.empty() and (more := self._chunks.get()) is not None:
                chunks.append(more)
            yield np.concatenate(chunks)

    def _take(self, samples: NDArray[np.float32], _frames: int, _time: Any, status: Any) -> None:
        """Keep a block. PortAudio calls this from its own thread, which must not be blocked."""
        if status.input_overflow:
            self.num_lost += 1
        self._chunks.put(samples[:, 0].copy())


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("sounddevice", "live", "the microphone") from None
    except OSError as error:
        # On Linux its wheel does not include PortAudio.
        raise AudioError(
            f"the microphone needs the PortAudio library ({first_line(error)}): sudo apt install libportaudio2, or "
            "what your system calls it"
        ) from None
    return sounddevice
