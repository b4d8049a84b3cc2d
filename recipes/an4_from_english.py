"""CMU AN4, from the weights of the model `english` and with a new output of characters: the model `an4` that ships.

    python recipes/an4_from_english.py --seeds 1,2,3

Ten minutes on one core with AVX512-BF16. Word error rates: see the table in README.md.
"""

from dataclasses import replace

from an4 import RECIPE as AN4  # type: ignore[import-not-found]  # the script's own folder is on the path

from asr.recipe import main

RECIPE = replace(
    AN4,
    name="an4_from_english",
    init="english",
    licence="cc-by-sa-4.0",
    model=replace(AN4.model, hidden_size=320, dropout=0.1, normalisation="global"),
    training=replace(AN4.training, epochs=24, learning_rate=5e-4, warmup=0.1),
)

if __name__ == "__main__":
    main(RECIPE)
