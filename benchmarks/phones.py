"""What phones and label priors bring: models of characters and of phones, trained alike, on speakers held out.

    python benchmarks/phones.py BUNDLE… --dev STORE --test STORE --lm MODEL --lexicon FILE [--beam-size 400]

Prints for each model its WER without the language model (greedy; of phones, the lexicon alone), and with it at each
weight of the label priors. For each line alpha and beta are those with the fewest errors on 100 utterances of dev,
found with a beam of 64. docs/lexicons.md has the commands that train the models.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asr.bundle.bundle import Bundle
from asr.bundle.runtime import make_runtime
from asr.decoder import BeamSearchDecoder
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.evaluation.tune import Search, tune
from asr.evaluation.tune_bundle import TuningOptions, cached_log_probs
from asr.store.store import open_store
from asr.transcription.decoding import DecodingOptions, make_decoder

PRIOR_WEIGHTS = (0.0, 0.3, 0.6)
UTTERANCES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--lexicon", type=Path, required=True, help="of the models of phones")
    parser.add_argument("--beam-size", type=int, default=400)
    arguments = parser.parse_args()
    dev, test = open_store(arguments.dev), open_store(arguments.test)
    chosen = TuningOptions(utterances=UTTERANCES).chosen(dev)
    for folder in arguments.bundles:
        bundle = Bundle.load(folder)
        runtime = make_runtime(bundle, threads=1)
        heldout = cached_log_probs(dev, chosen, bundle, runtime)
        rows = cached_log_probs(test, range(len(test)), bundle, runtime)

        def report(line: str, texts: Sequence[str]) -> None:
            scored = map(UtteranceResult.scored, test.ids, test.texts, texts)
            wer = Evaluation(tuple(scored)).summary()
            print(f"  {line:44} {wer['wer']:6.2f} % ({wer['low']:.1f}-{wer['high']:.1f})", flush=True)

        print(f"{folder}: {bundle.tokenizer.kind}, {len(bundle.tokenizer)} tokens", flush=True)
        lexicon = str(arguments.lexicon) if bundle.tokenizer.kind == "phones" else ""
        alone = make_decoder(bundle, DecodingOptions(lm=None, lexicon=lexicon))
        report("without the language model", [alone(utterance)[0].text for utterance in rows])
        for weight in PRIOR_WEIGHTS:
            options = DecodingOptions(beam_size=64, lm=arguments.lm, lexicon=lexicon, prior_weight=weight)
            decoder = make_decoder(bundle, options)
            assert isinstance(decoder, BeamSearchDecoder)

            def recogniser(decoder: BeamSearchDecoder = decoder, **changes: Any) -> Any:
                changed = decoder.with_options(**changes)
                return lambda utterances: [best[0].text for best in changed.decode_batch(utterances)]

            tuned = tune(heldout, [dev.texts[index] for index in chosen], recogniser, Search(rounds=1))
            best = min(tuned.trials, key=lambda trial: trial.counts.errors).weights
            texts = recogniser(decoder, **best, beam_size=arguments.beam_size)(rows)
            report(f"3-gram, priors x {weight}, alpha {best['alpha']:g}, beta {best['beta']:g}", texts)


if __name__ == "__main__":
    main()
