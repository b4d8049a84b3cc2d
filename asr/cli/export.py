"""``asr export``."""

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.transcribe import require_model
from asr.errors import UsageError, did_you_mean

FORMATS = ("onnx", "huggingface")


def export(
    out: Annotated[Path, typer.Option(help="The folder to write, new or empty.")],
    format: Annotated[str, typer.Option(help="onnx: a graph for any program. huggingface: a bundle, for the Hub.")],
    model: Annotated[str, typer.Argument(help="A bundle's directory, or the name of a model that ships.")] = "",
    precision: Annotated[
        str, typer.Option(help="float32 or int8. Not given: float32 for onnx, what there is for huggingface.")
    ] = "",
    force: Annotated[bool, typer.Option(help="Replace an older export.")] = False,
) -> None:
    """Write a model for use elsewhere: as an ONNX file with its description, or as a folder for the Hugging Face Hub.

    A huggingface folder is a whole bundle: asr transcribe --model takes it. With --precision int8 it holds the
    quantised graph too.
    """
    model = require_model(model, "the model, as in asr export an4,")
    if format not in FORMATS:
        raise UsageError(f"--format is {format!r}; expected {' or '.join(FORMATS)}{did_you_mean(format, FORMATS)}")
    from asr.bundle.bundle import Bundle
    from asr.bundle.publish import export_huggingface, export_onnx
    from asr.bundle.runtime import check_precision

    bundle = Bundle.load(model)
    chosen = check_precision(bundle, precision) if precision else None
    if format == "onnx":
        export_onnx(bundle, out, chosen or "float32", force=force)
    else:
        export_huggingface(bundle, out, chosen, force=force)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path}")
