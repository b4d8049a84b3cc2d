"""The training loop: an interrupted run ends as an undisturbed one, and every setting does what it says."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402

from asr.errors import ModelError, UsageError  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.distributed import Ranks  # noqa: E402
from asr.training.optimizer import schedule  # noqa: E402
from asr.training.steps import Schedule, Stepper  # noqa: E402
from tests.training.small_run import (  # noqa: E402
    CONFIG,
    MODEL,
    TOKENIZER,
    TRAIN,
    MemoryStore,
    Utterance,
    make_trainer,
    read_log,
)


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    """A page of curves takes a second to draw."""
    monkeypatch.setattr("asr.training.report.draw", lambda rows: "<svg></svg>")


class KilledError(Exception):
    pass


def kill_at_step(patch, number):
    """Let the process die in its step `number`, counted from 1, after its gradient is there."""
    count, original = 0, Stepper._update

    def update(*arguments):
        nonlocal count
        count += 1
        if count == number:
            raise KilledError
        return original(*arguments)

    patch.setattr(Stepper, "_update", update)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "adamw", "ema_decay": 0.9, "accumulate": 2, "average_best": 2},
        {"optimizer": "adamw", "precision": "bfloat16", "intermediate_ctc": 0.3},
        {"optimizer": "sgd"},
        {"optimizer": "rmsprop"},
    ],
    ids=str,
)
def test_killed_anywhere_and_resumed_ends_with_the_same_weights_and_log(tmp_path, monkeypatch, changes):
    # A checkpoint after every step; the position within an epoch is then exercised too.
    config = replace(CONFIG, checkpoint_minutes=1e-12, **changes)
    undisturbed = make_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    steps = sum(len(undisturbed._steps(epoch)) for epoch in range(config.epochs))
    assert steps >= 2 * config.epochs
    rng = np.random.default_rng(3)
    for kill_at in rng.choice(np.arange(2, steps), 2, replace=False):
        directory = tmp_path / f"killed_{kill_at}"
        with monkeypatch.context() as patch:
            kill_at_step(patch, kill_at)
            with pytest.raises(KilledError):
                make_trainer(directory, config).run()
        resumed = make_trainer(directory, config)
        resumed.run()
        for name, value in undisturbed.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), f"{name}, killed at step {kill_at}"
        assert read_log(directory) == read_log(tmp_path / "undisturbed")
        expected, got = (load_file(path / "best.safetensors") for path in (tmp_path / "undisturbed", directory))
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_finished_run_is_not_trained_again_and_logs_each_epoch_once(tmp_path):
    first = make_trainer(tmp_path)
    first.run()
    again = make_trainer(tmp_path)
    again.run()
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
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
    states = undisturbed.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for path in (tmp_path / "damaged" / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ModelError, match="no checkpoint of 2 can be read"):
        make_trainer(tmp_path / "damaged").run()


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


def test_the_gradient_is_of_the_mean_loss_of_an_utterance_over_all_accumulated_batches():
    # The second way: one backward pass for each utterance alone.
    config = replace(CONFIG, augment=None, intermediate_ctc=0.25, max_gradient_norm=1e9)
    torch.manual_seed(0)
    model = AcousticModel(replace(MODEL, dropout=0.0), 12, len(TOKENIZER)).double()
    source = BatchSource(TRAIN, TOKENIZER, MODEL, 120)
    batches = [source.load(planned) for planned in source.in_order()[:3]]
    batches = [replace(batch, features=batch.features.double()) for batch in batches]
    stepper = Stepper(model, config, Ranks())
    expected = torch.zeros_like(stepper.gradient.flat)
    for batch in batches:
        for row in range(len(batch.ids)):
            T, S = int(batch.feature_lengths[row]), int(batch.target_lengths[row])
            last, middle, lengths = model.forward_intermediate(batch.features[row : row + 1, :T], torch.tensor([T]))
            losses = [
                torch.nn.functional.ctc_loss(
                    log_probs.transpose(0, 1), batch.targets[row : row + 1, :S], lengths, torch.tensor([S])
                )
                * S
                for log_probs in (last, middle)
            ]
            loss = 0.75 * losses[0] + 0.25 * losses[1]
            gradients = torch.autograd.grad(loss, stepper.gradient.parameters)
            expected += torch.cat([gradient.reshape(-1) for gradient in gradients])
    expected /= sum(len(batch.ids) for batch in batches)
    stepper(batches, Schedule(learning_rate=0.0, seed=(0,)))
    torch.testing.assert_close(stepper.gradient.flat, expected, rtol=1e-9, atol=1e-12)


def test_averages_of_weights_are_those_that_are_kept(tmp_path):
    # Written out by hand: the average of the weights after each step, decay min(0.9, (1 + n) / (10 + n)).
    trainer = make_trainer(tmp_path, replace(CONFIG, epochs=1, ema_decay=0.9))
    average = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    original, steps = trainer.average.update, 0

    def update():
        nonlocal steps
        decay = min(0.9, (1 + steps) / (10 + steps))
        for name, value in trainer.model.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * value
        steps += 1
        original()

    trainer.average.update = update
    final = trainer.run()
    assert steps > 2
    for name, value in final.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=1e-5, atol=1e-7)


def test_the_final_model_is_the_mean_of_the_best_epochs(tmp_path):
    trainer = make_trainer(tmp_path, replace(CONFIG, average_best=2, learning_rate=0.02))
    final = trainer.run().state_dict()
    paths = sorted((tmp_path / "best").iterdir())
    assert len(paths) == 2
    weights = [load_file(path) for path in paths]
    for name, value in final.items():
        torch.testing.assert_close(value, (weights[0][name] + weights[1][name]) / 2)
    assert not torch.equal(weights[0]["output.weight"], weights[1]["output.weight"])


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    # So small a learning rate changes no word: the first epoch stays the best by WER, its loss must not fall either.
    trainer = make_trainer(tmp_path, replace(CONFIG, epochs=9, patience=2, learning_rate=1e-30))
    trainer.run()
    assert trainer.position.epoch == 3


def test_the_learning_rate_rises_then_falls():
    for decay, end in (("cosine", 0.01), ("linear", 0.01), ("constant", 1.0)):
        config = replace(CONFIG, warmup=0.2, decay=decay)
        rates = [schedule(progress, config) for progress in np.linspace(0, 1, 21)]
        assert np.argmax(rates) == 4
        assert rates[4] == pytest.approx(1)
        assert rates[-1] == pytest.approx(end)


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected auto, cpu"):
        make_trainer(tmp_path, replace(CONFIG, device="gpu"))
