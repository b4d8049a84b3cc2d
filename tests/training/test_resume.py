"""A run that was stopped or killed ends as an undisturbed one, and other settings are refused."""

import errno
import json
import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402

from asr.errors import ModelError, UsageError  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.steps import Stepper  # noqa: E402
from asr.training.validation import Validator  # noqa: E402
from tests.training.small_run import CONFIG, MemoryStore, make_trainer, read_log  # noqa: E402


def same_weights(one, other):
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class KilledError(Exception):
    pass


def die():
    raise KilledError


def at_step(patch, number, act):
    """Have `act` called in step `number`, counted from 1, after its gradient is there."""
    # The first is a trial that changes nothing.
    count, original = -1, Stepper._update

    def update(*arguments):
        nonlocal count
        count += 1
        if count == number:
            act()
        return original(*arguments)

    patch.setattr(Stepper, "_update", update)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "ema_decay": 0.9, "accumulate": 2, "average_best": 2},
        {"optimizer": "adamw", "precision": "auto", "intermediate_ctc": 0.3},
        {"optimizer": "sgd"},
        {"optimizer": "rmsprop", "freeze": ("layers.0",)},
        {"consistency": 0.2, "consistency_warmup": 0.5, "intermediate_ctc": 0.3, "choose_by": "loss"},
    ],
    ids=str,
)
def test_killed_anywhere_and_resumed_ends_with_the_same_weights_and_log(tmp_path, monkeypatch, changes):
    # A checkpoint after every step; the position within an epoch is then exercised too.
    config = replace(CONFIG, checkpoint_minutes=1e-12, **changes)
    undisturbed = make_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    steps = sum(len(undisturbed.loader.steps(epoch)) for epoch in range(config.epochs))
    assert steps >= 2 * config.epochs
    rng = np.random.default_rng(3)
    for kill_at in rng.choice(np.arange(2, steps), 2, replace=False):
        directory = tmp_path / f"killed_{kill_at}"
        with monkeypatch.context() as patch:
            at_step(patch, kill_at, die)
            with pytest.raises(KilledError):
                make_trainer(directory, config).run()
        resumed = make_trainer(directory, config)
        resumed.run()
        assert same_weights(undisturbed.model, resumed.model), f"killed at step {kill_at}"
        assert read_log(directory) == read_log(tmp_path / "undisturbed")
        expected, got = (load_file(path / "best.safetensors") for path in (tmp_path / "undisturbed", directory))
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_killed_after_the_last_step_of_an_epoch_it_goes_on_the_same(tmp_path, monkeypatch):
    config = replace(CONFIG, checkpoint_minutes=1e-12)
    undisturbed = make_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    with monkeypatch.context() as patch:
        patch.setattr(Validator, "__call__", lambda _self: die())
        with pytest.raises(KilledError):
            make_trainer(tmp_path / "killed", config).run()
    resumed = make_trainer(tmp_path / "killed", config)
    resumed.run()
    assert same_weights(undisturbed.model, resumed.model)
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "undisturbed")


def test_a_finished_run_is_not_trained_again_and_logs_each_epoch_once(tmp_path):
    first = make_trainer(tmp_path)
    first.run()
    again = make_trainer(tmp_path)
    again.run()
    assert same_weights(first.model, again.model)
    assert [row["epoch"] for row in read_log(tmp_path)] == ["1", "2", "3"]


def test_other_settings_are_named_and_refused_unless_accepted(tmp_path):
    make_trainer(tmp_path).run()
    with pytest.raises(ModelError, match=r"training\.learning_rate: 0\.001 → 0\.5\); expected"):
        make_trainer(tmp_path, replace(CONFIG, learning_rate=0.5)).run()
    with pytest.raises(ModelError, match=r"data\.train"):
        make_trainer(tmp_path, train=MemoryStore(14, 5)).run()
    make_trainer(tmp_path, replace(CONFIG, device="auto", checkpoint_minutes=3)).run()
    longer = make_trainer(tmp_path, replace(CONFIG, epochs=4))
    longer.run(accept_changes=True)
    assert longer.position.epoch == 4


def test_accepted_changes_are_kept_from_the_first_step_on(tmp_path, monkeypatch):
    before = replace(CONFIG, checkpoint_minutes=1e-12)
    changed = replace(before, learning_rate=0.002, optimizer="sgd", average_best=2)
    in_second_epoch = len(make_trainer(tmp_path, before).loader.steps(0)) + 3
    for config, kill_at in ((before, in_second_epoch), (changed, 2)):
        with monkeypatch.context() as patch:
            at_step(patch, kill_at, die)
            with pytest.raises(KilledError):
                make_trainer(tmp_path, config).run(accept_changes=True)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["epoch_0001_step_000000.pt", "epoch_0001_step_000001.pt"]
    resumed = make_trainer(tmp_path, changed)
    resumed.run()
    assert resumed.position.changed == 1
    assert {score.epoch for score in resumed.position.best} == {1, 2}
    # Of a finished run, of which only the best epoch was kept.
    make_trainer(tmp_path / "finished", before).run()
    alone = make_trainer(tmp_path / "finished", before).run()
    averaged = make_trainer(tmp_path / "finished", replace(before, average_best=2)).run(accept_changes=True)
    assert same_weights(alone, averaged)


def test_other_tokens_are_refused_always_and_errors_on_another_dev_set_forgotten(tmp_path):
    make_trainer(tmp_path).run()
    with pytest.raises(ModelError, match=r"tokens: .*another output directory, or delete"):
        make_trainer(tmp_path, tokenizer=CharTokenizer.from_texts(["abc "])).run(accept_changes=True)
    again = make_trainer(tmp_path, replace(CONFIG, epochs=4), dev=MemoryStore(5, 8))
    again.run(accept_changes=True)
    assert [score.epoch for score in again.position.best] == [3]


