"""Your own recordings: fine-tune a model on them, or train a new one.

    python data_prep/manifest.py train=train.jsonl dev=dev.jsonl test=test.jsonl --out data/mine
    python recipes/mine.py --set init=english --set tokenizer.kind=init --set lm.order=0 --set lm.file=init
    python recipes/mine.py --out exp/mine-from-nothing

Copy this file, and describe your model in it. Prepare the stores first (docs/data.md). Without a test
set, write ``test=()`` here, or ``--set "test=()"``.

The network is that of the models that ship, so training can start from either of them; training is close to an4.py's.
Neither was measured on other data. They are meant for a few hours of speech; from a hundred hours up, use
librispeech_100.py's.
"""

from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.recipe import LanguageModelConfig, Recipe, main
from asr.training.config import AugmentConfig, TrainingConfig

RECIPE = Recipe(
    name="mine",
    corpus="",
    description="Trained on my own recordings.",
    licence="other",
    features=LogMelConfig(sample_rate=16_000, n_mels=80),
    model=ModelConfig(
        cell="lstm",
        num_layers=3,
        hidden_size=320,
        time_reduction=4,
        dropout=0.2,
        variational_dropout=True,
    ),
    training=TrainingConfig(
        epochs=60,
        learning_rate=1e-3,
        batch_seconds=60.0,
        intermediate_ctc=0.3,
        ema_decay=0.995,
        augment=AugmentConfig(
            time_stretch=0.2, frequency_stretch=0.2, frequency_masks=1, pause_probability=0.2, noise_probability=0.3
        ),
    ),
    lm=LanguageModelConfig(order=3),
)

if __name__ == "__main__":
    main(RECIPE)
