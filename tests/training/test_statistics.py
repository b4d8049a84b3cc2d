"""Mean and deviation of the training set, and what a model does with them from the first step to the bundle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from asr.errors import DataError  # noqa: E402
from asr.model import AcousticModel  # noqa: E402
from asr.preparation.options import PrepareOptions  # noqa: E402
from asr.preparation.prepare import prepare  # noqa: E402
from asr.store.store import AudioStore, FeatureStore  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402
from asr.training.loop import Trainer  # noqa: E402
from asr.training.statistics import feature_statistics  # noqa: E402
from tests.training.small_run import CONFIG, DEV, MODEL, TOKENIZER, TRAIN  # noqa: E402

PLAIN = replace(CONFIG, epochs=1, augment=AugmentConfig(noise_utterances=0))


def test_they_are_those_of_all_frames(toy, tmp_path):
    prepare(toy, tmp_path / "features", PrepareOptions(quiet=True))
    prepare(toy, tmp_path / "audio", PrepareOptions(quiet=True, kind="audio"))
    store = FeatureStore.open(tmp_path / "features" / "train")
    frames = np.concatenate([utterance.features for utterance in store]).astype(np.float64)
    mean, std = feature_statistics(store)
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-5)
    audio = AudioStore.open(tmp_path / "audio" / "train")
    for measured, expected in zip(feature_statistics(audio), (mean, std), strict=True):
        np.testing.assert_allclose(measured, expected, atol=1e-3)
    # Of the fourth and the last utterance, three and one time.
    weights = np.zeros(len(store))
    weights[[3, -1]] = 3, 1
    several = np.concatenate([store[index].features for index in (3, 3, 3, -1)]).astype(np.float64)
    np.testing.assert_allclose(feature_statistics(store, weights)[1], several.std(axis=0), rtol=1e-5)
    one = store[3].features.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(feature_statistics(store, weights, 1)[0], one, rtol=1e-5)
    with pytest.raises(DataError, match="no utterance"):
        feature_statistics(store, np.zeros(len(store)))


def make_trainer(directory, config, mean=0.3):
    torch.manual_seed(config.seed)
    model = AcousticModel(MODEL, 12, len(TOKENIZER))
    model.set_statistics(torch.full((12,), mean), torch.linspace(0.001, 2, 12))
    train, dev = (
        BatchSource(store, TOKENIZER, MODEL, 120, augment) for store, augment in ((TRAIN, config.augment), (DEV, None))
    )
    return Trainer(model, TOKENIZER, train, {"dev": dev}, config, directory)


def test_training_leaves_them_alone_and_goes_on_with_them(tmp_path):
    trainer = make_trainer(tmp_path, replace(PLAIN, average_best=2, ema_decay=0.9))
    train: Any = trainer.train
    assert [train.features.average] == [None]
    model = trainer.run()
    expected = torch.linspace(0.001, 2, 12).clamp(min=0.01)
    assert model.normalisation.mean.tolist() == [np.float32(0.3)] * 12
    assert model.normalisation.std.tolist() == expected.tolist()
    assert train.features.average.tolist() == model.normalisation.mean.tolist()
    # A run goes on with those that it began with, whatever is measured now.
    resumed = make_trainer(tmp_path, replace(PLAIN, average_best=2, ema_decay=0.9, epochs=2), mean=9.0)
    assert resumed.run(accept_changes=True).normalisation.mean.tolist() == [np.float32(0.3)] * 12
    average: Any = resumed.train.features.average
    assert average.tolist() == [np.float32(0.3)] * 12


def test_masked_features_are_zero_for_the_network(tmp_path):
    augment = AugmentConfig(
        time_stretch=0, frequency_stretch=0, noise_utterances=0, frequency_masks=2, frequency_mask_bands=4
    )
    trainer = make_trainer(tmp_path, replace(PLAIN, augment=augment))
    trainer.train.features.average = trainer.model.average_features()
    (planned, *_) = trainer.train.plan(1, 0)
    batch, unmasked = trainer.train.batch(planned, 1, 0), trainer.train.load(planned)
    changed = batch.features != unmasked.features
    assert changed.any()
    assert (trainer.model.normalisation(batch.features, batch.feature_lengths)[changed] == 0).all()
