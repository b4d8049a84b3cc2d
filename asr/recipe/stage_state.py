"""Notes in ``<out>/stages.json`` of each stage's inputs, by which stages know that they are finished."""

import json
from pathlib import Path
from typing import Any

from asr.errors import UsageError
from asr.files import write_text
from asr.recipe.recipe import Run
from asr.settings import completed, differences, to_dict
from asr.training.config import FREE_SETTINGS, TrainingConfig

STAMPS = "stages.json"
SETTINGS = "settings.json"
# What a checkpoint depends on so much that training cannot go on from it with another value.
FIXED = ("features", "tokenizer", "intermediate_tokenizer", "init", "model")
# Of these, what may change all the same.
LOOSE = ("model.dropout", "model.variational_dropout")
# What may change but must be meant; the other settings are those of stages that are simply done again.
MEANT = ("corpus", "train", "dev", "waveforms", "speeds", "training")


def read_stamps(out: Path) -> dict[str, Any]:
    """Return the inputs of each finished stage; empty if unknown."""
    try:
        stamps: dict[str, Any] = json.loads((out / STAMPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps


def write_stamp(out: Path, stage: str, stamp: dict[str, Any]) -> None:
    """Note the inputs of a finished stage."""
    write_text(out / STAMPS, json.dumps({**read_stamps(out), stage: stamp}, indent=1) + "\n")


def is_current(out: Path, stage: str, stamp: dict[str, Any], *outputs: Path) -> bool:
    """Return whether `stage` was finished with the inputs in `stamp`, and its `outputs` exist."""
    return all(path.exists() for path in outputs) and read_stamps(out).get(stage) == stamp


def learned_settings(run: Run) -> dict[str, Any]:
    """Return all settings that affect what is learned, nested as in the recipe."""
    values: dict[str, Any] = json.loads(json.dumps(to_dict(run.recipe)))
    settings = {name: values[name] for name in (*FIXED, *MEANT)}
    # A lexicon may grow while the phones of the training words stay: see `targets_digest`. Runs that began before
    # there were phones have noted none of these.
    phones = run.recipe.tokenizer.kind == "phones"
    for name in ("lexicon", "g2p") if phones else ("lexicon", "g2p", "word_boundary"):
        del settings["tokenizer"][name]
    settings["training"] = {name: value for name, value in values["training"].items() if name not in FREE_SETTINGS}
    return settings


def check_settings(run: Run) -> None:
    """Refuse to resume with other settings than those with which training in this folder began.

    Raises
    ------
    UsageError
        Naming the settings; with `Run.allow_changes` only for those that make the weights invalid.
    """
    try:
        before = json.loads((run.out / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    now = learned_settings(run)
    # What a version before did not have was as the default says.
    defaults = {key: value for key, value in to_dict(TrainingConfig()).items() if key in now["training"]}
    before = completed(before, {"training": defaults})
    changes = {key: change for key, *change in differences(before, now)}
    impossible = {key for key in changes if key.partition(".")[0] in FIXED and key not in LOOSE}
    told = {key: change for key, change in changes.items() if key in impossible or not run.allow_changes}
    if not told:
        return
    listed = "; ".join(f"{key}: {old!r:.60} → {new!r:.60}" for key, (old, new) in told.items())
    remedy = (
        "the weights there do not fit: choose another --out" if impossible
        else "go back to them, choose another --out, or accept the changes with --allow-changes"
    )  # fmt: skip
    raise UsageError(f"{run.out}: its run has other settings: {listed}; expected the same ones: {remedy}")


def write_settings(run: Run) -> None:
    """Note the settings with which training begins, for `check_settings`."""
    write_text(run.out / SETTINGS, json.dumps(learned_settings(run), indent=1, ensure_ascii=False) + "\n")
