"""``asr convert``."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli import options


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder with an ONNX file (onnx-asr, sherpa-onnx, NeMo) or of transformers, or org/name."
        ),
    ],
    output_dir: Annotated[Path, typer.Option(*options.OUT, help="The folder to write, new or empty.")],
    name: Annotated[str, typer.Option(help="The model's name; by default the folder's.")] = "",
    language: Annotated[
        str, typer.Option(help="Code of the language; for MMS, also selects the vocabulary.", show_default="en")
    ] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights.", show_default="the Hub's")] = "",
    origin: Annotated[str, typer.Option(help="Where the model comes from, such as org/name@revision.")] = "",
    blank: Annotated[int | None, typer.Option(min=0, help="The blank's column, if it cannot be found.")] = None,
    max_seconds: Annotated[
        float, typer.Option(min=0, help="The longest utterance that the model takes; 0: as its files say, or any.")
    ] = 0.0,
    force: Annotated[bool, typer.Option(help="Replace an existing model.")] = False,
) -> None:
    """Make a bundle from a CTC model that another toolkit trained.

    An ONNX file is copied unchanged; a folder that transformers saved needs PyTorch: pip install 'ctc-asr[convert]'.
    """
    from asr.convert.convert import convert as convert_model

    bundle = convert_model(
        source, output_dir, name=name, language=language, licence=licence, origin=origin, blank=blank,
        max_seconds=max_seconds, force=force,
    )  # fmt: skip
    alone = "" if bundle.graph.batches else "; one utterance per run, because padding changes its values"
    print(
        f"{bundle.directory}: {len(bundle.tokenizer)} tokens, an output every {1000 * bundle.frame_seconds:g} ms{alone}"
    )
