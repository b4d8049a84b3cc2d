"""What a recipe is, and where it reads and writes."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import UsageError
from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.training.config import TrainingConfig

if TYPE_CHECKING:
    from asr.data.store import FeatureStore


@dataclass(frozen=True)
class LanguageModelConfig:
    """An n-gram model of words, estimated on the training transcripts.

    Parameters
    ----------
    order : int
        Length of its longest n-grams; 0 for no language model.
    beam_size : int
        Of the search that uses it.
    """

    order: int = 0
    beam_size: int = 100

    def __post_init__(self) -> None:
        if self.order < 0 or self.beam_size < 2:
            raise UsageError(
                f"lm: got order {self.order} and beam size {self.beam_size}; expected an order of 0 (none) or more and "
                "a beam size of 2 or more"
            )


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
        Splits to train on, and to choose the best epoch and the decoder's weights by.
    test : tuple of str
        Splits to report.
    features : LogMelConfig
    global_normalisation : bool
        Whether features are normalised by one mean and deviation, measured on the training split, and not by those
        of their utterance.
    model : ModelConfig
    training : TrainingConfig
    lm : LanguageModelConfig
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
    global_normalisation: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    lm: LanguageModelConfig = field(default_factory=LanguageModelConfig)


@dataclass(frozen=True)
class Run:
    """A recipe at work.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        The feature stores, a folder a split.
    out : Path
        Receives checkpoints, the log, and the bundle.
    jobs : int
        Processes for preparation; 0: one a core.
    archive : Path, optional
        The corpus's archive, instead of a download.
    """

    recipe: Recipe
    data: Path
    out: Path
    jobs: int = 0
    archive: Path | None = None

    @property
    def bundle(self) -> Path:
        """Where the bundle is written to."""
        return self.out / "bundle"

    def store(self, split: str) -> "FeatureStore":
        """Return the feature store of `split`.

        Raises
        ------
        DataError
            If it is not prepared, or was prepared with other features than the recipe's.
        """
        from asr.data.store import FeatureStore
        from asr.evaluation.evaluate import check_features

        store = FeatureStore.open(self.data / split)
        expected = self.recipe.features
        if self.recipe.global_normalisation:
            # Mean and deviation were measured on the training split when it was prepared.
            measured = FeatureStore.open(self.data / self.recipe.train).config
            expected = replace(expected, normalisation="global", mean=measured.mean, std=measured.std)
        check_features(store, expected, f"recipe {self.recipe.name}")
        return store
