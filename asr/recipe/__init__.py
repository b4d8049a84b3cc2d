"""Recipes: a value that says how a corpus becomes a model, the stages that do it, and their command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.console import run as run_application
from asr.errors import UsageError, did_you_mean
from asr.recipe.recipe import LanguageModelConfig, Recipe, Run, TokenizerConfig
from asr.settings import override

__all__ = ["LanguageModelConfig", "Recipe", "TokenizerConfig", "main"]


def main(recipe: Recipe) -> None:
    """Run a recipe as its script's command line says; errors are one line and a status, as in ``asr``."""
    from asr.recipe.seeds import parse_seeds, run_seeds
    from asr.recipe.stages import STAGES, run_stages

    def command(
        stage: Annotated[list[str] | None, typer.Option(help=f"Only this (repeatable): {', '.join(STAGES)}.")] = None,
        setting: Annotated[list[str] | None, typer.Option("--set", help="Override: training.epochs=5.")] = None,
        data: Annotated[Path | None, typer.Option(help="Stores; by default data/<corpus>, or data/<name>.")] = None,
        out: Annotated[
            Path | None, typer.Option("--output-dir", "-o", "--out", help="Results; by default exp/<name>.")
        ] = None,
        archive: Annotated[Path | None, typer.Option(help="The corpus's archive, instead of a download.")] = None,
        jobs: Annotated[int, typer.Option(min=0, help="Processes for preparation; 0: one per core.")] = 0,
        seeds: Annotated[
            str, typer.Option(help="Train once with each seed, for instance 1,2,3, and keep the best on dev.")
        ] = "",
        allow_changes: Annotated[bool, typer.Option(help="Resume in a folder whose run had other settings.")] = False,
    ) -> None:
        for name in stage or ():
            if name not in STAGES:
                raise UsageError(f"unknown stage {name!r}; expected {', '.join(STAGES)}{did_you_mean(name, STAGES)}")
        changed = override(recipe, setting or ())
        data, out = data or Path("data", changed.corpus or changed.name), out or Path("exp", changed.name)
        run = Run(changed, data, out, jobs, archive, allow_changes)
        if seeds:
            if stage or any(text.replace(" ", "").startswith("training.seed=") for text in setting or ()):
                raise UsageError("--seeds runs all stages with each seed: leave out --stage and training.seed")
            run_seeds(run, parse_seeds(seeds))
        else:
            run_stages(run, tuple(stage or STAGES))

    command.__doc__ = f"Recipe {recipe.name}: {recipe.description}"
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    application.command()(command)
    run_application(application, Path(sys.argv[0]).name, "interrupted: run the same command again to resume")
