"""The command line: parses, calls one function, prints. Nothing heavy is imported before a command runs."""

import os
from typing import Annotated

import typer

from asr.cli import (
    align,
    compare,
    convert,
    data,
    decode,
    evaluate,
    export,
    info,
    lexicon,
    listen,
    lm,
    push,
    recipe,
    serve,
    transcribe,
    tune,
)
from asr.console import run
from asr.version import __version__

app = typer.Typer(
    name="asr",
    help="Speech to text: transcribe audio, evaluate models, decode log-probabilities, build language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ctc-asr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


app.command()(transcribe.transcribe)
app.command()(listen.listen)
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(tune.tune)
app.command()(info.info)
app.command()(convert.convert)
app.command()(export.export)
app.command()(push.push)
app.command()(decode.decode)
app.command()(align.align)
app.command()(serve.serve)
app.command(context_settings=recipe.PASS_ON)(recipe.prepare)
app.command(context_settings=recipe.PASS_ON)(recipe.train)
app.add_typer(recipe.recipe_app, name="recipe")
app.add_typer(lm.lm_app, name="lm")
app.add_typer(lexicon.lexicon_app, name="lexicon")
app.add_typer(data.data_app, name="data")


def main() -> None:
    """Run the command line."""
    # What it says while it tries again comes besides our own error.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    run(app, "asr")
