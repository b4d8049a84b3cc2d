"""Mini LibriSpeech: 5 hours of read English, to judge a change in half an hour instead of days.

    python recipes/mini_librispeech.py

Not measured on its own dev set, which was not available, but on train-clean-5 divided by speaker:

    python recipes/mini_librispeech.py --set train=speaker_train --set dev=speaker_dev --set test=speaker_test

Two minutes per epoch on one core with AVX512-BF16. Five hours are not enough to learn spelling: phones with a lexicon
make half the errors of characters; docs/lexicons.md has the table.

One dropout mask per utterance (Gal & Ghahramani 2016); an intermediate CTC loss (Lee & Watanabe 2021).
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="mini_librispeech",
    corpus="mini_librispeech",
    description="Read English, from audiobooks (5 hours of LibriSpeech): a demonstration.",
    licence="cc-by-4.0",
    train="train-clean-5",
    dev="dev-clean-2",
    test=(),
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    model=ModelConfig(
        cell="lstm", num_layers=3, hidden_size=256, time_reduction=4, dropout=0.2, variational_dropout=True
    ),
    training=TrainingConfig(
        epochs=15,
        learning_rate=2e-3,
        warmup=0.1,
        batch_seconds=60.0,
        precision="auto",
        intermediate_ctc=0.3,
        ema_decay=0.995,
        choose_by="loss",
        augment=AugmentConfig(time_masks_per_second=0.4),
    ),
    lm=LanguageModelConfig(order=3),
)

if __name__ == "__main__":
    main(RECIPE)
