"""Mozilla Common Voice, English: sentences read by volunteers into their own microphones.

    python recipes/common_voice.py --archive cv-corpus-21.0-2025-03-14-en.tar.gz

NOT measured on a release with official splits, since none was available: run from corpus to table with a small net, for
one epoch, on a part of release 1, split by sentence.

The same as librispeech_100.py, but because recordings differ more, features are stretched in time and frequency, and
pauses and floors of noise are added; 3-grams that occur once are left out of the language model.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, TokenizerConfig, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="common_voice",
    corpus="common_voice",
    description="Read English sentences by volunteers (Mozilla Common Voice).",
    licence="cc0-1.0",
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    tokenizer=TokenizerConfig("unigram", 500),
    model=ModelConfig(cell="lstm", num_layers=5, hidden_size=512, time_reduction=4, dropout=0.2),
    training=TrainingConfig(
        epochs=20,
        learning_rate=1e-3,
        batch_seconds=600.0,
        precision="auto",
        intermediate_ctc=0.3,
        average_best=5,
        augment=AugmentConfig(
            frequency_mask_bands=27,
            time_masks_per_second=0.4,
            time_mask_seconds=0.4,
            pause_probability=0.3,
            noise_probability=0.3,
        ),
    ),
    lm=LanguageModelConfig(order=3, cutoffs=(0, 0, 1)),
)

if __name__ == "__main__":
    main(RECIPE)
