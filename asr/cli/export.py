"""``asr export``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from asr.cli import options
from asr.errors import UsageError, did_you_mean

FORMATS = ("onnx", "huggingface")


def export(
    output_dir: Annotated[Path, typer.Option(*options.OUT, help="The folder to write, new or empty.")],
    format: Annotated[str, typer.Option(help="onnx: a graph for any program. huggingface: a bundle, for the Hub.")],
    model: options.ModelArgument = "",
    precision: Annotated[
        Literal["float32", "int8"] | None,
        typer.Option(help="By default float32 for onnx, and every graph of the bundle for huggingface."),
    ] = None,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="For huggingface: add the graph for streams, if the bundle has none.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Replace an existing export.")] = False,
) -> None:
    """Write a model for use elsewhere: as an ONNX file with its description, or as a folder for the Hugging Face Hub.

    A huggingface folder is a whole bundle: asr transcribe --model takes it. With --precision int8 it holds the
    quantised graph too. With --streaming it holds the graph for streams, if the model can stream: older bundles have
    none, and asr listen builds it each time, which needs the [train] extra.
    """
    model = options.require_model(model, "the model, as in asr export an4,")
    if format not in FORMATS:
        raise UsageError(f"--format is {format!r}; expected {' or '.join(FORMATS)}{did_you_mean(format, FORMATS)}")
    from asr.bundle.publish import export_huggingface, export_onnx
    from asr.bundle.runtime import check_precision
    from asr.convert.opening import open_bundle

    bundle = open_bundle(model)
    chosen = check_precision(bundle, precision) if precision else None
    if streaming and format == "onnx":
        raise UsageError("--streaming adds a graph to a bundle: give --format huggingface")
    if format == "onnx":
        export_onnx(bundle, output_dir, chosen or "float32", force=force)
    else:
        export_huggingface(bundle, output_dir, chosen, force=force, streaming=streaming)
    for path in sorted(output_dir.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path}")
