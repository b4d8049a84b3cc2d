"""Dataclasses ↔ JSON, and overrides."""

import json

import pytest

from asr.errors import UsageError
from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import Recipe
from asr.settings import from_dict, override, to_dict
from asr.training.config import TrainingConfig

RECIPE = Recipe(name="x", corpus="x", description="x", licence="x")


@pytest.mark.parametrize(
    "settings",
    [
        RECIPE,
        ModelConfig(cell="gru", time_reduction=2),
        TrainingConfig(optimizer="sgd"),
        LogMelConfig(n_mels=2, high_hz=4_000.0),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_json_round_trip(settings):
    assert from_dict(type(settings), json.loads(json.dumps(to_dict(settings))), "settings") == settings


def test_overrides_take_the_types_of_their_fields():
    changed = override(
        RECIPE,
        ["training.epochs=5", "training.learning_rate=1", "model.cell=gru", "model.bidirectional=false",
         'test=("a", "b")', "training.augment.time_stretch=0.2", "name=7x"],
    )  # fmt: skip
    assert changed.training.epochs == 5
    assert changed.training.learning_rate == 1.0
    assert isinstance(changed.training.learning_rate, float)
    assert (changed.model.cell, changed.model.bidirectional) == ("gru", False)
    assert changed.test == ("a", "b")
    assert changed.training.augment.time_stretch == 0.2
    assert changed.name == "7x"
    assert override(RECIPE, ["test=a"]).test == ("a",)
    assert RECIPE.training.epochs == TrainingConfig().epochs


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epoch=5", r"did you mean 'epochs'"),
        ("trainin.epochs=5", r"did you mean 'training'"),
        ("training.epochs=many", r"expected int"),
        ("training.epochs=2.5", r"expected int"),
        ("training.epochs=0", r"expected a positive number"),
        ("training.epochs", r"expected KEY=VALUE"),
        ("training=5", r"training.epochs"),
        ("training.epochs.x=5", r"is not a group of settings"),
        ("model.cell=lstn", r"did you mean 'lstm'"),
        ("model.time_reduction=3", r"expected one of 2, 4"),
        ("model.bidirectional=1", r"expected bool"),
        ("test=(1, 2)", r"test\[0\] is 1; expected str"),
    ],
)
def test_what_cannot_be_meant_is_refused(assignment, message):
    with pytest.raises(UsageError, match=message):
        override(RECIPE, [assignment])


def test_a_recipe_in_python_is_checked_too():
    for wrong in ({"optimizer": "adam"}, {"decay": "exponential"}, {"learning_rate": float("inf")}):
        with pytest.raises(UsageError, match=f"training.{next(iter(wrong))} is "):
            TrainingConfig(**wrong)
