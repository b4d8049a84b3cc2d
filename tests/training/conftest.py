"""For all tests of training."""

import pytest


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    """A page of curves takes a second to draw."""
    monkeypatch.setattr("asr.training.report.draw", lambda rows: "<svg></svg>")
