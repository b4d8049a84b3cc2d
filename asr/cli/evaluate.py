"""``asr evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.transcribe import require_model


def evaluate(
    data: Annotated[Path, typer.Option(help="A feature store, e.g. data/an4/test.")],
    model: Annotated[str, typer.Option(help="A bundle's directory, or the name of a model that ships.")] = "",
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")] = 0,
    show: Annotated[bool, typer.Option(help="Also print each utterance's reference and hypothesis.")] = False,
) -> None:
    """Recognise a prepared test set and print Kaldi's %WER and %CER lines with a 95 % interval."""
    model = require_model(model)
    from asr.data.store import FeatureStore
    from asr.decoder import GreedyDecoder
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.tokenizer import BLANK
    from asr.transcription.bundle import Bundle
    from asr.transcription.runtime import make_runtime

    bundle = Bundle.load(model)
    store = FeatureStore.open(data)
    decoder = GreedyDecoder(bundle.tokenizer.tokens, blank=BLANK, frame_seconds=bundle.frame_seconds)
    with typer.progressbar(length=len(store), label="evaluating", file=typer.get_text_stream("stderr")) as bar:
        result = evaluate_store(store, bundle, make_runtime(bundle, device, threads), decoder, bar.update)
    if show:
        for utterance in result.utterances:
            print(f"{utterance.id}\n  ref: {utterance.reference}\n  hyp: {utterance.hypothesis}")
    low, high = result.interval()
    print(result.words.kaldi_line("WER"))
    print(result.characters.kaldi_line("CER"))
    print(f"{len(store)} utterances, 95 % interval of the WER {100 * low:.2f}–{100 * high:.2f} %")
