"""How well decoder weights chosen on some speakers serve others: the fewest errors against the rule of `asr tune`.

    python benchmarks/tuning.py exp/an4/seed-1/bundle exp/an4/seed-2/bundle [--data data/an4/dev]

The n-gram model of each bundle is tried with a grid of 100 weights on the store; then each pair of speakers in turn is
left out, and its errors are counted with the weights that either rule chooses on the others. Printed is the sum over
all pairs, divided by how often each speaker is in one; beside it that of the decoder's default weights.
"""

import argparse
from itertools import combinations, product
from pathlib import Path

import numpy as np

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import OnnxRuntime
from asr.decoder import BeamOptions, BeamSearchDecoder, NGramModel
from asr.evaluation.tune import Errors, Search, choose, fewest_errors
from asr.store.store import FeatureStore
from asr.tokenizer import BLANK
from asr.wer import word_errors

ALPHAS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5)
BETAS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def all_errors(bundle: Bundle, store: FeatureStore) -> Errors:
    """Return the errors of each utterance with each pair of weights."""
    runtime = OnnxRuntime(bundle)
    log_probs = [runtime([bundle.front_end.stored(store, index)])[0] for index in range(len(store))]
    decoder = BeamSearchDecoder(
        bundle.tokenizer.tokens,
        blank=BLANK,
        frame_seconds=bundle.frame_seconds,
        options=BeamOptions(),
        lm=NGramModel.read(bundle.language_model or ""),
    )
    errors: Errors = {}
    for alpha, beta in product(ALPHAS, BETAS):
        found = decoder.with_options(alpha=alpha, beta=beta).decode_batch(log_probs)
        pairs = zip(store.texts, found, strict=True)
        errors[alpha, beta] = np.array([word_errors([text], [best[0].text]).errors for text, best in pairs])
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data/an4/dev"), help="a feature store, never a test set")
    arguments = parser.parse_args()
    store = FeatureStore.open(arguments.data)
    speakers = np.array([store[index].speaker for index in range(len(store))])
    search = Search()
    for path in arguments.bundles:
        errors = all_errors(Bundle.load(path), store)
        sums = dict.fromkeys(("fewest errors", "rule", "defaults"), 0)
        for left_out in combinations(np.unique(speakers), 2):
            held = np.isin(speakers, left_out)
            rest = {weights: each[~held] for weights, each in errors.items()}
            chosen = fewest_errors(rest), choose(rest, search), search.default
            for name, weights in zip(sums, chosen, strict=True):
                sums[name] += int(errors[weights][held].sum())
        often = len(np.unique(speakers)) - 1
        figures = "  ".join(f"{name} {value / often:.1f}" for name, value in sums.items())
        print(f"{path}: errors on speakers left out: {figures}", flush=True)


if __name__ == "__main__":
    main()
