"""The loop: an interrupted run ends as an undisturbed one."""

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")


from asr.features import LogMelConfig, mel_filterbank  # noqa: E402
from asr.model_config import ModelConfig  # noqa: E402
from asr.tokenizer import CharTokenizer  # noqa: E402
from asr.training.config import AugmentConfig, TrainingConfig  # noqa: E402

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
