"""Recipes and corpus scripts: found by name or path, copied, run as Python would run them."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from asr.errors import UsageError
from asr.scripts import copy_script, find_script, known_scripts, shipped_folder, summary

REPOSITORY = Path(__file__).parents[1]


def test_the_wheel_holds_the_scripts_where_the_package_looks_for_them() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {kind: f"asr/shipped/{kind}" for kind in ("recipes", "data_prep")}
    for kind in ("recipes", "data_prep"):
        # Not in a wheel: beside the package.
        assert shipped_folder(kind) == REPOSITORY / kind


def test_every_script_says_in_a_line_what_it_is() -> None:
    for kind in ("recipes", "data_prep"):
        scripts = known_scripts(kind)
        assert len(scripts) > 5
        for script in scripts.values():
            assert summary(script).endswith("."), script


def test_a_script_of_ones_own_goes_before_one_that_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_script("recipes", "digits") == REPOSITORY / "recipes" / "digits.py"
    assert (
        copy_script("recipes", "digits", Path("recipes")).read_bytes() == find_script("recipes", "digits").read_bytes()
    )
    assert find_script("recipes", "digits") == Path("recipes", "digits.py")
    assert find_script("recipes", "./recipes/digits.py") == Path("recipes", "digits.py")
    with pytest.raises(UsageError, match="already exists"):
        copy_script("recipes", "digits", Path("recipes"))
    with pytest.raises(UsageError, match=r"no recipe 'digit' .did you mean 'digits'"):
        find_script("recipes", "digit")
    with pytest.raises(UsageError, match="no such corpus script"):
        find_script("data_prep", "nowhere/an4.py")


def test_the_command_passes_options_on(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys\nif __name__ == '__main__':\n    print(sys.argv)\n")
    for command in ("train", "prepare"):
        line = [sys.executable, "-m", "asr", command, "./mine.py", "--set", "a=b", "--help", "-x"]
        ran = subprocess.run(
            line, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True
        )
        assert ran.stdout.strip() == "['mine.py', '--set', 'a=b', '--help', '-x']"


def test_a_recipe_that_is_built_on_another_is_copied_with_it_and_runs(tmp_path: Path) -> None:
    copy_script("recipes", "fsdd_speakers", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"fsdd_speakers.py", "fsdd.py"}
    (tmp_path / "probe.py").write_text("from fsdd_speakers import RECIPE\nprint(RECIPE.name)\n")
    line = [sys.executable, "-m", "asr", "train", "./probe.py"]
    env = {"PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "fsdd_speakers"
