"""General English: phones, a lexicon and a 3-gram, from 37 hours of many kinds of public speech; see docs/english.md.

    python recipes/english.py

The model that ships has 17.5 % WER on audiobooks, 34.0 % on Common Voice and 37.3 % on learners (development sets,
beam 400); docs/english.md says how it was trained, in two parts.
Ten to fourteen minutes per epoch on two cores with AVX512-BF16.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, TokenizerConfig, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="english",
    corpus="english",
    description="General English: read, dictated, by learners and on the telephone.",
    licence="cc-by-sa-4.0",
    train="librispeech,ljspeech,kathleen:0.5,vctk_p239:0.5,common_voice,cv1_valid_test,cv13,cv18,cv19,cv20,cv13_pseudo,"
    "voice_age,minds14_en,speechocean762:0.6,../noise_features/noise:0.4",
    dev="dev_audiobooks,dev_common_voice,dev_learners",
    test=(),
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    tokenizer=TokenizerConfig(
        kind="phones", lexicon="data/english/lexicon.txt.gz", g2p="data/english/g2p.npz", word_boundary=True
    ),
    model=ModelConfig(
        cell="lstm",
        num_layers=3,
        hidden_size=320,
        time_reduction=4,
        dropout=0.1,
        variational_dropout=True,
        normalisation="global",
    ),
    intermediate_tokenizer=TokenizerConfig(kind="characters"),
    training=TrainingConfig(
        epochs=14,
        learning_rate=2e-3,
        warmup=0.05,
        batch_seconds=100.0,
        precision="auto",
        intermediate_ctc=0.3,
        ema_decay=0.998,
        choose_by="loss",
        max_disagreement=0.2,
        augment=AugmentConfig(
            frequency_mask_bands=15,
            time_masks_per_second=0.6,
            time_mask_seconds=0.15,
            time_mask_share=0.25,
            pause_probability=0.1,
            noise_probability=0.2,
        ),
    ),
    lm=LanguageModelConfig(file="data/english/lm.npz"),
)

if __name__ == "__main__":
    main(RECIPE)
