"""LibriSpeech, its 100 hours of clean training speech.

    python recipes/librispeech_100.py

NOT measured, since the corpus was not available: run from corpus to table on 100 utterances by three speakers of
train-clean-100, with a small net, for one epoch. Published, test-clean, greedy, bidirectional LSTMs with CTC on
characters and these 100 hours: about 23 % WER.

Five bidirectional layers of 512 units as in Zeyer et al. 2017, "A comprehensive study of deep bidirectional LSTM RNNs
for acoustic modeling in speech recognition", with more dropout for fewer hours; 500 subwords as in icefall's CTC
recipes; an intermediate CTC loss weighed as by Lee & Watanabe 2021; masks that cover about as much as SpecAugment's
LibriSpeech policies (Park et al. 2019), their number growing with the length (Park et al. 2020); the speeds of Ko et
al. 2015. Meant for a GPU of 24 GB; for others lower ``training.batch_seconds``.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, TokenizerConfig, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="librispeech_100",
    corpus="librispeech",
    description="Read English, from audiobooks (100 hours of LibriSpeech).",
    licence="cc-by-4.0",
    train="train-clean-100",
    dev="dev-clean",
    test=("test-clean", "test-other"),
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    speeds=(0.9, 1.1),
    tokenizer=TokenizerConfig("unigram", 500),
    model=ModelConfig(cell="lstm", num_layers=5, hidden_size=512, time_reduction=4, dropout=0.3),
    training=TrainingConfig(
        epochs=40,
        learning_rate=1e-3,
        batch_seconds=600.0,
        precision="auto",
        intermediate_ctc=0.3,
        average_best=5,
        augment=AugmentConfig(
            time_stretch=0.0,
            frequency_stretch=0.0,
            frequency_mask_bands=27,
            time_masks_per_second=0.4,
            time_mask_seconds=0.4,
        ),
    ),
    lm=LanguageModelConfig(order=3),
)

if __name__ == "__main__":
    main(RECIPE)
