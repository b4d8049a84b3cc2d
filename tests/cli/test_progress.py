"""The bar of a job: on a terminal alone, with files done, speed and time left; messages stand above it."""

import io
import sys

import pytest

from asr.cli.progress import JobProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves by hand, and no delay."""
    now = [0.0]
    monkeypatch.setattr("asr.cli.progress.time.monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return now


def test_a_bar_shows_files_share_and_speed(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with JobProgress([300, 100, 0], quiet=False) as bar:
        clock[0] = 10.0
        bar.update(0, 0.5, 400.0)
        bar.update(0, 1.0, 900.0)
        bar.message("asr: x.wav: [bold]is empty")
        bar.update(1, 1.0, 100.0)
        assert bar.audio_seconds == 1000
        assert bar.speed == pytest.approx(100)
    shown = sys.stderr.getvalue()
    assert "2 of 3" in shown
    assert "100 × real time" in shown
    assert "asr: x.wav: [bold]is empty" in shown


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO, False), (Terminal, True)])
def test_no_bar_without_a_terminal_or_when_quiet(clock, monkeypatch, stream, quiet):
    monkeypatch.setattr(sys, "stderr", stream())
    with JobProgress([1, 1], quiet=quiet) as bar:
        clock[0] = 10.0
        bar.update(0, 1.0, 5.0)
        bar.message("asr: x")
    assert sys.stderr.getvalue() == "asr: x\n"
