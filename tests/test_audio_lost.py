"""No speech is lost without a word: files that are chained, cut, damaged, or say nothing true of their length."""

import io
import re
import struct
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asr.audio import AudioStream, AudioWarning, IncompleteAudioWarning, load_audio
from asr.audio.survey import survey
from asr.errors import AsrError, AudioError
from tests.audio_files import RATE, encoded, film, heard, noise


def without_xing(mp3: bytes) -> bytes:
    """Return an MP3 file without the frame that states its length, as encoders write it to a pipe."""
    place = mp3.find(b"Info") if b"Info" in mp3[:200] else mp3.find(b"Xing")
    start = mp3.rfind(b"\xff", 0, place)
    return mp3[mp3.find(mp3[start : start + 2], start + 4) :]


def test_an_mp3_that_states_no_length_is_read_to_its_end():
    # Silence, in which frames are small, after noise: by its first frame, the file would be shorter than it is.
    quiet = np.concatenate([noise(1.0), np.zeros(3 * RATE)])
    file = io.BytesIO()
    with soundfile.SoundFile(
        file, "w", RATE, 1, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE", compression_level=0.9
    ) as mp3:
        mp3.write(quiet)
    content = without_xing(file.getvalue())
    found = survey(io.BytesIO(content))
    assert found.is_open
    assert found.seconds == pytest.approx(4.0, abs=0.15)
    pytest.importorskip("av", reason="PyAV can read them")
    assert heard(content)[0] == pytest.approx(4.0, abs=0.15)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_is_cut_anywhere_says_so(subtype):
    content = encoded(noise(5.0), "OGG", subtype)
    assert not heard(content)[1]
    for share in (0.5, 0.8, 0.97):
        seconds, said = heard(content[: round(len(content) * share)])
        assert seconds < 5.0
        assert len(said) == 1
        assert ("header promises at least" in said[0]) or ("breaks off" in said[0])


def test_a_damaged_page_of_an_ogg_is_told():
    content = bytearray(encoded(noise(5.0), "OGG", "VORBIS"))
    assert survey(io.BytesIO(bytes(content))).damaged_seconds == 0
    content[len(content) // 2] ^= 0xFF
    assert survey(io.BytesIO(bytes(content))).damaged_seconds > 0.1
    assert any("is damaged; " in line for line in heard(bytes(content))[1])


@pytest.mark.parametrize("leading", [0, 1000], ids=["sound", "silence first"])
def test_a_wav_that_its_recorder_did_not_finish_is_read_to_its_end(leading):
    samples = np.concatenate([np.zeros(leading), noise(1.0)])
    content = bytearray(encoded(samples, "WAV"))
    content[4:8] = content[40:44] = bytes(4)
    assert heard(bytes(content)) == (pytest.approx(len(samples) / RATE), [])
    content = bytearray(encoded(samples, "RF64"))
    content[20:36] = bytes(16)
    assert heard(bytes(content)) == (pytest.approx(len(samples) / RATE), [])
    # What has chunks behind empty data is empty.
    empty = encoded(np.zeros(0), "WAV") + b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="holds no samples"):
        load_audio(empty, RATE)


def test_a_wav_from_a_pipe_is_read_to_its_end_however_long_it_is(monkeypatch):
    monkeypatch.setattr("asr.audio.survey.UNKNOWN_SIZE", 1000)
    content = bytearray(encoded(noise(1.0), "WAV"))
    for size, most in ((1000, 0xFFFF_FFFF), (0xFFFF_FFFF, 1000), (0, 1000)):
        monkeypatch.setattr("asr.audio.survey.MAX_SIZE", most)
        content[40:44] = size.to_bytes(4, "little")
        assert heard(bytes(content)) == (pytest.approx(1.0), [])


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_chunks_of_odd_sizes_behind_the_sound_are_no_recording(padding):
    content = encoded(noise(1.0), "WAV")
    for name, size in ((b"LIST", 7), (b"id3 ", 9001)):
        content += name + struct.pack("<I", size) + size * b"x" + padding
    assert heard(content) == (pytest.approx(1.0), [])


def test_an_au_without_a_size_is_read_to_its_end():
    content = bytearray(encoded(noise(1.0), "AU"))
    for size in (bytes(4), struct.pack(">I", RATE)):
        content[8:12] = size
        assert heard(bytes(content)) == (pytest.approx(1.0), [])


def test_a_wav_whose_bytes_a_second_are_wrong_is_whole():
    content = bytearray(encoded(noise(1.0), "WAV"))
    content[28:32] = struct.pack("<I", 2 * RATE + 4000)
    assert heard(bytes(content)) == (pytest.approx(1.0), [])


