"""The stage ``evaluate``: bundle and stores → WER table, also written into the bundle."""

import dataclasses
from typing import Any

from rich.console import Console
from rich.table import Table

from asr.files import write_text
from asr.recipe.recipe import Run
from asr.recipe.stage_state import is_current, write_stamp
from asr.settings import digest
from asr.tokenizer import LEXICON

# Characters of a line in a log file.
PIPE_WIDTH = 120


def evaluate(run: Run) -> None:
    """Bundle, dev and test stores → WER table; the dev set has chosen the epoch and the decoder's weights."""
    from asr.bundle.bundle import Bundle
    from asr.store.layout import file_checksum

    bundle = Bundle.load(run.bundle)
    own_lm = bundle.language_model
    splits = list(dict.fromkeys((*run.recipe.dev_splits, *run.recipe.test)))
    stamp = {
        "weights": bundle.weights_sha256,
        "decoding": [bundle.decoding, run.recipe.lm.beam_size] if own_lm else None,
        "lm": file_checksum(own_lm) if own_lm else None,
        **({"lexicon": file_checksum(run.bundle / LEXICON)} if bundle.tokenizer.kind == "phones" else {}),
        "data": {split: digest(run.store(split).identity) for split in splits},
    }
    if not bundle.results or not is_current(run.out, "evaluate", stamp):
        bundle = _measure(run, bundle, splits, has_lm=own_lm is not None)
        write_stamp(run.out, "evaluate", stamp)
    table = Table("set", "decoder", "utterances", "words", "WER %", "95 % interval", "CER %", title=run.recipe.name)
    for row in bundle.results:
        table.add_row(
            *(str(row[key]) for key in ("split", "decoder", "utterances", "words")),
            f"{row['wer']:.2f}", f"{row['low']:.1f}–{row['high']:.1f}", f"{row['cer']:.2f}",
        )  # fmt: skip
    print_table(table)


def _measure(run: Run, bundle: Any, splits: list[str], *, has_lm: bool) -> Any:
    """Return the bundle with its results, which are written into its files."""
    from asr.bundle.card import model_card
    from asr.bundle.runtime import OnnxRuntime
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.transcription.decoding import DecodingOptions, describe, make_decoder

    runtime = OnnxRuntime(bundle)
    # Phones are no words: without a language model they are those of the lexicon that sound most alike.
    alone = DecodingOptions(lm=None) if bundle.tokenizer.kind == "phones" else DecodingOptions()
    plan = [alone, *[DecodingOptions(beam_size=run.recipe.lm.beam_size)] * has_lm]
    results: list[dict[str, Any]] = []
    for decoding in plan:
        decoder = make_decoder(bundle, decoding)
        for split in splits:
            result = evaluate_store(run.store(split), bundle, runtime, decoder)
            results.append({"split": split, "decoder": describe(bundle, decoding), **result.summary()})
            print(f"{split}, {results[-1]['decoder']}: {result.words.kaldi_line()}")
    bundle = dataclasses.replace(bundle, results=results)
    write_text(bundle.directory / "config.json", bundle.config_json())
    write_text(bundle.directory / "README.md", model_card(bundle))
    return bundle


def print_table(table: Table) -> None:
    """Print a table on the standard output, in full width where that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)
