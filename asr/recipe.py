"""A recipe: one value that says how a corpus becomes a model, and the stages that do it.

    prepare → train → evaluate

Each stage skips what is done: a recipe that was killed is simply run again.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from asr.console import run as run_application
from asr.errors import DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.settings import override, to_dict
from asr.training.config import TrainingConfig

STAGES = ("prepare", "train", "evaluate")


@dataclass(frozen=True)
class Recipe:
    """How a corpus becomes a model.

    Parameters
    ----------
    name : str
        Of the model; the bundle is written to ``exp/<name>/bundle``.
    corpus : str
        The corpus script: ``data_prep/<corpus>.py``.
    description : str
        One sentence for users: what the model knows, and what it does not.
    licence, language : str
        Of the model.
    train, dev : str
        Splits to train on, and to choose the best epoch by.
    test : tuple of str
        Splits to report.
    features : LogMelConfig
    model : ModelConfig
    training : TrainingConfig
    """

    name: str
    corpus: str
    description: str
    licence: str
    language: str = "en"
    train: str = "train"
    dev: str = "dev"
    test: tuple[str, ...] = ("test",)
    features: LogMelConfig = field(default_factory=LogMelConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class Run:
    """A recipe at work: where it reads and writes."""

    recipe: Recipe
    root: Path
    data: Path
    out: Path
    jobs: int = 0
    archive: Path | None = None

    def store(self, split: str) -> Any:
        """Return the feature store of `split`.

        Raises
        ------
        DataError
            If it is not prepared, or was prepared with other features than the recipe's.
        """
        from asr.data.store import FeatureStore

        store = FeatureStore.open(self.data / split)
        got, expected = to_dict(store.config), to_dict(self.recipe.features)
        different = [f"{key}: {got[key]} (recipe: {expected[key]})" for key in expected if got[key] != expected[key]]
        if different:
            raise DataError(
                f"{self.data / split}: was prepared with other features than the recipe's: {'; '.join(different)}: "
                "run the stage prepare with another --data, or delete the store"
            )
        return store


def prepare(run: Run) -> None:
    """Corpus → feature stores, one a split."""
    from asr.data.corpus import PrepareOptions, load_corpus
    from asr.data.corpus import prepare as prepare_corpus

    recipe = run.recipe
    splits = tuple(dict.fromkeys((recipe.train, recipe.dev, *recipe.test)))
    corpus = load_corpus(run.root / "data_prep" / f"{recipe.corpus}.py")
    prepare_corpus(
        corpus,
        run.data,
        PrepareOptions(features=recipe.features, splits=splits, jobs=run.jobs, archive=run.archive),
    )


def train(run: Run) -> None:
    """Feature stores → bundle."""
    import torch

    from asr.features import mel_filterbank
    from asr.model import AcousticModel
    from asr.tokenizer import CharTokenizer
    from asr.training.batches import BatchSource
    from asr.training.card import model_card
    from asr.training.export import write_bundle
    from asr.training.loop import Trainer
    from asr.transcription.bundle import Bundle

    recipe, config = run.recipe, run.recipe.training
    train_store, dev_store = run.store(recipe.train), run.store(recipe.dev)
    tokenizer = CharTokenizer.from_texts(train_store.texts)
    torch.manual_seed(config.seed)
    model = AcousticModel(recipe.model, recipe.features.n_mels, len(tokenizer))
    batch_frames = round(config.batch_seconds / recipe.features.hop_seconds)
    sources = (
        BatchSource(train_store, tokenizer, recipe.model, batch_frames, config.augment),
        BatchSource(dev_store, tokenizer, recipe.model, batch_frames, keep_short=True),
    )
    if sources[0].too_short:
        ids = ", ".join(sources[0].too_short[:5])
        print(
            f"left out {len(sources[0].too_short)} of {len(train_store)} utterances, whose transcripts need more "
            f"frames than they have: {ids}{', …' if len(sources[0].too_short) > 5 else ''}",
            file=sys.stderr,
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"training {recipe.name}: {len(train_store)} utterances, {train_store.hours:.2f} h, "
        f"{parameters / 1e6:.1f} M parameters",
        file=sys.stderr,
    )
    best = Trainer(model, tokenizer, *sources, config, run.out).run()
    bundle = Bundle(
        directory=run.out / "bundle",
        name=recipe.name,
        description=recipe.description,
        features=recipe.features,
        filterbank=mel_filterbank(recipe.features),
        model=recipe.model,
        tokenizer=tokenizer,
        dataset=recipe.corpus,
        licence=recipe.licence,
        language=recipe.language,
    )
    write_bundle(bundle, best, model_card(bundle), run.out / "bundle")
    print(f"wrote {run.out / 'bundle'}", file=sys.stderr)


def evaluate(run: Run) -> None:
    """Bundle and test stores → WER table, also written into the bundle."""
    from asr.decoder import GreedyDecoder
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.files import write_text
    from asr.tokenizer import BLANK
    from asr.training.card import model_card
    from asr.transcription.bundle import Bundle
    from asr.transcription.runtime import OnnxRuntime

    bundle = Bundle.load(run.out / "bundle")
    runtime = OnnxRuntime(bundle)
    decoder = GreedyDecoder(bundle.tokenizer.tokens, blank=BLANK, frame_seconds=bundle.frame_seconds)
    table = Table("test set", "utterances", "words", "WER %", "95 % interval", "CER %", title=run.recipe.name)
    results: dict[str, Any] = {}
    for split in (run.recipe.dev, *run.recipe.test):
        result = evaluate_store(run.store(split), bundle, runtime, decoder)
        low, high = (100 * rate for rate in result.interval())
        wer, cer = 100 * (result.words.rate or 0.0), 100 * (result.characters.rate or 0.0)
        utterances, words = len(result.utterances), result.words.reference_length
        results[split] = {
            "wer": round(wer, 3), "cer": round(cer, 3), "low": round(low, 2), "high": round(high, 2),
            "utterances": utterances, "words": words,
        }  # fmt: skip
        table.add_row(split, str(utterances), str(words), f"{wer:.2f}", f"{low:.1f}–{high:.1f}", f"{cer:.2f}")
        print(f"{split}: {result.words.kaldi_line()}")
    bundle = dataclasses.replace(bundle, results=results)
    write_text(bundle.directory / "config.json", bundle.config_json())
    write_text(bundle.directory / "README.md", model_card(bundle))
    Console().print(table)


def run_stages(run: Run, stages: tuple[str, ...]) -> None:
    """Run `stages` in the order of the flow."""
    functions = {"prepare": prepare, "train": train, "evaluate": evaluate}
    for stage in STAGES:
        if stage in stages:
            functions[stage](run)


def main(recipe: Recipe) -> None:
    """Run a recipe as its script's command line says; errors end it with one line and a status, as in ``asr``."""
    root = Path(sys.argv[0]).resolve().parent.parent

    def command(
        stage: Annotated[list[str], typer.Option(help=f"Only this stage (repeatable): {', '.join(STAGES)}.")] = [],  # noqa: B006
        set_: Annotated[list[str], typer.Option("--set", help="Override a setting: training.epochs=5.")] = [],  # noqa: B006
        data: Annotated[Path | None, typer.Option(help="Feature stores.  [default: data/<corpus>]")] = None,
        out: Annotated[Path | None, typer.Option(help="Results.  [default: exp/<name>]")] = None,
        archive: Annotated[Path | None, typer.Option(help="The corpus's archive, instead of a download.")] = None,
        jobs: Annotated[int, typer.Option(min=0, help="Processes for preparation; 0: one a core.")] = 0,
    ) -> None:
        for name in stage:
            if name not in STAGES:
                raise UsageError(f"unknown stage {name!r}; expected {', '.join(STAGES)}{did_you_mean(name, STAGES)}")
        wanted = override(recipe, set_)
        run = Run(
            wanted,
            root,
            data or Path("data", wanted.corpus),
            out or Path("exp", wanted.name),
            jobs,
            archive,
        )
        run_stages(run, tuple(stage) or STAGES)

    command.__doc__ = f"Recipe {recipe.name}: {recipe.description}"
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    application.command()(command)
    run_application(application, Path(sys.argv[0]).name, "interrupted: run the same command again to go on")
