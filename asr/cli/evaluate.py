"""``asr evaluate``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.transcribe import require_model


def evaluate(
    data: Annotated[Path, typer.Option(help="A feature store: data/an4/test.")],
    model: Annotated[str, typer.Option(help="A bundle's directory, or the name of a model that ships.")] = "",
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")] = 0,
    beam_size: Annotated[int, typer.Option(help="1: greedy. More: beam search, with the model's own n-grams.")] = 1,
    lm: Annotated[str, typer.Option(help="Another n-gram model (ARPA) for the beam search, or none.")] = "",
    alpha: Annotated[float | None, typer.Option(help="Weight of the n-gram model.")] = None,
    beta: Annotated[float | None, typer.Option(help="Bonus for each word.")] = None,
    show: Annotated[bool, typer.Option(help="Also print each utterance's reference and hypothesis.")] = False,
) -> None:
    """Recognise a prepared test set and print Kaldi's %WER and %CER lines with a 95 % interval."""
    model = require_model(model)
    from asr.data.store import FeatureStore
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.evaluation.evaluate import unwritable
    from asr.transcription.bundle import Bundle
    from asr.transcription.decoding import DecodingOptions, describe, make_decoder
    from asr.transcription.runtime import make_runtime

    bundle = Bundle.load(model)
    store = FeatureStore.open(data)
    options = DecodingOptions(beam_size, lm, alpha, beta)
    decoder = make_decoder(bundle, options)
    with typer.progressbar(length=len(store), label="evaluating", file=typer.get_text_stream("stderr")) as bar:
        result = evaluate_store(store, bundle, make_runtime(bundle, device, threads), decoder, bar.update)
    count, characters = unwritable(store, bundle.tokenizer.tokens[1:])
    if count:
        print(
            f"asr: {count} of {len(store)} references hold characters that the model cannot write: {characters!r}; "
            "each counts as an error",
            file=sys.stderr,
        )
    if show:
        for utterance in result.utterances:
            print(f"{utterance.id}\n  ref: {utterance.reference}\n  hyp: {utterance.hypothesis}")
    low, high = result.interval()
    print(result.words.kaldi_line("WER"))
    print(result.characters.kaldi_line("CER"))
    interval = f"95 % interval of the WER {100 * low:.2f}–{100 * high:.2f} %"
    print(f"{describe(bundle, options)}, {len(store)} utterances, {interval}")
