"""Audio of any kind comes out as the same float32 mono samples; what is not audio is one clear error."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.audio import AudioStream, AudioWarning, audio_duration, load_audio, resample
from asr.audio.container import ContainerReader
from asr.audio.sound import SoundReader
from asr.errors import AsrError, AudioError, MissingExtraError

RATE = 16_000


def tone(seconds: float, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    """A sine of amplitude 0.5, float64."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, rate: int, file_format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=file_format, subtype=subtype)
    return file.getvalue()


WAV = encoded(tone(0.5), RATE, "WAV")

# Format, subtype, largest difference to the samples that were written.
FORMATS = [
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_U8", 2**-7),
    ("WAV", "FLOAT", 1e-7),
    ("WAV", "ULAW", 0.02),
    ("FLAC", "PCM_16", 2**-15),
    ("AIFF", "PCM_16", 2**-15),
    ("NIST", "PCM_16", 2**-15),
    ("NIST", "ULAW", 0.02),
    ("OGG", "VORBIS", 0.05),
    ("OGG", "OPUS", 0.05),
    ("MP3", "MPEG_LAYER_III", 0.05),
]


@pytest.mark.parametrize(("file_format", "subtype", "tolerance"), FORMATS)
def test_every_format_and_every_kind_of_source(tmp_path, file_format, subtype, tolerance):
    expected = tone(1.0)
    content = encoded(expected, RATE, file_format, subtype)
    path = tmp_path / "tone.dat"
    path.write_bytes(content)
    waveform = load_audio(path, RATE)
    assert waveform.sample_rate == RATE
    assert waveform.samples.dtype == np.float32
    # Lossy codecs ring at the edges, and MP3 pads the end.
    middle = slice(2000, 14_000)
    np.testing.assert_allclose(waveform.samples[middle], expected[middle], atol=tolerance)
    assert 0 <= waveform.duration_seconds - 1.0 < 0.15
    assert audio_duration(path) == pytest.approx(waveform.duration_seconds, abs=1e-3)
    with path.open("rb") as file:
        for source in (str(path), content, io.BytesIO(content), file):
            np.testing.assert_array_equal(load_audio(source, RATE).samples, waveform.samples)


def test_a_pipe_is_read_although_it_cannot_seek():
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(WAV)

    writer = threading.Thread(target=feed)
    writer.start()
    with os.fdopen(read_end, "rb") as pipe:
        waveform = load_audio(pipe, RATE)
    writer.join()
    np.testing.assert_array_equal(waveform.samples, load_audio(WAV, RATE).samples)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_a_named_pipe_is_read_although_it_cannot_seek(tmp_path):
    # As the shell's <(sox …) gives.
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(WAV,))
    writer.start()
    waveform = load_audio(path, RATE)
    writer.join()
    np.testing.assert_array_equal(waveform.samples, load_audio(WAV, RATE).samples)


def test_channels_are_averaged():
    left, right = tone(0.3), tone(0.3, hz=700)
    stereo = np.stack([left, right], axis=1)
    from_file = load_audio(encoded(stereo, RATE, "WAV", "FLOAT"), RATE)
    from_array = load_audio(stereo, RATE, source_rate=RATE)
    for waveform in (from_file, from_array):
        np.testing.assert_allclose(waveform.samples, (left + right) / 2, atol=1e-6)


def test_channels_are_chosen():
    channels = [tone(0.3), tone(0.3, hz=700), tone(0.3, hz=900)]
    samples = np.stack(channels, axis=1)
    for source, options in ((encoded(samples, RATE, "WAV", "FLOAT"), {}), (samples, {"source_rate": RATE})):
        for chosen in ([0], [2], [0, 2]):
            expected = np.mean([channels[channel] for channel in chosen], axis=0)
            got = load_audio(source, RATE, channels=chosen, **options).samples
            np.testing.assert_allclose(got, expected, atol=1e-6)
        for wrong in ([3], [-1], []):
            with pytest.raises(AudioError, match="has 3 channels; got"):
                load_audio(source, RATE, channels=wrong, **options)
    with pytest.raises(AudioError, match="has 1 channel; got"):
        load_audio(channels[0], RATE, source_rate=RATE, channels=[1])


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000])
def test_another_rate_gives_the_same_tone(rate):
    stereo = np.repeat(tone(1.0, rate)[:, None], 2, axis=1)
    waveform = load_audio(encoded(stereo, rate, "WAV", "FLOAT"), RATE)
    expected = tone(1.0)
    assert len(waveform.samples) == pytest.approx(RATE, abs=1)
    # Amplitude and phase are kept; the first and last few milliseconds see the silence outside.
    np.testing.assert_allclose(waveform.samples[1000:-1000], expected[1000:-1000], atol=1e-3)


