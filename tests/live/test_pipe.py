"""What comes through a pipe is what was sent, however it is cut; what is none is refused."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asr.errors import AudioError
from asr.live.pipe import Layout, Pipe


class Dripping(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content, seed):
        self._content, self._rng = io.BytesIO(content), np.random.default_rng(seed)

    def read(self, count=-1):
        return self._content.read(min(count, int(self._rng.integers(1, 100))))

    def seek(self, *_):
        raise io.UnsupportedOperation("a pipe cannot seek")


def heard(file, layout=None):
    pipe = Pipe(file, layout)
    return np.concatenate([np.zeros(0, np.float32), *pipe]), pipe.sample_rate


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_wav_is_what_soundfile_reads(subtype, kind):
    samples = np.random.default_rng(1).uniform(-1, 1, (999, 2))
    file = io.BytesIO()
    soundfile.write(file, samples, 22_050, subtype, format=kind)
    # What follows the samples is none.
    file.write(b"LIST\x04\0\0\0INFO")
    file.seek(0)
    expected, _ = soundfile.read(file, dtype="float32")
    got, rate = heard(Dripping(file.getvalue(), 2))
    assert rate == 22_050
    np.testing.assert_allclose(got, expected.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(("name", "dtype"), [("s16le", "<i2"), ("s32le", "<i4"), ("f32le", "<f4")])
def test_raw_samples(name, dtype):
    samples = np.random.default_rng(3).uniform(-1, 1, 500)
    scale = 1 if dtype == "<f4" else np.iinfo(dtype).max
    sent = (samples * scale).astype(dtype)
    # A byte too many, at the end, is no sample.
    got, rate = heard(Dripping(sent.tobytes() + b"\0", 4), Layout(8000, name))
    assert rate == 8000
    np.testing.assert_allclose(got, samples, atol=1e-4)


def header(*, code=1, bits=16, size=16):
    fmt = struct.pack("<HHIIHH", code, 1, 8000, 16_000, 2, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", size) + fmt


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the pipe is empty"),
        (b"\0" * 100, "does not begin with a WAV header: for raw samples give their rate"),
        (header()[:20], "ends within its WAV header"),
        (header(bits=24) + b"data\0\0\0\0", "format 1 of 24 bits"),
        (header(code=85), "format 85"),
        (header()[:12] + b"data\0\0\0\0", "no fmt chunk"),
        (header() + b"LIST\xff\xff\xff\xff", "damaged"),
        (header(size=3), "damaged"),
    ],
)
def test_what_is_no_wav_is_refused(content, message):
    with pytest.raises(AudioError, match=message):
        Pipe(io.BytesIO(content))