def test_a_diverged_run_whose_dev_set_was_changed_ends_in_its_message(tmp_path):
    make_trainer(tmp_path).run()
    config = replace(CONFIG, epochs=20, learning_rate=100.0, optimizer="sgd", precision="float32", max_skipped=2)
    with pytest.raises(ModelError, match="training does not learn"):
        make_trainer(tmp_path, config, dev=MemoryStore(5, 8)).run(accept_changes=True)
    assert "best epoch" not in (tmp_path / "training.html").read_text()


def test_layers_that_are_no_longer_frozen_begin_anew_and_the_others_go_on(tmp_path):
    frozen = replace(CONFIG, freeze=("front_end", "layers.1"), ema_decay=0.9)
    first = make_trainer(tmp_path, frozen)
    first.run()
    with pytest.raises(ModelError, match=r"training\.freeze: \['front_end', 'layers\.1'\] → \['output'\]"):
        make_trainer(tmp_path, replace(frozen, freeze=("output",))).run()
    again = make_trainer(tmp_path, replace(frozen, freeze=("output",), epochs=4))
    begun = make_trainer(tmp_path / "new", again.config)
    for trainer in (first, again):
        trainer.trained = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    again._resume(accept_changes=True)
    before, after = (trainer.stepper.optimizer.state for trainer in (first, again))
    kept = dict(first.trained)
    averages = {name: average for (name, _), average in zip(first.trained, first.average.averages, strict=True)}
    assert begun.average.steps == 0 < again.average.steps
    for (name, weight), average in zip(again.trained, again.average.averages, strict=True):
        assert name.startswith(("front_end", "layers."))
        if name.startswith("layers.0"):
            for key, value in before[kept[name]].items():
                assert torch.equal(after[weight][key], value)
            assert torch.equal(average, averages[name])
        else:
            assert weight not in after
            assert torch.equal(average, weight)
    again.run()
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert {row.count(",") for row in rows} == {header.count(",")}
    assert read_log(tmp_path)[0]["gradient_norm.layers.1"] == "" != read_log(tmp_path)[3]["gradient_norm.layers.1"]


def test_a_checkpoint_of_before_a_setting_was_there_goes_on(tmp_path):
    first = make_trainer(tmp_path)
    first.run()
    for path in (tmp_path / "checkpoints").iterdir():
        values = torch.load(path, weights_only=True)
        settings = json.loads(values["settings"])
        del settings["training"]["freeze"], settings["training"]["augment"]["time_mask_share"]
        torch.save({**values, "settings": json.dumps(settings)}, path)
    assert same_weights(first.model, make_trainer(tmp_path).run())
    with pytest.raises(ModelError, match=r"training\.freeze: \[\] → \['output'\]\)"):
        make_trainer(tmp_path, replace(CONFIG, freeze=("output",))).run()


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path, capfd):
    # One byte of a weight, which the format itself would not notice.
    undisturbed = make_trainer(tmp_path / "undisturbed")
    undisturbed.run()
    make_trainer(tmp_path / "damaged").run()
    *_, last = sorted((tmp_path / "damaged" / "checkpoints").iterdir())
    weights = torch.load(last, weights_only=True)["model"]["output.weight"]
    content = bytearray(last.read_bytes())
    content[content.index(weights.numpy().tobytes())] ^= 1
    last.write_bytes(content)
    resumed = make_trainer(tmp_path / "damaged")
    resumed.run()
    assert f"{last}: is damaged" in capfd.readouterr().err
    assert same_weights(undisturbed.model, resumed.model)
    for path in (tmp_path / "damaged" / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ModelError, match="no checkpoint of 2 can be read"):
        make_trainer(tmp_path / "damaged").run()


def test_ctrl_c_and_sigterm_end_the_step_write_a_checkpoint_and_leave(tmp_path, monkeypatch, capfd):
    undisturbed = make_trainer(tmp_path / "undisturbed")
    undisturbed.run()
    for number, leaves in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        directory = tmp_path / str(number)
        with monkeypatch.context() as patch:
            at_step(patch, 3, lambda number=number: signal.raise_signal(number))
            handler = signal.getsignal(number)
            with pytest.raises(leaves) as caught:
                make_trainer(directory).run()
            assert signal.getsignal(number) is handler
        if isinstance(caught.value, SystemExit):
            assert caught.value.code == 143
        assert "stopped at epoch 1, after 3 of its steps; run the same command again" in capfd.readouterr().err
        resumed = make_trainer(directory)
        resumed.run()
        assert same_weights(undisturbed.model, resumed.model)
        assert read_log(directory) == read_log(tmp_path / "undisturbed")


def test_a_full_disk_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        original, count = torch.save, 0

        def save(values, file):
            nonlocal count
            count += 1
            original(values, FullDisk(file) if count == 2 else file)

        patch.setattr("asr.training.checkpoint.torch.save", save)
        with pytest.raises(ModelError, match="No space left on device"):
            make_trainer(tmp_path).run()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch_0001_step_000000.pt"]
    trainer = make_trainer(tmp_path)
    trainer.run()
    assert len(trainer.history) == 3


class FullDisk:
    """A file on a disk that is full after its first hundred bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, content):
        self.file.write(content[:100])
        if len(content) > 100 or self.file.tell() > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(content)

    def flush(self):
        self.file.flush()


def test_a_directory_that_cannot_be_written_is_refused_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(Stepper, "__call__", None)
    with pytest.raises(UsageError, match="cannot be written to"):
        make_trainer(tmp_path / "file" / "run").run()
