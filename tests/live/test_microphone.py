"""The microphone, on a sound card that is made up."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from asr.errors import AudioError, MissingExtraError
from asr.live import microphone
from asr.live.microphone import Microphone, find_device, input_devices


class PortAudioError(Exception):
    """What sounddevice raises."""


class Stream:
    """Gives three blocks at once, and then what the test does with it."""

    latest: "Stream"

    def __init__(self, callback, finished_callback, samplerate, device, **options):
        if device == 4:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self._callback, self.finish = callback, finished_callback
        assert (samplerate, options["channels"]) == (48_000, 1)
        Stream.latest = self

    def start(self):
        for value in (1, 2, 3):
            status = SimpleNamespace(input_overflow=value == 3)
            self._callback(np.full((4, 1), value, np.float32), 4, None, status)

    def close(self, ignore_errors):
        assert ignore_errors


def row(name, inputs):
    return {"name": name, "max_input_channels": inputs, "default_samplerate": 48_000.0}


@pytest.fixture(autouse=True)
def card(monkeypatch):
    rows = [row("Speaker", 0), row("Headset", 1), row("Webcam (left)", 2), row("Webcam (right)", 2), row("Busy", 1)]
    module = SimpleNamespace(
        query_devices=lambda: rows,
        default=SimpleNamespace(device=[2, 0]),
        PortAudioError=PortAudioError,
        InputStream=Stream,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return rows


def test_devices_are_found_by_number_and_by_name():
    assert [device.number for device in input_devices()] == [1, 2, 3, 4]
    assert find_device().name == "Webcam (left)"
    assert find_device("3").name == find_device("RIGHT").name == "Webcam (right)"
    with pytest.raises(AudioError, match="several inputs have this in their names; expected one of 1: Headset; 2"):
        find_device("webcam")
    with pytest.raises(AudioError, match="no input has this number or name"):
        find_device("0")


def test_what_waits_comes_at_once_and_a_device_that_vanishes_is_told():
    with Microphone(find_device("Headset")) as device:
        chunks = iter(device)
        assert next(chunks).tolist() == [1] * 4 + [2] * 4 + [3] * 4
        assert device.num_lost == 1
        Stream.latest.finish()
        with pytest.raises(AudioError, match=r"device 1 \(Headset\) delivers no more sound"):
            next(chunks)


def test_a_device_that_says_nothing_is_gone(monkeypatch):
    monkeypatch.setattr(microphone, "GONE_SECONDS", 0.05)
    with Microphone(find_device("Headset")) as device, pytest.raises(AudioError, match="no more sound"):
        list(device)


def test_without_a_device_or_a_library_it_says_what_to_do(card, monkeypatch):
    with pytest.raises(AudioError, match=r"Device unavailable.*does another program use it"):
        Microphone(find_device("Busy"))
    del card[1:]
    with pytest.raises(AudioError, match="no microphone was found: plug one in"):
        find_device()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"ctc-asr\[live\]"):
        input_devices()