CUT = [
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "ULAW")),
    *(("AVR", "PCM_S8"), ("MAT4", "PCM_16"), ("MAT5", "DOUBLE"), ("MPC2K", "PCM_16"), ("SVX", "PCM_16")),
    *(("VOC", "PCM_U8"), ("VOC", "PCM_16"), ("VOC", "ULAW"), ("SDS", "PCM_16"), ("NIST", "PCM_16"), ("FLAC", "PCM_16")),
]
# libsndfile refuses them when they are cut, or decodes nothing of them.
MENDED = ("CAF ALAC_16", "VOC PCM_U8", "SDS PCM_16", "FLAC PCM_16")


@pytest.mark.parametrize(("file_format", "subtype"), CUT)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_that_is_cut_says_how_much_is_missing(file_format, subtype, share):
    if f"{file_format} {subtype}" in MENDED:
        pytest.importorskip("av", reason="PyAV reads it")
    content = encoded(noise(3.0), file_format, subtype)
    whole, said = heard(content)
    assert whole == pytest.approx(3.0, abs=0.05)
    assert not said
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = load_audio(content[: round(len(content) * share)], RATE).samples
    # What is missing is not made up.
    assert samples[-500:].any()
    assert len(samples) / RATE == pytest.approx(3.0 * share, abs=0.3)
    missing = re.search(r"header promises ([\d.]+) s more: the file is truncated", str(caught[0].message))
    assert missing
    assert float(missing[1]) == pytest.approx(whole - len(samples) / RATE, abs=0.03)


def test_a_file_of_soxs_own_format_that_is_cut_says_how_much_is_missing():
    pytest.importorskip("av", reason="PyAV reads it")
    head = b".SoX" + struct.pack("<IQdII", 28, RATE, RATE, 1, 0)
    seconds, said = heard(head + (noise(0.6) * 2**31).astype("<i4").tobytes())
    assert seconds == pytest.approx(0.6)
    assert "ends after 0.60 s, but its header promises 0.40 s more" in said[0]


def test_pyav_reads_eight_bits_as_libsndfile_does():
    pytest.importorskip("av", reason="the test is of PyAV")
    content = encoded(noise(1.0), "WAV", "PCM_U8")
    by_pyav = load_audio(content, RATE, audio_track=0).samples
    np.testing.assert_array_equal(by_pyav, load_audio(content, RATE).samples)


