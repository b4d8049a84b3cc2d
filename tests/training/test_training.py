"""The loop: an interrupted run ends as an undisturbed one."""

import csv
from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402

from asr.errors import ModelError, UsageError  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig, TrainingConfig  # noqa: E402
from asr.training.loop import MAX_SKIPPED, Trainer  # noqa: E402
from asr.training.optimizer import schedule  # noqa: E402

MODEL = ModelConfig(cell="gru", num_layers=1, hidden_size=6, conv_channels=2, time_reduction=2)
TOKENIZER = CharTokenizer.from_texts(["ab "])
CONFIG = TrainingConfig(epochs=3, batch_seconds=1.2, device="cpu", augment=AugmentConfig(noise_utterances=0.2))


@dataclass
class Utterance:
    features: np.ndarray


class MemoryStore:
    """A feature store in memory."""

    config = LogMelConfig(sample_rate=8000, n_mels=12)

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.num_frames = rng.integers(12, 60, count)
        self.header = {"shards": [seed]}
        self.filterbank = mel_filterbank(self.config)
        self.durations_seconds = self.num_frames * 0.01
        self.ids = [f"u{i}" for i in range(count)]
        self.texts = ["".join(rng.choice(list("ab"), rng.integers(1, 4))) for _ in range(count)]
        self.utterances = [Utterance(rng.standard_normal((n, 12)).astype(np.float16)) for n in self.num_frames]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Utterance:
        return self.utterances[index]


TRAIN, DEV = MemoryStore(14, 1), MemoryStore(4, 2)


def make_trainer(directory, config=CONFIG, train=TRAIN):
    torch.manual_seed(config.seed)
    model = AcousticModel(MODEL, 12, len(TOKENIZER))
    frames = round(100 * config.batch_seconds)
    sources = BatchSource(train, TOKENIZER, MODEL, frames, config.augment), BatchSource(DEV, TOKENIZER, MODEL, frames)
    return Trainer(model, TOKENIZER, *sources, config, directory)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "rmsprop"])
def test_killed_anywhere_and_resumed_ends_with_the_same_weights(tmp_path, monkeypatch, optimizer):
    # A checkpoint after every batch; the position within an epoch is then exercised too.
    config = replace(CONFIG, optimizer=optimizer, checkpoint_minutes=1e-12)
    undisturbed = make_trainer(tmp_path / "undisturbed", config)
    undisturbed.run()
    steps = sum(len(undisturbed.train_source.plan(config.seed, epoch)) for epoch in range(config.epochs))
    assert steps > 3 * config.epochs
    rng = np.random.default_rng(3)
    for kill_at in rng.choice(np.arange(1, steps), 3, replace=False):
        directory = tmp_path / f"killed_{kill_at}"
        count = 0
        original = Trainer._step

        def step(self, *arguments, kill_at=kill_at, original=original, **named):
            nonlocal count
            count += 1
            if count == kill_at:
                raise KilledError
            original(self, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", step)
            with pytest.raises(KilledError):
                make_trainer(directory, config).run()
        resumed = make_trainer(directory, config)
        assert (resumed.position.epoch, resumed.position.batch) != (0, 0) or kill_at == 1
        resumed.run()
        for name, value in undisturbed.model.state_dict().items():
            assert torch.equal(value, resumed.model.state_dict()[name]), f"{name}, killed at step {kill_at}"
        expected, got = (load_file(path / "best.safetensors") for path in (tmp_path / "undisturbed", directory))
        assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_a_finished_run_is_not_trained_again_and_logs_each_epoch_once(tmp_path):
    first = make_trainer(tmp_path)
    first.run()
    again = make_trainer(tmp_path)
    again.run()
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))
    with (tmp_path / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    make_trainer(tmp_path).run()
    with pytest.raises(ModelError, match="other settings"):
        make_trainer(tmp_path, replace(CONFIG, learning_rate=0.5))
    with pytest.raises(ModelError, match="other settings or data"):
        make_trainer(tmp_path, train=MemoryStore(14, 5))
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="is not a checkpoint"):
        make_trainer(tmp_path)


def test_a_loss_that_is_not_finite_changes_nothing_and_ends_the_run_if_it_stays(tmp_path):
    bad = MemoryStore(14, 1)
    bad.utterances = [Utterance(np.full_like(u.features, np.nan)) for u in bad.utterances]
    # No masks: they could hide all of a short utterance.
    unmasked = AugmentConfig(frequency_masks=0, time_masks_per_second=0)
    trainer = make_trainer(tmp_path, replace(CONFIG, augment=unmasked), train=bad)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    with pytest.raises(ModelError, match=f"{MAX_SKIPPED} batches in a row"):
        trainer.run()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))


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
