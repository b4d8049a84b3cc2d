"""Kernels: where they are kept, when they are compiled, and what is said of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "asr"
DECODE = """
import numpy as np
from numba.core import event
class Listener(event.Listener):
    def on_start(self, event):
        print("compiled", event.data["dispatcher"].py_func.__name__)
    def on_end(self, event):
        pass
from asr.decoder import BeamSearchDecoder, log_softmax
stream = BeamSearchDecoder(["_", " ", "a", "b"], options={"beam_size": 3, "horizon_frames": 70}).stream()
event.register("numba:compile", Listener())
for _ in range(20):
    stream.push(log_softmax(np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)))
    stream.stable_text
stream.set_hotwords(["ab"])
stream.finish()
"""


def run(code, folder, **changes):
    environment = {**os.environ, "PYTHONPATH": str(folder), **changes}
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran


def test_all_is_compiled_before_the_first_push_and_only_once(tmp_path):
    first = run(DECODE, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))
    assert first.stderr.count("compiling the decoder") == 1
    assert first.stdout == ""
    again = run(DECODE, PACKAGE.parent, NUMBA_CACHE_DIR=str(tmp_path))
    assert (again.stdout, again.stderr) == ("", "")


@pytest.mark.parametrize("place", ["package", "home", "none"])
def test_where_kernels_are_kept(tmp_path, place):
    shutil.copytree(PACKAGE / "decoder", tmp_path / "asr" / "decoder", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "version.py", "errors.py", "files.py"):
        shutil.copy(PACKAGE / name, tmp_path / "asr" / name)
    if place != "package":
        # The superuser may write anywhere: a file where a folder is wanted stops them, too.
        (tmp_path / "asr" / "decoder" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.mkdir()
    if place == "none":
        (home / ".cache").write_text("")
    code = (
        "import numpy as np; from asr.decoder.search.trie import TRIE_NODE, link_nodes;"
        "from asr.decoder.compiling import _cache_directory; print(_cache_directory());"
        "link_nodes(np.zeros(2, TRIE_NODE), np.zeros(8, np.int32), 2)"
    )
    unset = {"NUMBA_CACHE_DIR": "", "XDG_CACHE_HOME": "", "LOCALAPPDATA": "", "HOME": str(home)}
    said = run(code, tmp_path, **unset).stdout.strip()
    kept = [path.parent for path in tmp_path.rglob("trie.link_nodes*.nbi")]
    if place == "none":
        assert (said, kept) == ("None", [])
        return
    expected = tmp_path / "asr" / "decoder" / "__pycache__" if place == "package" else home / ".cache" / "asr"
    assert Path(said).parent == expected
    assert len(kept) == 1
    assert Path(said) in kept[0].parents
    # A change of any source makes kernels anew.
    (tmp_path / "asr" / "decoder" / "options.py").write_text("# other\n")
    assert run(code, tmp_path, **unset).stdout.strip() != said