def test_a_flac_without_a_total_is_read(monkeypatch):
    content = bytearray(encoded(noise(1.0), "FLAC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    assert survey(io.BytesIO(bytes(content))).has_no_total
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "av", None)
        with pytest.raises(AsrError):
            load_audio(bytes(content), RATE)
    pytest.importorskip("av", reason="PyAV can read them")
    assert heard(bytes(content))[0] == pytest.approx(1.0)


def test_where_libsndfile_finds_damage_pyav_goes_on():
    pytest.importorskip("av", reason="PyAV reads on")
    content = bytearray(encoded(noise(40.0), "FLAC"))
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(300)
    seconds, said = heard(bytes(content))
    assert seconds == pytest.approx(40, abs=1)
    assert said
    assert "is damaged" in said[-1]


def test_a_second_of_sound_makes_a_file_audio_however_much_of_it_is_damaged():
    content = film("aac", "mp4", [(0.0, noise(8.0))])
    begin, end = content.find(b"mdat"), content.find(b"moov")

    def with_hole(share: float) -> bytes:
        place = begin + round(share * (end - begin))
        return content[:place] + bytes(end - 100 - place) + content[end - 100 :]

    seconds, said = heard(with_hole(0.3))
    assert seconds >= 2.0
    assert said
    with pytest.raises(AudioError, match="cannot be decoded"):
        load_audio(with_hole(0.05), RATE)


def test_planes_that_a_frame_has_not_are_not_read():
    pytest.importorskip("av", reason="containers need the [media] extra")
    from asr.audio.container import ContainerReader

    # What PyAV makes of a damaged AAC frame: of its 81 pointers 43 lead nowhere.
    planar, layout = SimpleNamespace(is_planar=True), SimpleNamespace(channels=range(38))
    frame = SimpleNamespace(format=planar, layout=layout, planes=range(81))
    with pytest.raises(ValueError, match="38 channels has 81 planes"):
        ContainerReader._samples(object.__new__(ContainerReader), frame)


def test_what_a_file_cannot_hold_is_not_read(monkeypatch):
    # Of a GSM file whose header says years, libsndfile makes silence for years.
    monkeypatch.setattr("asr.audio.sound.MOST_SAMPLES_PER_BYTE", 0.25)
    content = encoded(noise(2.0), "WAV", "PCM_16")
    seconds, told = heard(content)
    assert seconds == pytest.approx(len(content) / 4 / RATE, abs=1e-4)
    assert "the file is truncated" in "".join(told)
    assert heard(encoded(noise(2.0), "FLAC"))[0] == pytest.approx(2.0, abs=0.01)


def test_a_damaged_packet_of_days_is_not_days_of_silence():
    pytest.importorskip("av", reason="containers need the [media] extra")
    content = bytearray(encoded(noise(0.65), "CAF", "ALAC_16", 8000))
    # The header's frames a packet, 4096, become 1.8e9; and what libsndfile and FFmpeg decode, damaged.
    content[40] = 0x6C
    content.insert(200, 0x11)
    with pytest.raises(AudioError, match="is damaged, or not audio"):
        load_audio(bytes(content), RATE)


def test_times_are_those_of_the_clock_of_a_film():
    sound = noise(1.0)
    content = film("pcm_s16le", "matroska", [(0.0, sound), (3.0, sound)])
    seconds, said = heard(content)
    assert seconds == pytest.approx(4.0, abs=0.01)
    (message,) = said
    assert "has gaps of 2.0 s in its clock" in message
    with pytest.warns(AudioWarning):
        part = load_audio(content, RATE, start_seconds=3.0).samples
    np.testing.assert_allclose(part, sound, atol=1e-3)
    # A part of a file is no sign that the rest is missing.
    assert not [w for w in _warnings(content, end_seconds=1.0) if isinstance(w, IncompleteAudioWarning)]


def _warnings(content: bytes, **options: float) -> list[AudioWarning]:
    with AudioStream(content, RATE, **options) as audio:
        assert sum(map(len, audio))
    return audio.warnings


def test_one_of_several_tracks_is_chosen():
    content = film("pcm_s16le", "matroska", [(0.0, noise(1.0))], tracks=2)
    (said,) = map(str, _warnings(content))
    assert "has 2 audio tracks; the first was read" in said
    assert not _warnings(content, audio_track=1)
    with pytest.raises(AudioError, match="got audio track 3; expected 1 to 2"):
        load_audio(content, RATE, audio_track=2)


def test_titles_that_are_not_utf8_and_unknown_codecs_are_no_traceback():
    content = film("flac", "matroska", [(0.0, noise(1.0))])
    with pytest.raises(AudioError, match="no decoder for its audio"):
        load_audio(content.replace(b"A_FLAC", b"A_FOOO"), RATE)
    assert load_audio(content.replace(b"Lavf", b"L\xe9vf"), RATE).duration_seconds == pytest.approx(1.0)


def test_playlists_and_lists_of_files_open_nothing(tmp_path):
    (tmp_path / "a.wav").write_bytes(encoded(noise(1.0), "WAV"))
    for text in (f"ffconcat version 1.0\nfile '{tmp_path}/a.wav'\n", f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.wav\n"):
        path = tmp_path / "list.wav"
        path.write_text(text)
        with pytest.raises(AudioError, match="not audio in a format that can be read"):
            load_audio(path, RATE)


def test_channels_that_cancel_each_other_are_told():
    speech = noise(2.0)
    stereo = np.stack([speech, -speech], axis=1)
    with pytest.warns(AudioWarning, match=r"cancel each other out for 2\.0 s.*--channel each"):
        assert np.abs(load_audio(stereo, RATE, source_rate=RATE).samples).max() < 1e-3
    # Of recordings that follow one another it is told once.
    with pytest.warns(AudioWarning, match=r"for 4\.0 s") as caught:
        load_audio(2 * encoded(stereo, "WAV"), RATE)
    assert len(caught) == 1
    for whole in (np.stack([speech, noise(2.0, 2)], axis=1), np.stack([speech, 0 * speech], axis=1)):
        load_audio(whole, RATE, source_rate=RATE)
    load_audio(stereo, RATE, source_rate=RATE, channels=[0])


class Broken(io.BytesIO):
    """A connection that is reset, before or after the first bytes."""

    def __init__(self, error: Exception, after: int) -> None:
        super().__init__()
        self.error, self.after = error, after

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
        self.after -= 1
        if self.after < 0:
            raise self.error
        return bytes(1000)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset by peer"), RuntimeError("odd"), EOFError()])
@pytest.mark.parametrize("after", [0, 1])
def test_what_a_source_raises_is_an_error_of_that_source(error, after):
    with pytest.raises(AudioError, match="cannot be read"):
        load_audio(Broken(error, after), RATE)
