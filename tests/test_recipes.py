"""Recipes: each is constructed; the embedded one runs from corpus to transcript, and again without work."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from asr.recipe import Recipe

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "recipes").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_every_recipe_is_constructed(script, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "recipes")
    spec = importlib.util.spec_from_file_location(f"recipe_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.RECIPE, Recipe)
    assert module.RECIPE.name == script.stem
    assert (ROOT / "data_prep" / f"{module.RECIPE.corpus}.py").is_file()


def run(*arguments, status=0):
    ran = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stdout if status == 0 else ran.stderr


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The outcome of a very small run of the digits recipe, language model included."""
    pytest.importorskip("torch", reason="training needs the [train] extra")
    out = tmp_path_factory.mktemp("digits")
    settings = (
        "training.epochs=1",
        "training.augment.noise_utterances=0",
        "model.num_layers=1",
        "model.hidden_size=16",
    )
    changed = [
        part
        for setting in (*settings, "model.conv_channels=4", "lm.order=2", "lm.beam_size=4")
        for part in ("--set", setting)
    ]
    arguments = ("recipes/digits.py", "--data", out / "data", "--out", out / "exp", "--jobs", 1, *changed)
    first = run(*arguments)
    assert "test, greedy: %WER" in first
    assert "test, beam 4, own LM: %WER" in first
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    run(*arguments)
    assert written == {path: path.stat().st_mtime_ns for path in written}
    return out


def test_a_recipe_runs_to_its_end_and_again_without_work(out):
    bundle = out / "exp" / "bundle"
    assert "WER, test, greedy" in run("-m", "asr", "info", bundle)
    run("-m", "asr", "transcribe", "--model", bundle, "data_prep/digits/example.wav")
    shown = run("-m", "asr", "evaluate", "--model", bundle, "--data", out / "data" / "dev")
    assert shown.startswith("%WER")


def test_a_store_with_other_features_is_refused(out):
    message = run("-m", "asr", "evaluate", "--model", "an4", "--data", out / "data" / "dev", status=1)
    assert "n_mels: 40 (expected 80)" in message
    message = run(
        "recipes/digits.py", "--data", out / "data", "--out", out / "other", "--stage", "train", "--set",
        "features.n_mels=20", status=1,
    )  # fmt: skip
    assert "n_mels: 40 (expected 20)" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "training.epoch=5"], "did you mean 'epochs'"),
        (["--stage", "trian"], "did you mean 'train'"),
    ],
)
def test_wrong_usage_is_explained(arguments, message):
    assert message in run("recipes/digits.py", *arguments, status=2)
