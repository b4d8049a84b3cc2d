"""The stages of a recipe. Each skips finished work: after a crash, simply run the recipe again.

prepare → tokenizer → train → lm → tune → evaluate

A store knows when it is complete; for the other stages, ``<out>/stages.json`` notes their inputs.
"""

from collections.abc import Callable

from asr.recipe.checks import check_machine, check_made_beforehand, check_origin, check_writable
from asr.recipe.evaluation import evaluate
from asr.recipe.language_model import lm, tune
from asr.recipe.ranks import first_does, is_first
from asr.recipe.recipe import Run
from asr.recipe.stage_state import check_settings
from asr.recipe.tokens import tokenizer
from asr.recipe.training import train


def prepare(run: Run) -> None:
    """Corpus → feature stores, one per split; if the recipe names no corpus, they must exist."""
    from asr.preparation.command import load_corpus
    from asr.preparation.options import PrepareOptions
    from asr.preparation.prepare import prepare as prepare_corpus
    from asr.store.remote import remote_address

    recipe = run.recipe
    own = tuple(split for split in recipe.splits if "/" not in split)
    made = recipe.corpus and not remote_address(run.data)
    check_made_beforehand(run, recipe.splits if not made else tuple(set(recipe.splits) - set(own)))
    if not made:
        return
    options = PrepareOptions(
        features=recipe.features,
        kind="audio" if recipe.waveforms else "features",
        splits=own,
        speeds=recipe.speeds,
        jobs=run.jobs,
        archive=run.archive,
    )
    prepare_corpus(load_corpus(recipe.corpus), run.data, options)


STAGES: dict[str, Callable[[Run], None]] = {
    "prepare": prepare,
    "tokenizer": tokenizer,
    "train": train,
    "lm": lm,
    "tune": tune,
    "evaluate": evaluate,
}


def run_stages(run: Run, stages: tuple[str, ...] = tuple(STAGES)) -> None:
    """Run stages in their order; under torchrun, only the first process does more than train.

    Raises
    ------
    AsrError
        If something cannot work; before the first stage where that can be known.
    """

    def before_training() -> None:
        check_writable(run.out)
        check_origin(run)
        check_settings(run)
        if "train" in stages:
            check_machine(run)
        some(("prepare", "tokenizer"))

    def some(names: tuple[str, ...]) -> None:
        for name in names:
            if name in stages:
                STAGES[name](run)

    first_does(before_training)
    some(("train",))
    if is_first():
        some(("lm", "tune", "evaluate"))
