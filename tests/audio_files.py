"""Sound as files in memory, and what is heard of it."""

import io
import warnings

import numpy as np
import pytest
import soundfile

from asr.audio import load_audio

RATE = 16_000
# Seconds of the two recordings that are put together.
FIRST, SECOND = 2.0, 1.2


def noise(seconds: float, seed: int = 1, rate: int = RATE) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).clip(-1, 1)


def encoded(samples: np.ndarray, file_format: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=file_format, subtype=subtype)
    return file.getvalue()


def heard(content: bytes) -> tuple[float, list[str]]:
    """Return how much is read, in seconds, and what is said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seconds = load_audio(content, RATE).duration_seconds
    return seconds, [str(warning.message) for warning in caught]


def film(codec: str, file_format: str, parts: list[tuple[float, np.ndarray]], tracks: int = 1) -> bytes:
    """Return a container with audio at given times."""
    av = pytest.importorskip("av", reason="containers need PyAV")
    file = io.BytesIO()
    with av.open(file, "w", format=file_format) as container:
        streams = [container.add_stream(codec, rate=RATE, layout="mono") for _ in range(tracks)]
        for stream in streams:
            for start, samples in parts:
                for begin in range(0, len(samples), 1024):
                    block = np.round(samples[np.newaxis, begin : begin + 1024] * 32767).astype(np.int16)
                    frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                    frame.sample_rate, frame.pts = RATE, round(start * RATE) + begin
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return file.getvalue()
