"""``asr lm``: build, prune, convert and judge n-gram language models."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.errors import UsageError

if TYPE_CHECKING:
    from asr.decoder.ngram import NGramModel

lm_app = typer.Typer(
    help="Build, prune, convert and judge n-gram language models.", no_args_is_help=True, rich_markup_mode=None
)

TEXT_HELP = "Normalised text, one sentence a line; plain, .gz or .xz; - for standard input."
LM_HELP = "An n-gram model: ARPA, plain or gzip, or this package's binary."
OUT_HELP = "Where to write the model: *.arpa, *.arpa.gz, or *.bin (this package's binary, mapped into memory)."


@lm_app.command()
def estimate(
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT", help=TEXT_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    order: Annotated[int, typer.Option(min=1, help="Length of the longest n-grams.")] = 3,
    cutoffs: Annotated[
        str, typer.Option(help="Leave out n-grams that occur at most so often, by order, as in 0,0,1; KenLM's --prune.")
    ] = "0",
    characters: Annotated[
        bool, typer.Option("--characters", help="Model characters, with | between words, instead of words.")
    ] = False,
) -> None:
    """Estimate an interpolated modified Kneser-Ney model from text.

    The text is taken as it stands: normalise it as the acoustic model's transcripts were.
    """
    require_out(out)
    from asr.decoder import ngram
    from asr.decoder.ngram.text import read_sentences, spell

    try:
        thresholds = [int(cutoff) for cutoff in cutoffs.replace(",", " ").split()]
    except ValueError:
        raise UsageError(f"--cutoffs {cutoffs!r}: expected whole numbers, one an order, for instance 0,0,1") from None
    sentences = read_sentences(texts)
    with warnings_on_stderr():
        model = ngram.estimate(spell(sentences) if characters else sentences, order=order, cutoffs=thresholds)
    write_model(model, out)


@lm_app.command()
def prune(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    threshold: Annotated[
        float, typer.Option(min=0.0, help="Leave out n-grams that cost at most this relative rise of perplexity.")
    ] = 1e-8,
) -> None:
    """Make a model smaller by entropy pruning (Stolcke 1998)."""
    require_out(out)
    from asr.decoder import ngram

    write_model(ngram.prune(ngram.NGramModel.read(lm), threshold), out)


@lm_app.command()
def convert(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    out: Annotated[Path, typer.Argument(help=OUT_HELP)],
) -> None:
    """Write a model in another format: ARPA to binary, which loads at once, or back."""
    require_out(out)
    from asr.decoder.ngram import NGramModel

    write_model(NGramModel.read(lm), out)


@lm_app.command()
def perplexity(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT", help=TEXT_HELP)],
) -> None:
    """Print how well a model predicts a text; lower is better, and comparable for equal vocabularies only."""
    from asr.decoder.ngram import NGramModel
    from asr.decoder.ngram.text import read_sentences

    result = NGramModel.read(lm).perplexity(read_sentences(texts))
    print(f"perplexity with OOVs     {result.with_oov:.4f}")
    print(f"perplexity without OOVs  {result.without_oov:.4f}")
    print(f"sentences {result.num_sentences}, tokens {result.num_tokens}, OOVs {result.num_oov}")


def require_out(out: Path) -> None:
    """Refuse, before any work, a name that says no format.

    Raises
    ------
    UsageError
        If the name ends in none of the known suffixes.
    """
    if not out.name.endswith((".arpa", ".arpa.gz", ".bin")):
        raise UsageError(f"cannot tell the format of {out}: expected a name ending in .arpa, .arpa.gz or .bin")


def write_model(model: "NGramModel", out: Path) -> None:
    """Write a model in the format that the name tells, and say on the error stream what was written."""
    if out.suffix == ".bin":
        model.write_binary(out)
    else:
        model.write_arpa(out)
    sizes = " / ".join(f"{count:,}" for count in model.counts)
    print(f"asr: {out}: {sizes} n-grams, {out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


@contextmanager
def warnings_on_stderr() -> Iterator[None]:
    """Print warnings as this program's own lines, without the line of code that raised them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        print(f"asr: warning: {warning.message}", file=sys.stderr)
