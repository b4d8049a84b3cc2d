"""What torch makes of waveforms on a device, here the CPU, is what NumPy makes of them."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from asr.errors import UsageError  # noqa: E402
from asr.store.store import AudioStore, FeatureStore  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.steps import Stepper  # noqa: E402
from asr.training.waveforms import Waveforms, play  # noqa: E402
from asr.training.waveforms_on_device import WaveformsOnDevice  # noqa: E402
from tests.training.conftest import RATE  # noqa: E402
from tests.training.small_run import CONFIG, MODEL, make_trainer, read_log  # noqa: E402

TOKENIZER = CharTokenizer.from_texts(["so it is "])
CPU = torch.device("cpu")
EVERYTHING = AugmentConfig(
    pause_probability=0.5, pause_seconds=0.3, noise_probability=0.5, noise_utterances=0.3, time_masks_per_second=4
)


@pytest.mark.parametrize("average", [None, np.linspace(-9, -3, 20, dtype=np.float32)], ids=["own mean", "average"])
@pytest.mark.parametrize("what", ["nothing", "everything"])
def test_batches_are_those_of_numpy(stores, waveform, monkeypatch, what, average):
    # NumPy's go through float16, as stored features do; what comes before is compared.
    monkeypatch.setattr(Waveforms, "_log_mel", lambda self, samples: self.log_mel(samples))
    store = AudioStore.open(stores / "audio/train")
    waveform = replace(waveform, reverberation_probability=0.7, noise_probability=0.7)
    augment = replace(EVERYTHING, waveform=waveform) if what == "everything" else AugmentConfig(noise_utterances=0.1)
    here, there = (BatchSource(store, TOKENIZER, MODEL, 500, augment) for _ in range(2))
    there.features.work_on(CPU)
    here.features.average = there.features.average = average
    differences = []
    for epoch in range(4):
        for planned in here.plan(1, epoch):
            ours, theirs = (source.batch(planned, 1, epoch, views=2) for source in (there, here))
            assert ours.feature_lengths.equal(theirs.feature_lengths)
            assert ours.feature_lengths.tolist() == 2 * planned.lengths.total.tolist()
            assert ours.ids == theirs.ids
            differences.append((ours.features - theirs.features).abs().flatten())
    assert torch.cat(differences).max() < 1e-4


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.95, 1.003, 1.1, 2.0])
def test_it_plays_at_a_speed_as_the_cpu_does(stores, speed):
    stage = WaveformsOnDevice(Waveforms(AudioStore.open(stores / "audio/train"), None), CPU)
    rng = np.random.default_rng(3)
    for num_samples in (2, 79, 500, 4001):
        samples = rng.uniform(-1, 1, num_samples).astype(np.float32)
        played = stage._played(torch.from_numpy(samples), speed).numpy()
        np.testing.assert_allclose(played, play(samples, speed, RATE), atol=3e-6)


def test_a_run_from_waveforms_killed_and_resumed_ends_with_the_same_weights(stores, waveform, tmp_path, monkeypatch):
    store = AudioStore.open(stores / "audio/train")
    config = replace(
        CONFIG, batch_seconds=2.5, checkpoint_minutes=1e-12, waveforms_on="device",
        augment=replace(EVERYTHING, waveform=waveform),
    )  # fmt: skip

    def trainer(name):
        return make_trainer(tmp_path / name, config, train=store, dev=store, tokenizer=TOKENIZER)

    undisturbed = trainer("undisturbed")
    expected = undisturbed.run().state_dict()
    assert len(undisturbed.loader.steps(1)) >= 3
    steps, original = 0, Stepper._update

    def update(*arguments):
        nonlocal steps
        steps += 1
        # In the second epoch; the first step is a trial that changes nothing.
        if steps == 1 + len(undisturbed.loader.steps(0)) + 2:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "_update", update)
        with pytest.raises(KeyboardInterrupt):
            trainer("killed").run()
    resumed = trainer("killed").run().state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "undisturbed")


def test_a_store_of_features_is_refused(stores, tmp_path):
    store = FeatureStore.open(stores / "features/train")
    with pytest.raises(UsageError, match=r"waveforms_on=device: .* holds features; expected waveforms"):
        make_trainer(tmp_path, replace(CONFIG, waveforms_on="device"), store, store, TOKENIZER)
