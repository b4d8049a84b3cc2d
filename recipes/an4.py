"""CMU AN4: spelled words, numbers and commands, 0.63 h of training speech.

python recipes/an4.py

Greedy WER on the test set (130 utterances, 773 words): see the table in README.md.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="an4",
    corpus="an4",
    description="Spelled words, numbers and simple commands in American English, and nothing else (CMU AN4).",
    licence="apache-2.0",
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    model=ModelConfig(
        cell="lstm",
        num_layers=3,
        hidden_size=256,
        time_reduction=4,
        dropout=0.3,
        variational_dropout=True,
        normalisation="utterance",
    ),
    training=TrainingConfig(
        epochs=90,
        learning_rate=1.5e-3,
        batch_seconds=40.0,
        precision="auto",
        intermediate_ctc=0.3,
        ema_decay=0.995,
        augment=AugmentConfig(
            time_stretch=0.2,
            frequency_stretch=0.2,
            frequency_masks=0,
            time_masks_per_second=0.0,
            pause_probability=0.2,
            noise_probability=0.3,
        ),
    ),
    lm=LanguageModelConfig(order=3),
)

if __name__ == "__main__":
    main(RECIPE)
