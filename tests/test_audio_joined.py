"""Files joined by cat: all recordings are read, or what is not is told."""

import io
import sys

import numpy as np
import pytest

from asr.audio import AudioStream, load_audio
from asr.audio.survey import survey
from asr.errors import AudioError
from tests.audio_files import FIRST, RATE, SECOND, encoded, film, heard, noise

JOINED = [
    *(("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", None), ("WAV", "PCM_U8"), ("WAV", "ULAW"), ("WAVEX", None)),
    *(("RF64", None), ("W64", "GSM610"), ("AIFF", "FLOAT"), ("AU", None), ("CAF", None), ("SVX", None), ("VOC", None)),
]


@pytest.mark.parametrize(("file_format", "subtype"), JOINED)
def test_recordings_one_after_the_other_are_all_read(file_format, subtype, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    first, second = noise(FIRST), noise(SECOND, rate=24_000)
    parts = [encoded(first, file_format, subtype), encoded(second, file_format, subtype, rate=24_000)]
    for content in (parts[0] + parts[1] + parts[0], parts[1] + parts[0] + parts[0]):
        with AudioStream(content, RATE) as audio:
            stated, seconds = audio.stated_seconds, sum(map(len, audio)) / RATE
        assert seconds == pytest.approx(2 * FIRST + SECOND, abs=0.07)
        assert stated == pytest.approx(seconds, abs=0.01)
        assert not audio.warnings


@pytest.mark.parametrize("channels", [1, 2])
def test_a_part_of_recordings_one_after_the_other_is_that_part_of_the_whole(channels):
    waves = [np.stack(channels * [noise(seconds, seed)], axis=1) for seed, seconds in enumerate([FIRST, SECOND, FIRST])]
    content = b"".join(encoded(wave, "AIFF") for wave in waves)
    whole = load_audio(content, RATE).samples
    np.testing.assert_allclose(whole, np.concatenate(waves)[:, 0], atol=1e-4)
    for start, end in ((0.5, 1.0), (1.5, 2.5), (2.0, None), (2.5, 3.0), (1.0, 4.0), (3.5, 5.0)):
        part = load_audio(content, RATE, start_seconds=start, end_seconds=end).samples
        np.testing.assert_array_equal(part, whole[round(start * RATE) : None if end is None else round(end * RATE)])
    with pytest.raises(AudioError, match=r"starts at 5\.5 s"):
        load_audio(content, RATE, start_seconds=5.5)


@pytest.mark.parametrize(
    ("codec", "file_format"),
    [("aac", "mp4"), ("flac", "matroska"), ("pcm_s16le", "flv"), ("wavpack", "wv"), ("tta", "tta")],
)
def test_containers_one_after_the_other_are_all_read(codec, file_format):
    parts = [film(codec, file_format, [(0.0, noise(seconds))]) for seconds in (FIRST, SECOND, FIRST)]
    assert len(survey(io.BytesIO(b"".join(parts))).places) == 2
    seconds, said = heard(b"".join(parts))
    assert seconds == pytest.approx(sum(heard(part)[0] for part in parts), abs=1e-3)
    assert not said


def test_a_recording_that_follows_another_and_cannot_be_read_is_told():
    content = encoded(noise(FIRST), "WAV")
    seconds, said = heard(content + content[:12] + bytes(1000))
    assert seconds == pytest.approx(FIRST)
    assert "(recording 2 of 2): is not audio" in said[0]
    assert said[0].endswith("; these 1012 bytes were not read")


def test_recordings_of_several_formats_are_read_behind_those_that_state_their_size():
    formats = ["WAV", "AIFF", "W64", "AU", "FLAC", "FLAC"]
    assert heard(b"".join(encoded(noise(FIRST), name) for name in formats)) == (pytest.approx(6 * FIRST), [])


def test_of_a_damaged_recording_what_was_read_counts():
    damaged = noise(20.0)
    damaged[17 * RATE] = np.nan
    content = encoded(noise(FIRST), "WAV") + encoded(damaged, "WAV", "FLOAT") + encoded(noise(FIRST), "WAV")
    with AudioStream(content, RATE, end_seconds=20.0) as audio:
        assert sum(map(len, audio)) == pytest.approx(20 * RATE, abs=1)
    assert str(audio.warnings[0]).endswith("at 17.000 s; expected finite audio; the rest of it was not read")


def test_a_part_begins_behind_an_empty_recording():
    content = encoded(noise(0.0), "WAV") + encoded(noise(FIRST), "WAV")
    with AudioStream(content, RATE, start_seconds=0.5) as audio:
        assert sum(map(len, audio)) == (FIRST - 0.5) * RATE


def test_progress_through_recordings_goes_forward():
    # Resampling gives its last block when a recording was read to its end.
    with AudioStream(3 * encoded(noise(FIRST), "WAV"), 8000) as audio:
        fractions = [audio.fraction for _ in audio]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.4


def test_a_damaged_size_points_to_no_recording():
    content = bytearray(encoded(noise(FIRST), "W64"))
    content[16:24] = b"\xff" * 8
    assert heard(bytes(content)) == (pytest.approx(FIRST), [])


def test_mp3s_one_after_the_other_are_all_read_or_what_is_not_is_told(monkeypatch):
    content = b"".join(encoded(noise(seconds), "MP3") for seconds in (FIRST, SECOND))
    found = survey(io.BytesIO(content))
    assert found.seconds == pytest.approx(FIRST + SECOND, abs=0.2)
    pytest.importorskip("av", reason="PyAV reads them")
    seconds, said = heard(content)
    assert seconds == pytest.approx(FIRST + SECOND, abs=0.2)
    assert not said
    monkeypatch.setitem(sys.modules, "av", None)
    seconds, said = heard(content)
    assert seconds < FIRST + 0.2
    assert any(f"holds {found.seconds - seconds:.2f} s more" in line for line in said)
    assert "pip install 'ctc-asr[media]'" in said[0]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_what_follows_a_recording_that_is_cut_is_read(subtype):
    cut = encoded(noise(5.0), "OGG", subtype)
    cut = cut[: round(0.7 * len(cut))]
    content = cut + encoded(noise(SECOND), "OGG", subtype)
    found = survey(io.BytesIO(content))
    assert len(found.places) == 1
    pytest.importorskip("av", reason="PyAV reads it")
    seconds, said = heard(content)
    assert seconds >= heard(cut)[0] + SECOND - 0.3
    assert said


@pytest.mark.parametrize("first", [b"free", b"wide", b"skip"])
def test_old_movies_one_after_the_other_are_all_read(first):
    """Before ftyp there was none: such files begin with other boxes."""
    new = film("pcm_s16be", "mov", [(0.0, noise(FIRST))])
    old = new.replace(b"ftyp", first, 1)
    for content in (old + old, new + old, old + new):
        assert heard(content) == (pytest.approx(2 * FIRST), [])
    assert heard(old + b"\0\0\0\x10" + first + bytes(8)) == (pytest.approx(FIRST), [])
