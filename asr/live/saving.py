"""Utterances of a stream → files."""

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.files import atomic_path, probe_folder, write_text
from asr.live.events import EndOfUtterance
from asr.transcription.writers import WRITERS


class UtteranceFiles:
    """Keeps the sound of the present utterance, and writes it with its transcript when it ends.

    The files are ``20260131-142300-0001.wav``, ``.json`` and ``.srt``: when listening began, and the utterance's
    number. Their times are those of the utterance.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    sample_rate : int
        Of the samples, in Hz.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """

    formats = ("json", "srt")

    def __init__(self, folder: str | os.PathLike[str], sample_rate: int) -> None:
        probe_folder(folder)
        self._folder, self._rate = Path(folder), sample_rate
        self._began = time.strftime("%Y%m%d-%H%M%S")
        self._count = 0
        # The samples kept, and how many came before them.
        self._chunks: list[NDArray[np.float32]] = []
        self._first = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Keep mono samples ``(N,)`` in [-1, 1]."""
        self._chunks.append(samples)

    def write(self, event: EndOfUtterance) -> Path:
        """Write an utterance, and return the sound's file."""
        import soundfile

        self._count += 1
        transcript = event.transcript
        begin = max(0, round(event.start_seconds * self._rate) - self._first)
        end = round((event.start_seconds + transcript.duration) * self._rate) - self._first
        sound = self._folder / f"{self._name}.wav"
        with atomic_path(sound) as temporary:
            samples = np.clip(np.concatenate([np.zeros(0, np.float32), *self._chunks])[begin:end], -1, 1)
            soundfile.write(temporary, samples, self._rate, "PCM_16", format="WAV")
        for name in self.formats:
            write_text(self._folder / f"{self._name}.{name}", WRITERS[name](transcript, self._name))
        return sound

    def forget(self, seconds: float) -> None:
        """Drop the samples before a time of the stream."""
        first = round(seconds * self._rate)
        while self._chunks and self._first + len(self._chunks[0]) <= first:
            self._first += len(self._chunks.pop(0))

    @property
    def _name(self) -> str:
        return f"{self._began}-{self._count:04}"
