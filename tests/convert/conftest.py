"""A hub on 127.0.0.1 for the tests of this folder."""

import pytest

from tests.local_hub import Hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that the client of this process takes for the only one, with a cache of its own."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="models of the Hub need the [hub] extra")
    with Hub().serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
        monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "cache" / "assets"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.chdir(tmp_path)
        yield hub
