"""Mini LibriSpeech: 5 hours of read English, to judge a change in an hour instead of days.

    python recipes/mini_librispeech.py

NOT measured on its own dev set, which was not available: run from corpus to table with a small net, for one epoch, on
train-clean-5 divided by speaker:

    python recipes/mini_librispeech.py --set train=speaker_train --set dev=speaker_dev --set test=speaker_test

Five hours are not enough for read prose: one word in seven of the held-out speakers does not occur in the training
text.

Three bidirectional layers, 320 units each as in mobvoi's lstm_ctc; characters, since most subwords would be too
rare; one dropout mask per utterance (Gal & Ghahramani 2016); an intermediate CTC loss (Lee & Watanabe 2021).
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
        cell="lstm", num_layers=3, hidden_size=320, time_reduction=4, dropout=0.4, variational_dropout=True
    ),
    training=TrainingConfig(
        epochs=80,
        learning_rate=1e-3,
        batch_seconds=120.0,
        intermediate_ctc=0.3,
        average_best=5,
        augment=AugmentConfig(frequency_mask_bands=27, time_masks_per_second=0.4, time_mask_seconds=0.3),
    ),
    lm=LanguageModelConfig(order=3),
)

if __name__ == "__main__":
    main(RECIPE)
