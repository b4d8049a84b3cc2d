"""The training loop: an interrupted run ends as an undisturbed one, and every setting does what it says."""

import errno
import itertools
import json
import os
import re
import signal
import threading
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch._inductor.exc import InductorError  # noqa: E402

from asr.errors import DataError, ModelError, UsageError  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.distributed import Ranks  # noqa: E402
from asr.training.health import Health  # noqa: E402
from asr.training.optimizer import computes_in_bfloat16, schedule  # noqa: E402
from asr.training.prefetch import prefetched  # noqa: E402
from asr.training.steps import Outcomes, Schedule, Stepper  # noqa: E402
from asr.training.validation import Validator  # noqa: E402
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
    steps = sum(len(undisturbed.feed.steps(epoch)) for epoch in range(config.epochs))
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
        for name, value in undisturbed.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), f"{name}, killed at step {kill_at}"
        assert read_log(directory) == read_log(tmp_path / "undisturbed")
        expected, got = (load_file(path / "best.safetensors") for path in (tmp_path / "undisturbed", directory))
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_killed_after_the_last_step_of_an_epoch_it_goes_on_the_same(tmp_path, monkeypatch):
    config = replace(CONFIG, checkpoint_minutes=1e-12)
    undisturbed = make_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    with monkeypatch.context() as patch:
        patch.setattr(Validator, "__call__", lambda self: die())
        with pytest.raises(KilledError):
            make_trainer(tmp_path / "killed", config).run()
    resumed = make_trainer(tmp_path / "killed", config)
    resumed.run()
    states = undisturbed.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "undisturbed")


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


def test_accepted_changes_are_kept_from_the_first_step_on(tmp_path, monkeypatch):
    before = replace(CONFIG, checkpoint_minutes=1e-12)
    changed = replace(before, learning_rate=0.002, optimizer="sgd", average_best=2)
    in_second_epoch = len(make_trainer(tmp_path, before).feed.steps(0)) + 3
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
    states = alone.state_dict(), averaged.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_other_tokens_are_refused_always_and_errors_on_another_dev_set_forgotten(tmp_path):
    make_trainer(tmp_path).run()
    with pytest.raises(ModelError, match=r"tokens: .*another output directory, or delete"):
        make_trainer(tmp_path, tokenizer=CharTokenizer.from_texts(["abc "])).run(accept_changes=True)
    again = make_trainer(tmp_path, replace(CONFIG, epochs=4), dev=MemoryStore(5, 8))
    again.run(accept_changes=True)
    assert [score.epoch for score in again.position.best] == [3]


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
        if leaves is SystemExit:
            assert caught.value.code == 143
        assert "stopped at epoch 1, after 3 steps of it; run the same command again" in capfd.readouterr().err
        resumed = make_trainer(directory)
        resumed.run()
        states = undisturbed.model.state_dict(), resumed.model.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
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

    def __init__(self, file) -> None:
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


def test_sets_with_different_features_are_refused(tmp_path):
    other = MemoryStore(14, 1)
    other.config = replace(other.config, hop_seconds=0.02)
    with pytest.raises(DataError, match=r"hop_seconds: 0\.01 \(expected 0\.02\)"):
        make_trainer(tmp_path, train=other)


def test_batches_left_out_are_kept_and_counted(tmp_path, monkeypatch):
    original = Stepper.loss

    def loss(self, batch):
        total, counts = original(self, batch)
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
        "dev_wer": [1.0, 0.9, 0.5, 0.3, 0.2, 0.1, 0.1],
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
    still = rows_of(dev_wer=[1.0] * 7, train_loss=[3.0, 2.9, 2.88, 2.9, 2.89, 2.89, 2.89])
    slow = rows_of(dev_wer=[1.0] * 7, train_loss=[3.0, 2.9, 2.88, 2.86, 2.83, 2.81, 2.8])
    heard = rows_of(dev_wer=[1.0, 1.0, 0.9, 1.0, 1.0, 1.0, 1.0], train_loss=[3.0] * 7)
    for rows in (still[:5], slow, heard):
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


def test_a_gpu_is_asked_late_how_its_steps_went_and_no_answer_is_lost():
    outcomes = Outcomes(torch.device("cpu"), lag=2)
    answers, asked = [], []
    for step in range(5):
        outcomes.add(torch.tensor(float(step == 1)), step)
        answers += outcomes.known()
        asked.append(len(answers))
    answers += outcomes.known(all_of_them=True)
    assert asked == [0, 0, 1, 2, 3]
    assert answers == [(step == 1, step) for step in range(5)]


def test_prefetching_keeps_the_order_and_raises_where_the_result_would_come():
    def make(number):
        if number == 5:
            raise DataError("five")
        return number * number

    with prefetched(make, range(9), ahead=2) as made:
        assert [next(made) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(DataError, match="five"):
            next(made)
    before = threading.active_count()
    # Left in the middle: the thread ends.
    with prefetched(make, itertools.repeat(2), ahead=2) as made:
        next(made)
    assert threading.active_count() == before


def test_the_front_end_is_compiled_where_it_is_asked_for(tmp_path, monkeypatch):
    compiled = []

    def compile_module(self, **options):
        compiled.append((self, options))

        def fail(*arguments):
            raise InductorError(RuntimeError("no compiler"), None)

        self._compiled_call_impl = fail

    monkeypatch.setattr(torch.nn.Module, "compile", compile_module)
    trainer = make_trainer(tmp_path, replace(CONFIG, compile_front_end=True))
    assert compiled == [(trainer.model.front_end, {"dynamic": True})]
    with pytest.raises(UsageError, match=r"training\.compile_front_end: torch\.compile failed .*no compiler"):
        trainer.run()


def test_events_and_a_page_of_curves_are_written(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    monkeypatch.undo()
    make_trainer(tmp_path, replace(CONFIG, tensorboard=True)).run()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [float(row["dev_loss"]) for row in read_log(tmp_path)]
    assert [event.value for event in events.Scalars("dev_loss")] == pytest.approx(logged, rel=1e-5)
    page = (tmp_path / "training.html").read_text(encoding="utf-8")
    assert "training.learning_rate<td>0.001" in page
    assert page.count("<svg") == 1
    # Nothing is loaded from anywhere.
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!#)\w+:""", page.replace('xlink:href="#', ""))
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_auto_precision_asks_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    for amx in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=amx: {"amx_bf16": amx}, raising=False)
        assert computes_in_bfloat16("auto", cpu) == amx
        assert computes_in_bfloat16("bfloat16", cpu)
        assert not computes_in_bfloat16("float32", cpu)
