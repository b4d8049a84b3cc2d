"""LibriSpeech, all 960 hours of training speech.

    python recipes/librispeech_960.py

NOT measured, since the corpus was not available: run from corpus to table on 274 utterances of it, with a small net,
for one epoch. Published, test-clean, recurrent networks with CTC and these 960 hours: 10.46 % WER greedy
(deepspeech.pytorch), 6.73 % with a language model (PaddleSpeech, DeepSpeech 2).

The same as librispeech_100.py, with six layers of 1024 units as in the encoder of Zeyer et al. 2018, "Improved
training of end-to-end attention models for speech recognition", and less dropout and no other speeds, since there are
more hours. 3-grams that occur once are left out of the language model. Meant for GPUs of 40 GB.
"""

from dataclasses import replace

from librispeech_100 import RECIPE as HUNDRED  # type: ignore[import-not-found]  # the script's own folder is on the path

from asr.recipe import LanguageModelConfig, main

RECIPE = replace(
    HUNDRED,
    name="librispeech_960",
    description="Read English, from audiobooks (the 960 hours of LibriSpeech).",
    train="train-960",
    test=("test-clean", "test-other"),
    speeds=(),
    model=replace(HUNDRED.model, num_layers=6, hidden_size=1024, dropout=0.15),
    training=replace(HUNDRED.training, epochs=20, learning_rate=5e-4, batch_seconds=1200.0, accumulate=4),
    lm=LanguageModelConfig(order=3, cutoffs=(0, 0, 1)),
)

if __name__ == "__main__":
    main(RECIPE)
