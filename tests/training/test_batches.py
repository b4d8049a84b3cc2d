"""Batches: every utterance once an epoch, within the budget, the same whoever makes them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from asr.errors import DataError  # noqa: E402
from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.store.checking import check_same_features  # noqa: E402
from asr.tokenizer import CharTokenizer, min_frames  # noqa: E402
from asr.training.batches import BatchSource  # noqa: E402
from asr.training.config import AugmentConfig  # noqa: E402

MODEL = ModelConfig(cell="gru", num_layers=1, hidden_size=6, conv_channels=2, time_reduction=4)
TOKENIZER = CharTokenizer.from_texts(["ab "])
BUDGET = 200
AUGMENT = AugmentConfig(
    time_stretch=0.3, pause_probability=0.3, pause_seconds=0.2, noise_probability=0.5, noise_utterances=0.5
)


@dataclass
class Utterance:
    features: np.ndarray


class MemoryStore:
    """A feature store in memory."""

    config = LogMelConfig(sample_rate=8000, n_mels=12)
    path = "memory"
    corpus = "memory"
    identity = ("memory",)
    filterbank = mel_filterbank(config)

    def __init__(self, num_frames, texts=None, seed=1):
        rng = np.random.default_rng(seed)
        self.num_frames = np.asarray(num_frames, dtype=np.int32)
        self.durations_seconds = self.num_frames * 0.01
        self.ids = [f"u{i}" for i in range(len(self))]
        self.texts = texts or ["".join(rng.choice(list("ab"), rng.integers(1, 3))) for _ in self.ids]
        self.utterances = [Utterance(rng.standard_normal((n, 12)).astype(np.float16)) for n in self.num_frames]

    def __len__(self):
        return len(self.num_frames)

    def __getitem__(self, index):
        return self.utterances[index]


STORE = MemoryStore(np.random.default_rng(1).integers(12, 60, 25))


def source(store=STORE, augment=AUGMENT, budget=BUDGET):
    return BatchSource(store, TOKENIZER, MODEL, budget, augment)


@pytest.mark.parametrize("augment", [None, AUGMENT])
@pytest.mark.parametrize("budget", [50, 200, 1000])
def test_each_epoch_has_every_utterance_once_within_the_frame_budget(augment, budget):
    batches = source(augment=augment, budget=budget)
    largest = batches.largest().features.shape
    noises = 0
    for epoch in range(8):
        plan = batches.plan(1, epoch)
        indices = np.concatenate([planned.indices for planned in plan])
        assert sorted(indices[indices < len(STORE)]) == list(range(len(STORE)))
        noises += (indices >= len(STORE)).sum()
        for planned in plan:
            batch = batches.batch(planned, 1, epoch)
            assert batch.feature_lengths.tolist() == planned.lengths.total.tolist()
            B, T, _ = batch.features.shape
            assert budget >= B * T or B == 1
            assert largest[0] * largest[1] >= B * T
    assert largest[0] * largest[1] <= budget or largest[0] == 1
    # 0.5 for each of 25 utterances in 8 epochs, by Poisson's distribution.
    assert noises == (0 if augment is None else pytest.approx(100, abs=40))


def test_an_utterance_is_the_same_in_whatever_batch_it_comes():
    batches, again = source(), source()
    for planned in batches.plan(1, 3):
        whole = batches.batch(planned, 1, 3)
        for row in reversed(range(len(planned))):
            alone = planned[row : row + 1]
            batch = again.batch(alone, 1, 3)
            T = int(batch.feature_lengths[0])
            torch.testing.assert_close(batch.features[0], whole.features[row, :T], rtol=0, atol=0)
            assert batch.ids == whole.ids[row : row + 1]
            S = int(batch.target_lengths[0])
            assert batch.targets[0, :S].tolist() == whole.targets[row, :S].tolist()
            assert not whole.features[row, T:].any()


def test_each_utterance_comes_as_often_as_its_weight_says():
    rng = np.random.default_rng(5)
    weights = np.concatenate((rng.choice([1.0, 2.0, 3.0], 10), rng.uniform(0, 3, 14), [0.0]))
    batches = BatchSource(STORE, TOKENIZER, MODEL, BUDGET, weights=weights)
    epochs = 2000
    counts = np.zeros((epochs, len(STORE)), dtype=int)
    for epoch in range(epochs):
        drawn = np.concatenate([planned.indices for planned in batches.plan(3, epoch)])
        counts[epoch] = np.bincount(drawn, minlength=len(STORE))
    # Never more than one away from the weight; whole weights are met in each epoch, the others on average: four
    # standard deviations of a mean of so many epochs.
    assert (np.abs(counts - weights) < 1).all()
    assert np.abs(counts.mean(axis=0) - weights).max() < 4 * 0.5 / np.sqrt(epochs)
    assert (counts[:, weights % 1 == 0] == weights[weights % 1 == 0]).all()
    again = BatchSource(STORE, TOKENIZER, MODEL, BUDGET, weights=weights)
    plans = [[planned.indices.tolist() for planned in one.plan(3, 7)] for one in (batches, again)]
    assert plans[0] == plans[1]
    assert batches.identity != source(augment=None).identity == BatchSource(STORE, TOKENIZER, MODEL, 50).identity


def test_copies_of_an_utterance_in_an_epoch_are_augmented_differently():
    store = MemoryStore([40])
    batches = BatchSource(store, TOKENIZER, MODEL, 100, AugmentConfig(noise_utterances=0), weights=np.array([3.0]))
    planned = batches.plan(1, 0)
    features = [batches.batch(one[row : row + 1], 1, 0).features[0] for one in planned for row in range(len(one))]
    assert len(features) == 3
    assert len({tuple(x.flatten().tolist()) for x in features}) == 3


def test_an_epoch_is_never_empty():
    batches = BatchSource(STORE, TOKENIZER, MODEL, BUDGET, weights=np.full(len(STORE), 1e-9))
    assert all(sum(map(len, batches.plan(1, epoch))) == 1 for epoch in range(20))


def test_epochs_and_seeds_differ_and_nothing_else_does():
    def picture(seed, epoch):
        return [(planned.indices.tolist(), planned.lengths.total.tolist()) for planned in source().plan(seed, epoch)]

    assert picture(1, 0) == picture(1, 0)
    assert picture(1, 0) != picture(1, 1) != picture(2, 1)


def test_utterances_of_similar_length_go_together():
    store = MemoryStore(np.random.default_rng(1).integers(12, 600, 500))
    plan = source(store, None, 6000).plan(1, 0)
    padded = sum(len(planned) * planned.lengths.total.max() for planned in plan)
    assert padded < 1.15 * store.num_frames.sum()
    # In the order of training, long and short batches are mixed.
    lengths = [int(planned.lengths.total.max()) for planned in plan]
    assert lengths != sorted(lengths)


def test_utterances_of_noise_have_an_empty_transcript():
    batches = source()
    for planned in batches.plan(1, 0):
        batch = batches.batch(planned, 1, 0)
        for row, index in enumerate(planned.indices):
            assert (batch.ids[row] == "noise") == (index >= len(STORE)) == (batch.target_lengths[row] == 0)


def test_utterances_too_short_for_their_transcripts_are_left_out_by_name_whatever_augmentation_does():
    # 20 equal letters need 39 outputs: 153 frames at a time reduction of 4.
    texts = ["a", "a" * 20, "b", "a" * 20]
    assert min_frames(TOKENIZER.encode(texts[1])) == 39
    assert MODEL.output_frames(153) == 39 > MODEL.output_frames(152)
    store = MemoryStore([30, 152, 30, 153], texts)
    batches = source(store)
    assert batches.too_short == ["u1"]
    for epoch in range(20):
        plan = batches.plan(1, epoch)
        speech = {i: n for p in plan for i, n in zip(p.indices.tolist(), p.lengths.speech.tolist(), strict=True)}
        assert sorted(i for i in speech if i < 4) == [0, 2, 3]
        assert speech[3] >= 153
    kept = BatchSource(store, TOKENIZER, MODEL, BUDGET, keep_short=True)
    assert kept.too_short == []
    assert sum(map(len, kept.in_order())) == 4
    with pytest.raises(DataError, match="none of the 3 utterances"):
        source(MemoryStore([1, 1, 1], ["aa", "aa", "aa"]))


def test_what_is_never_trained_on_may_have_letters_without_tokens():
    store = MemoryStore([30, 30], ["ab", "\u00f8"])
    assert sum(map(len, BatchSource(store, TOKENIZER, MODEL, BUDGET, weights=np.array([1.0, 0.0])).in_order())) == 1
    with pytest.raises(DataError, match=r"U\+00F8"):
        BatchSource(store, TOKENIZER, MODEL, BUDGET)


def test_the_needed_frames_of_all_texts_are_those_of_each():
    rng = np.random.default_rng(7)
    texts = ["".join(rng.choice(list("ab "), rng.integers(0, 12))) for _ in range(500)] + ["", "", "a", ""]
    assert TOKENIZER.min_frames(texts).tolist() == [min_frames(TOKENIZER.encode(text)) for text in texts]
    assert TOKENIZER.min_frames([]).tolist() == []


def test_an_utterance_longer_than_the_budget_is_named_and_a_batch_of_its_own():
    store = MemoryStore([30, 700, 40])
    batches = source(store, None)
    assert batches.too_long == ["u1"]
    assert [p.indices.tolist() for p in batches.in_order()] == [[0, 2], [1]]
    assert batches.largest().features.shape[:2] == (1, 700)


def test_evaluation_has_all_utterances_unaltered_shortest_first():
    batches = BatchSource(STORE, TOKENIZER, MODEL, BUDGET)
    seen = []
    for planned in batches.in_order():
        batch = batches.load(planned)
        for row, index in enumerate(planned.indices.tolist()):
            T = STORE.num_frames[index]
            np.testing.assert_array_equal(batch.features[row, :T], STORE[index].features)
            assert TOKENIZER.decode(batch.targets[row].tolist()) == STORE.texts[index]
            seen.append(index)
    assert sorted(seen) == list(range(len(STORE)))
    assert (np.diff(STORE.num_frames[seen]) >= 0).all()


def test_stores_of_different_features_are_refused():
    other = MemoryStore([30, 40])
    check_same_features(STORE, other)
    other.filterbank = other.filterbank * 2
    with pytest.raises(DataError, match="mel filters"):
        check_same_features(STORE, other)
    other.config = replace(other.config, hop_seconds=0.0125)
    with pytest.raises(DataError, match=r"hop_seconds: 0.0125 \(expected 0.01\)"):
        check_same_features(STORE, other)
    with pytest.raises(DataError, match="no utterance"):
        check_same_features(STORE, MemoryStore([]))
