"""A run that does not learn says so in words, and what it leaves out is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors import safe_open  # noqa: E402

from asr.errors import ModelError  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.health import Health  # noqa: E402
from asr.training.steps import Stepper  # noqa: E402
from tests.training.small_run import (  # noqa: E402
    CONFIG,
    MemoryStore,
    Utterance,
    make_trainer,
)


def test_a_loss_that_is_not_finite_changes_nothing_and_ends_the_run_if_it_stays(tmp_path):
    bad = MemoryStore(14, 1)
    bad.utterances = [Utterance(np.full_like(u.features, np.nan)) for u in bad.utterances]
    # No masks: they could hide all of a short utterance.
    unmasked = AugmentConfig(frequency_masks=0, time_masks_per_second=0, noise_utterances=0)
    for optimizer in ("adamw", "sgd", "rmsprop"):
        config = replace(CONFIG, augment=unmasked, max_skipped=4, optimizer=optimizer)
        trainer = make_trainer(tmp_path / optimizer, config, train=bad)
        before = [parameter.clone() for parameter in trainer.model.parameters()]
        with pytest.raises(ModelError, match="4 steps in a row"):
            trainer.run()
        assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


def test_batches_left_out_are_kept_and_counted(tmp_path, monkeypatch):
    original = Stepper.loss

    def loss(self, batch, schedule):
        total, counts = original(self, batch, schedule)
        return (total * float("nan"), counts) if "u3" in batch.ids else (total, counts)

    monkeypatch.setattr(Stepper, "loss", loss)
    trainer = make_trainer(tmp_path)
    trainer.run()
    assert [row["skipped"] for row in trainer.history] == [1, 1, 1]
    kept = sorted((tmp_path / "skipped").iterdir())
    assert len(kept) == 3
    with safe_open(kept[0], "pt") as file:
        assert "u3" in json.loads(file.metadata()["ids"])[0]
        assert file.get_tensor("features.0").shape[2] == 12


def test_a_far_too_large_learning_rate_ends_in_a_message(tmp_path):
    # SGD, clipped: weights that have gone far away have a loss that is finite and huge.
    config = replace(CONFIG, epochs=20, learning_rate=100.0, optimizer="sgd", precision="float32")
    with pytest.raises(ModelError, match=r"training does not learn: .*lower training\.learning_rate \(now 100\)"):
        make_trainer(tmp_path, config).run()


def rows_of(**columns):
    """Log rows of five epochs; what is not given is that of a healthy run."""
    healthy = {
        "train_loss": [3.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.1],
        "dev_cer": [1.0, 0.9, 0.5, 0.3, 0.2, 0.1, 0.1],
        "clipped": [0.5, 0.1, 0, 0, 0, 0, 0],
        "gradient_norm": [90, 50, 20, 10, 9, 8, 8],
        "gradient_norm.front_end": [60, 30, 10, 5, 5, 5, 5],
        "gradient_norm.layers.0": [60, 30, 10, 5, 5, 5, 5],
        "update.layers.0": [0.003, 0.002, 0.002, 0.001, 0.001, 0.001, 0.001],
        "blank": [0.5, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7],
    }
    columns = {**healthy, **{key.replace("__", "."): value for key, value in columns.items()}}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("columns", "warning"),
    [
        ({}, None),
        ({"gradient_norm__layers.0": [1e-3] * 7}, "gradients vanish in layers.0"),
        ({"clipped": [1.0] * 7, "gradient_norm": [1e5] * 7}, "gradients explode: 100 % of the steps"),
        ({"update__layers.0": [0.3] * 7}, "each step changes the weights of layers.0 by 30.0 %"),
    ],
)
def test_warnings_say_what_is_wrong_once(tmp_path, columns, warning):
    said = []
    health = Health(replace(CONFIG, epochs=50), tmp_path, 30, said.append)
    rows = rows_of(**columns)
    for count in range(1, len(rows) + 1):
        health.check_epoch(rows[:count])
    assert [warning in text for text in said] == [True] * (warning is not None)


def test_a_run_that_stands_still_is_stopped_and_a_slow_one_is_not(tmp_path):
    health = Health(replace(CONFIG, epochs=30), tmp_path, 30, pytest.fail)
    still = rows_of(dev_cer=[1.0] * 7, train_loss=[3.0, 2.9, 2.88, 2.9, 2.89, 2.89, 2.89])
    slow = rows_of(dev_cer=[1.0] * 7, train_loss=[3.0, 2.9, 2.88, 2.86, 2.83, 2.81, 2.8])
    heard = rows_of(dev_cer=[1.0, 1.0, 0.8, 1.0, 1.0, 1.0, 1.0], train_loss=[3.0] * 7)
    # All words are wrong, but most letters right: it has learned what it can.
    converged = rows_of(dev_wer=[0.97] * 7, dev_cer=[0.4] * 7, train_loss=[0.1] * 7)
    for rows in (still[:5], slow, heard, converged):
        health.check_epoch(rows)
    with pytest.raises(ModelError, match="for 5 epochs nothing has been recognised"):
        health.check_epoch(still)


def test_a_run_that_was_stopped_stays_so_until_its_settings_change(tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=4, learning_rate=1e-30)
    with monkeypatch.context() as patch:
        patch.setattr("asr.training.health.STANDSTILL_EPOCHS", 1)
        # The losses of so few utterances differ from epoch to epoch.
        patch.setattr("asr.training.health.STANDSTILL_FALL", 1.0)
        with pytest.raises(ModelError, match="nothing has been recognised"):
            make_trainer(tmp_path, config).run()
        patch.setattr(Stepper, "__call__", None)
        with pytest.raises(ModelError, match="nothing has been recognised"):
            make_trainer(tmp_path, config).run()
    changed = make_trainer(tmp_path, replace(config, learning_rate=0.01))
    changed.run(accept_changes=True)
    assert changed.position.epoch == 4
