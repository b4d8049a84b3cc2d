"""Connected digits by synthesised voices: embedded, so nothing is downloaded; minutes on two cores.

python recipes/digits.py
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import Recipe, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="digits",
    corpus="digits",
    description="Strings of English digits, zero to nine, by synthesised voices: a demonstration.",
    licence="cc0-1.0",
    features=LogMelConfig(sample_rate=16_000, n_mels=40),
    model=ModelConfig(cell="gru", num_layers=2, hidden_size=128, conv_channels=16, time_reduction=4, dropout=0.1),
    training=TrainingConfig(
        epochs=24,
        learning_rate=3e-3,
        batch_seconds=30.0,
        augment=AugmentConfig(frequency_mask_bands=6, time_mask_seconds=0.05, frequency_stretch=0.15),
    ),
)

if __name__ == "__main__":
    main(RECIPE)
