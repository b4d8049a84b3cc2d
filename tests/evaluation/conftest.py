"""Stores of the embedded digits with the shipped model's features, made once."""

import pytest

from asr.bundle.bundle import Bundle


@pytest.fixture(scope="session")
def bundle():
    return Bundle.load("an4")


@pytest.fixture(scope="session")
def digits(bundle, tmp_path_factory):
    """A folder with the stores ``features/dev`` and ``audio/dev``, and with the recordings below ``cache``."""
    pytest.importorskip("pyarrow", reason="stores need the [data] extra")
    from asr.preparation.command import load_corpus
    from asr.preparation.options import PrepareOptions
    from asr.preparation.prepare import prepare

    folder = tmp_path_factory.mktemp("digits")
    for kind in ("features", "audio"):
        options = PrepareOptions(
            features=bundle.features, splits=("dev",), kind=kind, cache=folder / "cache", quiet=True
        )
        prepare(load_corpus("digits"), folder / kind, options)
    return folder