def test_resampling_removes_what_the_new_rate_cannot_carry():
    high = tone(1.0, 48_000, hz=15_000).astype(np.float32)
    assert np.abs(resample(high, 48_000, RATE)[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.int16, 2**15), (np.int32, 2**31), (np.float32, 1), (np.float64, 1), (np.int8, 2**7)]
)
def test_arrays_of_every_dtype_mean_the_same(dtype, scale):
    expected = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])
    waveform = load_audio((expected * scale).astype(dtype), RATE, source_rate=RATE)
    assert waveform.samples.dtype == np.float32
    np.testing.assert_array_equal(waveform.samples, expected)


def test_an_array_is_not_altered():
    samples = tone(0.1)
    before = samples.copy()
    load_audio(samples, 8000, source_rate=RATE)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.2), (0.1, 0.3), (0.2, None), (0.25, 9.0), (0.0, None)])
def test_a_part_equals_the_part_of_the_whole(start, end):
    whole = load_audio(WAV, RATE).samples
    expected = whole[round(start * RATE) : None if end is None else round(end * RATE)]
    of_file = load_audio(WAV, RATE, start_seconds=start, end_seconds=end)
    of_array = load_audio(whole, RATE, source_rate=RATE, start_seconds=start, end_seconds=end)
    np.testing.assert_array_equal(of_file.samples, expected)
    np.testing.assert_array_equal(of_array.samples, expected)


@pytest.mark.parametrize(
    ("start", "end"), [(-0.1, None), (0.3, 0.2), (0.0, 0.0), (0.0, -0.1), (np.nan, None), (np.inf, None), (0.0, np.inf)]
)
def test_a_part_that_cannot_be_is_refused(start, end):
    for source, rate in ((WAV, None), (tone(0.5), RATE)):
        with pytest.raises(AudioError, match=r"expected 0 ≤ start_seconds < end_seconds"):
            load_audio(source, RATE, source_rate=rate, start_seconds=start, end_seconds=end)


def test_a_part_behind_the_end_is_refused():
    for source, rate in ((WAV, None), (tone(0.5), RATE)):
        with pytest.raises(AudioError, match=r"starts at 0\.6 s, but the audio ends"):
            load_audio(source, RATE, source_rate=rate, start_seconds=0.6)


def test_a_truncated_wav_gives_the_samples_that_are_there():
    whole = load_audio(WAV, RATE).samples
    with pytest.warns(AudioWarning, match=r"ends after 0\.25 s, but its header promises 0\.25 s more"):
        part = load_audio(WAV[: len(WAV) // 2], RATE).samples
    assert 0 < len(part) < len(whole)
    np.testing.assert_array_equal(part, whole[: len(part)])


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "AU", "W64", "NIST", "MP3", "OGG"])
@pytest.mark.parametrize("rate", [RATE, 44_100])
def test_what_a_truncated_file_lacks_is_said_and_a_whole_file_is_taken_without_a_word(tmp_path, file_format, rate):
    samples = tone(20.0, rate) * np.random.default_rng(1).uniform(0.5, 1, 20 * rate)
    content = encoded(samples, rate, file_format)
    assert load_audio(content, RATE).duration_seconds == pytest.approx(20, abs=0.1)
    path = write(tmp_path / "cut.dat", content[: len(content) // 2])
    with pytest.warns(AudioWarning, match=r"cut\.dat: (ends|breaks off) after") as caught:
        held = load_audio(path, RATE).duration_seconds
    assert held == pytest.approx(10, abs=0.5)
    assert len(caught) == 1
    if file_format != "OGG":
        assert float(str(caught[0].message).split()[-7]) == pytest.approx(20 - held, abs=0.1)
    # A part that ends before the end of the file is there as a whole.
    assert load_audio(path, RATE, end_seconds=1.0).duration_seconds == pytest.approx(1.0)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF])
def test_sizes_that_a_program_could_not_know_are_no_truncation(size):
    # What ffmpeg and sox write to a pipe.
    content = bytearray(WAV)
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    assert load_audio(bytes(content), RATE).duration_seconds == pytest.approx(0.5)


