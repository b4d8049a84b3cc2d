"""A tiny language model."""

import pytest

from asr.decoder import NGramModel
from tests.decoder.brute_force import ARPA


@pytest.fixture(scope="session")
def lm(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "tiny.arpa"
    path.write_text(ARPA)
    return NGramModel.read(path)
