"""``asr lm``: build, mix, prune, convert and judge n-gram language models."""

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import options
from asr.errors import DecodingError, UsageError

if TYPE_CHECKING:
    from asr.decoder.ngram import NGramModel

lm_app = typer.Typer(
    help="Build, mix, prune, convert and judge n-gram language models.", no_args_is_help=True, rich_markup_mode=None
)

TEXT_HELP = "Normalised text, one sentence per line; plain or packed (gz, bz2, xz, zst); a pipe; - for standard input."
LM_HELP = "An n-gram model: ARPA, plain or packed, or this package's .bin or .npz; for perplexity also KenLM's."
OUT_HELP = (
    "Where to write the model: *.arpa, packed if .gz, .bz2, .xz or .zst follows, *.bin (this package's binary, "
    "mapped into memory), or *.npz (quantised: a sixth of the size, read into memory)."
)


@lm_app.command()
def estimate(
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT", help=TEXT_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    order: Annotated[int, typer.Option(min=1, help="Length of the longest n-grams.")] = 3,
    cutoffs: Annotated[
        str, typer.Option(help="Drop n-grams that occur at most this often, by order: 0,0,1, as KenLM's --prune.")
    ] = "0",
    characters: Annotated[
        bool, typer.Option("--characters", help="Model characters, with | between words, instead of words.")
    ] = False,
    tokens_of: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Model the tokens of this model (a folder, or a name) instead of words."),
    ] = "",
) -> None:
    """Estimate an interpolated modified Kneser-Ney model from text.

    The text is not normalised: give it the form of the acoustic model's transcripts first.
    """
    require_out(out)
    from asr.decoder import ngram
    from asr.decoder.ngram.text import read_sentences, spell

    if characters and tokens_of:
        raise UsageError("got --characters and --tokens-of; expected only one of them")
    thresholds = options.numbers("--cutoffs", cutoffs, int, "whole numbers, one per order, for instance 0,0,1")
    sentences = read_sentences(texts)
    with warnings_on_stderr():
        if tokens_of:
            sentences = _in_tokens(sentences, tokens_of)
        elif characters:
            sentences = spell(sentences)
        model = ngram.estimate(sentences, order=order, cutoffs=thresholds)
    write_model(model, out)


@lm_app.command()
def prune(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    threshold: Annotated[
        float, typer.Option(min=0.0, help="Drop n-grams whose loss raises perplexity by at most this share.")
    ] = 1e-8,
    vocabulary: Annotated[
        Path | None, typer.Option(help="First drop every n-gram with a word that is not in this file, one per line.")
    ] = None,
) -> None:
    """Make a model smaller by entropy pruning (Stolcke 1998), and by a vocabulary."""
    require_out(out)
    from asr.decoder import ngram
    from asr.decoder.ngram.text import read_sentences

    model = ngram.NGramModel.read(lm)
    if vocabulary is not None:
        model = ngram.restrict(model, (line.strip() for line in read_sentences([vocabulary])))
    write_model(ngram.prune(model, threshold), out)


@lm_app.command()
def interpolate(
    lms: Annotated[list[Path], typer.Argument(metavar="LM...", help=LM_HELP)],
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    heldout: Annotated[
        list[Path] | None, typer.Option(help="Held-out text to find the weights on; repeatable.")
    ] = None,
    weights: Annotated[str, typer.Option(help="Fixed weights instead, one per model: 0.7,0.3.")] = "",
) -> None:
    """Mix models into one, with every n-gram that any of them has, at the mixture's probability.

    The weights are those that predict the held-out text best (by expectation maximisation). The held-out text should
    resemble what will be recognised, and must not be part of any model's text.
    """
    require_out(out)
    if bool(heldout) == bool(weights):
        raise UsageError("give either --heldout TEXT, to find the weights, or --weights 0.7,0.3")
    from asr.decoder import ngram
    from asr.decoder.ngram.text import read_sentences

    models = [ngram.NGramModel.read(lm) for lm in lms]
    if weights:
        shares = options.numbers("--weights", weights, float, "numbers, one per model, for instance 0.7,0.3")
        mixed = ngram.interpolate(models, shares)
    else:
        sentences = list(read_sentences(heldout or []))
        found = ngram.mixture_weights(models, sentences)
        for lm, weight, alone in zip(lms, found.weights, found.perplexities, strict=True):
            print(f"weight {weight:.4f}  perplexity alone {alone:9.2f}  {lm}")
        mixed = ngram.interpolate(models, found.weights)
        print(
            f"perplexity of the mixture {found.perplexity:.2f}, of the model written "
            f"{mixed.perplexity(sentences).without_oov:.2f}, without {found.num_oov} words unknown to all models"
        )
    write_model(mixed, out)


@lm_app.command()
def convert(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    out: Annotated[Path, typer.Argument(help=OUT_HELP)],
) -> None:
    """Write a model in another format: ARPA to binary, which loads instantly, or back."""
    require_out(out)
    from asr.decoder.ngram import NGramModel

    write_model(NGramModel.read(lm), out)


@lm_app.command()
def perplexity(
    lm: Annotated[Path, typer.Argument(help=LM_HELP)],
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT", help=TEXT_HELP)],
) -> None:
    """Print a model's perplexity on a text: lower is better, and comparable only between equal vocabularies."""
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
    from asr.decoder.ngram.model import check_suffix

    try:
        check_suffix(out)
    except DecodingError as error:
        raise UsageError(str(error)) from None


def _in_tokens(sentences: Iterable[str], model: str) -> Iterator[str]:
    """Yield sentences with a model's tokens as words, ``|`` for a space: text for fusion at every token."""
    from asr.convert.opening import open_bundle

    tokenizer = open_bundle(model).tokenizer
    for sentence in sentences:
        if sentence.strip():
            pieces = (tokenizer.tokens[token] for token in tokenizer.encode(" ".join(sentence.split())))
            yield " ".join("|" if piece == " " else piece for piece in pieces)


def write_model(model: "NGramModel", out: Path) -> None:
    """Write a model in the format that the name tells, and say on the error stream what was written."""
    model.write(out)
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
