"""Tuning finds the best of what it tries, the same every time; bundles are written whole, test sets refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.bundle.bundle import FILES, Bundle
from asr.bundle.shipped import SHIPPED
from asr.cli import app
from asr.errors import DataError, UsageError
from asr.evaluation.tune import ALPHA, BETA, BLANK_SCALE, OOV_SCORE, PRIOR_WEIGHT, Knob, Search, tune, tune_beam

N = 60
REFERENCES = ["a"] * N
LOG_PROBS = [np.zeros((2, 3))] * N


def wrong(count):
    return ["x"] * min(N, count) + ["a"] * max(0, N - count)


def bowl(alpha, beta):
    """Errors grow with the distance from alpha 0.62, beta 0.4."""
    return lambda _log_probs: wrong(round(40 * np.hypot(alpha - 0.62, (beta - 0.4) / 2)))


def test_the_search_ends_near_the_best_and_beats_the_grid():
    search = Search(rounds=4)
    found = tune(LOG_PROBS, REFERENCES, bowl, search)
    assert found.weights["alpha"] == pytest.approx(0.62, abs=0.06)
    assert found.weights["beta"] == pytest.approx(0.4, abs=0.16)
    grid = tune(LOG_PROBS, REFERENCES, bowl, Search(rounds=0))
    assert found.counts.errors < grid.counts.errors
    everything = {tuple(trial.weights.values()): trial.counts.errors for trial in found.trials}
    assert len(everything) == len(found.trials) <= search.trials
    # One more wrong of 60, all else equal, is within a standard error; two are not.
    assert found.counts.errors <= min(everything.values()) + 1
    assert all(errors == sum(t == "x" for t in bowl(*w)(None)) for w, errors in everything.items())


def test_the_same_seed_gives_the_same_trials():
    runs = [tune(LOG_PROBS, REFERENCES, bowl, Search(seed=seed)) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0].trials != runs[2].trials


def test_what_may_be_luck_does_not_move_the_weights_from_their_defaults():
    default = Search().default
    found = tune(LOG_PROBS, REFERENCES, lambda **_weights: lambda _log_probs: wrong(3))
    assert tuple(found.weights.values()) == default
    for better in range(9, 18):
        # With alpha 0, `better` of the 17 utterances that differ come out right and the others wrong; else vice versa.
        ours = ["a"] * better + ["x"] * (17 - better)
        theirs = ["x" if text == "a" else "a" for text in ours]
        rest = ["a"] * (N - 17)

        def recogniser(alpha, ours=ours, theirs=theirs, rest=rest, **_beta):
            return lambda _log_probs: (theirs if alpha else ours) + rest

        differences = np.array([1] * better + [-1] * (17 - better) + [0] * (N - 17))
        is_luck = differences.mean() <= differences.std(ddof=1) / np.sqrt(N)
        assert (better <= 10) == is_luck
        found = tune(LOG_PROBS, REFERENCES, recogniser)
        assert (found.weights["alpha"] == default[0]) == is_luck
        assert found.weights["alpha"] == 0 or is_luck


def test_the_smallest_of_equally_good_beams_is_taken():
    errors = {4: 9, 8: 5, 16: 3, 64: 3}
    best, trials = tune_beam(LOG_PROBS, REFERENCES, lambda size: lambda _log_probs: wrong(errors[size]), (64, 8, 16, 4))
    assert best.beam_size == 16
    assert {trial.beam_size: trial.counts.errors for trial in trials} == errors


def test_there_must_be_something_to_tune_on():
    for arguments in (([], []), (LOG_PROBS[:1], [" "])):
        with pytest.raises(DataError, match="at least one utterance with words"):
            tune(*arguments, bowl)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Knob("alpha", (0.0,), 0.0),
        lambda: Knob("beta", (1.0, 0.0), 0.0),
        lambda: Knob("alpha", (-1.0, 0.0), 0.0, lowest=0.0),
        lambda: Search(rounds=-1),
        lambda: Search(knobs=()),
    ],
)
def test_searches_that_cannot_be_meant_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_all_knobs_are_turned_together():
    best = {"alpha": 1.6, "beta": -1.3, "prior_weight": 0.5, "oov_score": -6.0, "blank_scale": 0.4}
    knobs = (ALPHA, BETA, PRIOR_WEIGHT, OOV_SCORE, BLANK_SCALE)
    search = Search(knobs, rounds=4, candidates=12)

    def recogniser(**weights):
        # A valley that runs askew: the best beta depends on alpha.
        off = {name: (weights[name] - value) for name, value in best.items()}
        off["beta"] += off["alpha"]
        return lambda _log_probs: wrong(round(20 * np.sqrt(sum((off[k.name] / k.step / 4) ** 2 for k in knobs))))

    found = tune(LOG_PROBS, REFERENCES, recogniser, search)
    assert len(found.trials) <= search.trials
    assert found.counts.errors <= 8 < found.trials[0].counts.errors
    for knob in knobs:
        values = [trial.weights[knob.name] for trial in found.trials]
        assert set(knob.values) <= set(values)
        assert knob.lowest <= min(values) <= max(values) <= knob.highest


def run(*arguments, status=0):
    ran = CliRunner().invoke(app, ["tune", *map(str, arguments)])
    if status:
        assert ran.exception is not None
        return str(ran.exception)
    assert ran.exception is None, ran.output
    return ran.output


@pytest.fixture
def store(digits):
    return digits / "features" / "dev"


QUICK = ("--rounds", 1, "--beam-sizes", "4,8", "--beam-size", 8, "--threads", 1)


def test_weights_and_model_are_written_into_a_copy(store, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the [data] extra")
    lm = tmp_path / "lm.arpa"
    lines = ["\\data\\", "ngram 1=5", "", "\\1-grams:", "-1\t<unk>", "-99\t<s>", "-1\t</s>", "-1\ttwo", "-1\tfive", ""]
    lm.write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")
    out = tmp_path / "tuned"
    shown = run("--model", "an4", "--data", store, "--lm", lm, "--out", out, *QUICK)
    tuned, shipped = Bundle.load(out), Bundle.load("an4")
    assert tuned.decoding.keys() == {"alpha", "beta", "beam_size", "oov_score", "blank_scale", "prior_weight"}
    assert f"alpha {tuned.decoding['alpha']:g}, beta {tuned.decoding['beta']:g}" in shown
    assert tuned.decoding["beam_size"] in (4, 8)
    trials = json.loads((out / "tuning.json").read_text(encoding="utf-8"))
    assert trials["decoding"] == tuned.decoding
    assert (tuned.decoding["alpha"], tuned.decoding["beta"]) in {(t["alpha"], t["beta"]) for t in trials["weights"]}
    assert (out / "tuning.png").read_bytes().startswith(b"\x89PNG")
    for name in set(FILES) - {"config.json", "README.md"}:
        assert (out / name).read_bytes() == (SHIPPED / "an4" / name).read_bytes()
    # The results of the old weights are gone, those without a language model stay.
    assert tuned.results == [row for row in shipped.results if row["decoder"] == "greedy"]
    assert "own LM" not in (out / "README.md").read_text(encoding="utf-8")
    assert "already exists" in run("--model", "an4", "--data", store, "--lm", lm, "--out", out, *QUICK, status=2)


def test_a_bundle_is_tuned_in_place_and_only_then(store, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need the [data] extra")
    model = tmp_path / "model"
    shutil.copytree(SHIPPED / "an4", model)
    (model / "README.md").write_text("my own words\n", encoding="utf-8")
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    run("--model", model, "--data", store, "--dry-run", *QUICK)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    run("--model", model, "--data", store, *QUICK)
    changed = {path.name for path in model.iterdir() if path.read_bytes() != before.get(path.name)}
    assert changed == {"config.json", "tuning.json", "tuning.png"}
    assert Bundle.load(model).decoding["beam_size"] in (4, 8)


def test_what_must_not_be_tuned_is_refused(store, tmp_path):
    assert "ships in the package" in run("--model", "an4", "--data", store, status=2)
    assert "no such language model" in run("--model", "an4", "--data", store, "--lm", "x.arpa", "--dry-run", status=2)
    assert "expected 2 or more" in run("--model", "an4", "--data", store, "--dry-run", "--beam-sizes", "1,8", status=2)
    shutil.copytree(store, tmp_path / "test")
    header = json.loads((tmp_path / "test" / "store.json").read_text(encoding="utf-8"))
    for split in ("test-clean", "speaker_test", "eval2000"):
        (tmp_path / "test" / "store.json").write_text(json.dumps({**header, "split": split}), encoding="utf-8")
        assert "a test set: weights tuned on it" in run(
            "--model", "an4", "--data", tmp_path / "test", "--dry-run", status=2
        )
    bare = tmp_path / "bare"
    shutil.copytree(SHIPPED / "an4", bare)
    (bare / "lm.bin").unlink()
    assert "has no language model" in run("--model", bare, "--data", store, status=2)


def test_shipped_weights_are_read(bundle):
    assert {"alpha", "beta"} <= bundle.decoding.keys()
    assert dataclasses.replace(bundle, directory=Path("elsewhere")).decoding == bundle.decoding
