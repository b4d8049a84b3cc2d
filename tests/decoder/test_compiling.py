"""Kernels where the package cannot be written to, and the line that says that they are being compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USE_A_KERNEL = """
import numpy as np
from asr.decoder.trie import TRIE_NODE, link_nodes
nodes = np.zeros(2, TRIE_NODE)
table = np.zeros(8, np.int32)
link_nodes(nodes, table, 2)
assert table.sum() == 1
"""


def run(code, home):
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", "import numba.core.caching as caching\n" + code + USE_A_KERNEL]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("has_home", [True, False])
def test_a_package_that_cannot_be_written_to(tmp_path, has_home):
    # The superuser may write anywhere, so Numba is told what it would find out.
    # (The locator's name has lost an underscore in the course of Numba's versions.)
    code = (
        "name = next(name for name in dir(caching) if name.endswith('InTreeCacheLocator'))\n"
        "getattr(caching, name).from_function = classmethod(lambda *arguments: None)\n"
    )
    if not has_home:
        code += "caching.CacheImpl._locator_classes = []\n"
    said = run(code, tmp_path)
    assert said.count("compiling the decoder") == 1
    assert len(list(tmp_path.rglob("trie.link_nodes*.nbi"))) == has_home
    assert run(code, tmp_path).count("compiling the decoder") == (not has_home)