def test_a_file_that_grows_while_it_is_read_is_taken_as_it_was(tmp_path):
    path = write(tmp_path / "growing.wav", WAV)
    with AudioStream(path, RATE) as audio:
        with path.open("ab") as file:
            file.write(bytes(4000))
        assert sum(map(len, audio)) == RATE // 2
    assert list(map(str, audio.warnings)) == [f"{path}: grew while it was read; the first 0.50 s were used"]


def test_a_stream_gives_in_blocks_what_is_loaded_at_once():
    content = encoded(np.stack([tone(20.0, 44_100), tone(20.0, 44_100, 300)], axis=1), 44_100, "FLAC")
    with AudioStream(content, RATE) as audio:
        fractions, blocks = zip(*[(audio.fraction, block) for block in audio], strict=True)
    assert len(blocks) > 2
    assert list(fractions) == sorted(fractions)
    assert 0 < fractions[0] < fractions[-1] <= 1
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(content, RATE).samples)


@pytest.mark.parametrize(
    ("rate", "message"),
    [(0, "states a sample rate"), (1, "sample rate of 1 Hz"), (10**8, "sample rate of 100000000 Hz; expected 1000 to")],
)
def test_a_header_with_a_rate_that_cannot_be_is_refused(tmp_path, rate, message):
    content = bytearray(WAV)
    content[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=message):
        load_audio(write(tmp_path / "bad.wav", bytes(content)), RATE)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_film_without_sound_says_so(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "mute.mkv"), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode()]:
            film.mux(packet)
    with pytest.raises(AudioError, match=r"mute\.mkv: is not audio that can be read \(it has no audio stream\)"):
        load_audio(tmp_path / "mute.mkv", RATE)


def test_a_closed_file_is_one_clear_error(tmp_path):
    file = write(tmp_path / "a.wav", WAV).open("rb")
    file.close()
    with pytest.raises(AudioError, match=r"a\.wav: cannot be read \(.*closed"):
        load_audio(file, RATE)


NOT_FINITE = np.array([0.0, np.nan, 0.1, np.inf], dtype=np.float32)

# What is wrong with a file; a function of its path that makes it; a part of the message.
BAD_FILES = [
    (lambda path: path, "no such file"),
    (lambda path: path.mkdir() or path, "is a directory"),
    (lambda path: write(path, b""), r"is empty \(0 bytes\)"),
    (lambda path: write(path, b"three one four one five\n" * 20), "is not audio in a format that can be read"),
    (lambda path: write(path, np.random.default_rng(1).bytes(5000)), "is not audio in a format that can be read"),
    (lambda path: write(path, encoded(np.zeros(0), RATE, "WAV")), "holds no samples"),
    (
        lambda path: write(path, encoded(NOT_FINITE, RATE, "WAV", "FLOAT")),
        "NaN or infinite samples, the first at 0",
    ),
    (lambda path: write(path, WAV[:30]), "is not audio in a format that can be read"),
    (lambda path: write(path, encoded(tone(0.5), RATE, "FLAC")[:60]), "bad.wav"),
    (lambda path: write(path, encoded(tone(0.5), RATE, "OGG", "OPUS")[:60]), "bad.wav"),
    (lambda path: write(path, b"\0\0\0\x20ftypM4A " + bytes(2000)), "bad.wav"),
]


@pytest.mark.parametrize(("make", "message"), BAD_FILES)
def test_a_bad_file_is_one_clear_error_that_names_it(tmp_path, make, message):
    path = make(tmp_path / "bad.wav")
    with pytest.raises(AsrError, match=message) as error:
        load_audio(path, RATE)
    assert "bad.wav" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_a_header_is_refused(tmp_path):
    path = write(tmp_path / "samples.raw", bytes(3200))
    for read in (lambda: load_audio(path, RATE), lambda: audio_duration(path)):
        with pytest.raises(AudioError, match=r"samples\.raw: is not audio in a format"):
            read()


@pytest.mark.filterwarnings("ignore::asr.audio.AudioWarning")
@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "AIFF", "NIST"])
def test_a_damaged_file_is_read_or_refused(file_format):
    rng = np.random.default_rng(1)
    content = encoded(tone(0.5) + 0.01 * rng.standard_normal(8000), RATE, file_format)
    for _ in range(60):
        damaged = np.frombuffer(content[: rng.integers(1, len(content) + 1)], dtype=np.uint8).copy()
        damaged[rng.integers(len(damaged), size=3)] = rng.integers(256, size=3)
        # Whatever came out is audio; whatever did not is an error that says so.
        with contextlib.suppress(AudioError):
            samples = load_audio(damaged.tobytes(), RATE).samples
            assert samples.size
            assert np.isfinite(samples).all()


