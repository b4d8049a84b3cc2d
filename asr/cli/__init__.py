"""The command line: parses, calls one function, prints. Nothing heavy is imported before a command runs."""

import typer

from asr.cli import align, decode, evaluate, info, lm, transcribe
from asr.console import run

app = typer.Typer(
    name="asr",
    help="Speech to text: transcribe audio, evaluate models, decode log-probabilities, build language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(transcribe.transcribe)
app.command()(evaluate.evaluate)
app.command()(info.info)
app.command()(decode.decode)
app.command()(align.align)
app.add_typer(lm.lm_app, name="lm")


def main() -> None:
    """Run the command line."""
    run(app, "asr")
