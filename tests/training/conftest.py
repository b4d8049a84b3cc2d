"""For all tests of training."""

import importlib.util

import pytest


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    """A page of curves takes a second to draw."""
    if importlib.util.find_spec("torch"):
        monkeypatch.setattr("asr.training.report.draw", lambda _rows: "<svg></svg>")
