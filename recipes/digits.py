"""Connected digits by synthesised voices: embedded, so nothing is downloaded; minutes on two cores.

python recipes/digits.py
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import Recipe, main
from asr.training.config import TrainingConfig

RECIPE = Recipe(
    name="digits",
    corpus="digits",
    description="Strings of English digits, zero to nine, by synthesised voices: a demonstration.",
    licence="cc0-1.0",
    features=LogMelConfig(sample_rate=16_000, n_mels=40),
    model=ModelConfig(cell="gru", num_layers=2, hidden_size=128, time_reduction=4, dropout=0.2),
    training=TrainingConfig(epochs=15, learning_rate=2e-3, batch_seconds=60.0),
)

if __name__ == "__main__":
    main(RECIPE)