@pytest.mark.parametrize("path", ["", "\0.wav", "a" * 5000 + ".wav"])
def test_a_path_that_no_file_can_have_is_refused(path):
    with pytest.raises(AudioError):
        load_audio(path, RATE)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = write(tmp_path / "bad.wav", WAV)
    path.chmod(0)
    with pytest.raises(AudioError, match=r"cannot be read \(Permission denied\)"):
        load_audio(path, RATE)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0), "holds no samples"),
        (np.zeros((2, 16_000)), "transpose"),
        (np.zeros((3, 4, 5)), r"shape \(3, 4, 5\)"),
        (np.zeros(()), r"shape \(\)"),
        (np.zeros((100, 0)), "holds no samples"),
        (np.array([0.1, np.nan]), "NaN or infinite"),
        (np.array([300.0, -20_000.0]), "divide 16-bit samples by 32768"),
        (np.array(["a", "b"]), "dtype"),
        (np.zeros(9, dtype=complex), "dtype"),
        (np.zeros(9, dtype=bool), "dtype"),
        (np.zeros(9, dtype=np.uint16), "dtype"),
    ],
)
def test_a_bad_array_is_one_clear_error(array, message):
    with pytest.raises(AudioError, match=message):
        load_audio(array, RATE, source_rate=RATE)


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(0, RATE), (-8000, RATE), (RATE, 0), (None, RATE), (np.inf, RATE), ("16000", RATE), (10, RATE), (10**9, RATE)],
)
def test_a_rate_that_is_none_is_refused(rate, wanted):
    with pytest.raises(AudioError, match="rate"):
        load_audio(tone(0.1), wanted, source_rate=rate)


@pytest.mark.parametrize("source", [None, 5, [0.1, 0.2], io.StringIO("text")])
def test_a_source_of_another_kind_is_refused(source):
    with pytest.raises(AudioError, match=r"expected a path, bytes, a binary file or an array"):
        load_audio(source, RATE)


def test_a_container_names_the_extra_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = write(tmp_path / "talk.m4a", b"\0\0\0\x20ftypM4A " + bytes(2000))
    for read in (lambda: load_audio(path, RATE), lambda: audio_duration(path)):
        with pytest.raises(MissingExtraError, match=r"talk\.m4a.*ctc-asr\[media\]"):
            read()


@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_a_container_is_read_with_pyav(tmp_path, suffix):
    av = pytest.importorskip("av", reason="containers need the [media] extra")
    path = tmp_path / f"tone.{suffix}"
    codec, rate = ("aac", 44_100) if suffix == "m4a" else ("libopus", 48_000)
    stereo = np.stack([tone(1.0, rate), np.zeros(rate)]).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(stereo, format="fltp", layout="stereo")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=stream.frame_size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    waveform = load_audio(path, RATE)
    assert waveform.duration_seconds == pytest.approx(1.0, abs=0.1)
    assert audio_duration(path) == pytest.approx(1.0, abs=0.1)
    middle = waveform.samples[4000:12_000]
    assert np.sqrt(2) * middle.std() == pytest.approx(0.25, rel=0.05)
    part = load_audio(path, RATE, start_seconds=0.25, end_seconds=0.75)
    np.testing.assert_allclose(part.samples[1000:-1000], middle[1000:-1000], atol=1e-3)


@pytest.mark.parametrize("reader", [SoundReader, ContainerReader])
@pytest.mark.parametrize("from_byte", [0, 1_000_000], ids=["opening", "reading"])
def test_ctrl_c_within_a_library_is_not_lost(reader, from_byte, capfd):
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= from_byte and not interruptions:
                interruptions.append(self.tell())
                signal.raise_signal(signal.SIGINT)
            return super().read(size)

    if reader is ContainerReader:
        pytest.importorskip("av", reason="containers need the [media] extra")
    interruptions: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    blocks = []
    with pytest.raises(KeyboardInterrupt):
        blocks.extend(reader(Interrupted(encoded(tone(60.0), RATE, "WAV")), "a.wav").blocks(0, None))
    assert sum(map(len, blocks)) < 60 * RATE
    assert signal.getsignal(signal.SIGINT) is before
    assert not capfd.readouterr().err


def test_importing_reads_no_audio_library():
    code = "import sys, asr.audio; assert not {'soundfile', 'soxr', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
