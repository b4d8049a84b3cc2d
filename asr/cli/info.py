"""``asr info``."""

from typing import Annotated

import typer

from asr.cli.transcribe import require_model


def info(
    model: Annotated[str, typer.Argument(help="A bundle's directory, or the name of a model that ships.")] = "",
) -> None:
    """Print what a model is, what it knows and how well."""
    model = require_model(model, "the model, as in asr info an4,")
    from asr.transcription.bundle import FILES, Bundle

    bundle = Bundle.load(model)
    size = sum((bundle.directory / name).stat().st_size for name in FILES)
    rows = {
        "name": bundle.name,
        "what it knows": bundle.description,
        "trained on": f"{bundle.dataset}, language {bundle.language}, licence {bundle.licence}",
        "features": f"{bundle.features.n_mels} log-mel bands, {bundle.features.sample_rate} Hz, "
        f"a frame every {1000 * bundle.features.hop_seconds:g} ms",
        "network": f"{bundle.model.num_layers} × {bundle.model.hidden_size} {bundle.model.cell}"
        f"{', both directions' if bundle.model.bidirectional else ''}, an output every "
        f"{1000 * bundle.frame_seconds:g} ms",
        "tokens": f"{len(bundle.tokenizer)} {bundle.tokenizer.kind}: {''.join(bundle.tokenizer.tokens[1:])!r}",
        "size": f"{size / 1e6:.1f} MB in {bundle.directory}",
    }
    for result in bundle.results:
        name = f"WER, {result['split']}, {result['decoder']}"
        rows[name] = f"{result['wer']:.2f} % ({result['low']:.1f}–{result['high']:.1f})"
    width = max(map(len, rows))
    for key, value in rows.items():
        print(f"{key:{width}}  {value}")
