"""``asr recipe``, ``asr train`` and ``asr prepare``: the scripts that ship, and a user's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asr.scripts import Kind

recipe_app = typer.Typer(
    help="List and copy the recipes that ship; asr train runs them.", no_args_is_help=True, rich_markup_mode=None
)

# The script has options of its own, --help among them.
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@recipe_app.command("list")
def list_recipes() -> None:
    """Print the recipes, each with what it trains."""
    _list("recipes")


@recipe_app.command()
def copy(
    name: Annotated[str, typer.Argument(help="A recipe: digits.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The target folder; created if missing.")],
) -> None:
    """Copy a recipe into a folder, to be changed and run: asr recipe copy digits . && asr train ./digits.py."""
    from asr.scripts import copy_script

    written = copy_script("recipes", name, folder)
    print(f"{written}: asr train {'./' if written == Path(written.name) else ''}{written} runs it")


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="The name of a recipe, or the path of its script.")] = "",
) -> None:
    """Train a model by a recipe: asr train digits, or asr train ./mine.py --set training.epochs=5.

    asr train RECIPE --help lists the recipe's options; asr train alone lists the recipes.
    """
    _run("recipes", "train", recipe, context.args)


def prepare(
    context: typer.Context,
    corpus: Annotated[str, typer.Argument(help="The name of a corpus, or the path of its script.")] = "",
) -> None:
    """Prepare a corpus for training: asr prepare an4 --out data/an4.

    asr prepare CORPUS --help lists the options; asr prepare alone lists the corpora.
    """
    _run("data_prep", "prepare", corpus, context.args)


def _run(kind: "Kind", command: str, name: str, arguments: list[str]) -> None:
    from asr.scripts import find_script, run_script

    if name in ("", "--help", "-h"):
        print(f"Usage: asr {command} NAME|SCRIPT.py [OPTIONS]; asr {command} NAME --help lists them\n")
        _list(kind)
        return
    run_script(find_script(kind, name), arguments)


def _list(kind: "Kind") -> None:
    from asr.scripts import known_scripts, summary

    scripts = known_scripts(kind)
    width = max(map(len, scripts), default=0)
    for name, script in scripts.items():
        print(f"{name:{width}}  {summary(script)}")
