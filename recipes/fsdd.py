"""Free Spoken Digit Dataset, official split: recordings 0 to 4 of each speaker and digit are the test set.

python recipes/fsdd.py

The test set is connected strings of 3 to 7 digits, the six speakers are those of the training set.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import Recipe, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="fsdd",
    corpus="fsdd",
    description="Strings of English digits, zero to nine, by the six speakers of the Free Spoken Digit Dataset.",
    licence="cc-by-sa-4.0",
    test=("test", "test_isolated"),
    features=LogMelConfig(sample_rate=8_000, n_mels=40),
    model=ModelConfig(cell="gru", num_layers=2, hidden_size=128, conv_channels=16, time_reduction=4, dropout=0.2),
    training=TrainingConfig(
        epochs=20,
        learning_rate=3e-3,
        batch_seconds=30.0,
        augment=AugmentConfig(frequency_mask_bands=6, time_mask_seconds=0.05, time_stretch=0.15),
    ),
)

if __name__ == "__main__":
    main(RECIPE)
