"""What a recipe is, and where it reads and writes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr.errors import UsageError
from asr.features import LogMelConfig
from asr.model_config import ModelConfig
from asr.settings import check_types
from asr.training.config import TrainingConfig

if TYPE_CHECKING:
    from asr.bundle.bundle import Bundle
    from asr.store.store import AudioStore, FeatureStore

TokenizerKind = Literal["characters", "unigram", "bpe", "phones", "init", "same"]


@dataclass(frozen=True)
class TokenizerConfig:
    """What the model's outputs stand for, learned from the training transcripts.

    Parameters
    ----------
    kind : {"characters", "unigram", "bpe", "phones", "init", "same"}
        Their characters, subwords of SentencePiece (Kudo & Richardson 2018), the phones that a lexicon gives their
        words, or the tokens of the model that training starts from (`Recipe.init`). "same" is for
        `Recipe.intermediate_tokenizer` alone: those of the model's output.
    vocab_size : int
        Number of subwords, the blank among them; 0 for the other kinds.
    lexicon : str
        For phones: a file of words and their phones, as `asr.lexicon.read_lexicon` reads it. All its words can be
        recognised; it may grow after training, as long as the training words' phones stay.
    g2p : str
        For phones: a pronunciation model (``asr lexicon train``), which guesses the phones of the transcripts' words
        that the lexicon lacks, and goes into the bundle to guess those of hotwords. Empty: they must be in it.
    word_boundary : bool
        For phones: whether a token of its own stands between words.
    """

    kind: TokenizerKind = "characters"
    vocab_size: int = 0
    lexicon: str = ""
    g2p: str = ""
    word_boundary: bool = True

    def __post_init__(self) -> None:
        check_types(self, "tokenizer")
        subwords = self.kind in ("unigram", "bpe")
        if subwords != (self.vocab_size > 0) or self.vocab_size < 0:
            raise UsageError(
                f"tokenizer: got kind {self.kind!r} and vocab_size {self.vocab_size}; expected a size, such as 500, "
                "for unigram and bpe, and 0 for the other kinds, which bring their own"
            )
        if (self.kind == "phones") != bool(self.lexicon) or (self.g2p and not self.lexicon):
            raise UsageError(
                f"tokenizer: got kind {self.kind!r}, lexicon {self.lexicon!r} and g2p {self.g2p!r}; expected the file "
                "of a lexicon for phones, as asr lexicon build writes it, and neither for the other kinds"
            )


@dataclass(frozen=True)
class LanguageModelConfig:
    """An n-gram model of words, estimated on the training transcripts or made beforehand.

    Parameters
    ----------
    order : int
        Length of its longest n-grams; 0 for no language model, or for that of `file`.
    file : str
        A model made beforehand, as ``asr lm`` writes it, instead of one of the training transcripts.
    beam_size : int
        Of the search that uses it.
    cutoffs : tuple of int
        N-grams of length k that occur at most ``cutoffs[k - 1]`` times are left out; see `asr.decoder.ngram.estimate`.
    tune_utterances : int
        The most dev utterances to choose the weights by, drawn at random.
    """

    order: int = 0
    file: str = ""
    beam_size: int = 100
    cutoffs: tuple[int, ...] = ()
    tune_utterances: int = 500

    def __post_init__(self) -> None:
        check_types(self, "lm")
        if self.order < 0 or self.beam_size < 2:
            raise UsageError(
                f"lm: got order {self.order} and beam size {self.beam_size}; expected an order of 0 (none) or more and "
                "a beam size of 2 or more"
            )
        if self.file and (self.order or self.cutoffs):
            raise UsageError(
                f"lm: got the file {self.file!r} and order {self.order}, cutoffs {self.cutoffs}; expected no order and "
                "no cutoffs for a model made beforehand"
            )
        if self.tune_utterances < 1:
            raise UsageError(f"lm.tune_utterances is {self.tune_utterances}; expected 1 or more")

    @property
    def wanted(self) -> bool:
        """Whether there is to be a language model."""
        return bool(self.order or self.file)


@dataclass(frozen=True)
class Recipe:
    """How a corpus becomes a model.

    Parameters
    ----------
    name : str
        Of the model; the bundle is written to ``exp/<name>/bundle``.
    corpus : str
        The corpus script: ``data_prep/<corpus>.py``; empty where the stores are made beforehand, as
        ``data_prep/manifest.py`` does.
    description : str
        One sentence for users: what the model knows, and what it does not.
    licence, language : str
        Of the model.
    train : str
        What to train on: a split, or several with commas between, such as ``"clean,pseudo:0.5"``. After a colon stands
        how often an epoch has each utterance of the split, on average: 2 is twice, 0.5 half of them, drawn anew in each
        epoch; 1 where nothing stands. What has a slash is the folder of a store made beforehand.
    dev : str
        The split to choose the best epoch and the decoder's weights by; or several with commas between: the best epoch
        is then that of the lowest mean over the sets, each of which counts the same whatever its size.
    test : tuple of str
        Splits to report.
    features : LogMelConfig
    waveforms : bool
        Whether the stores hold waveforms, which ``training.augment.waveform`` changes, and not features.
    speeds : tuple of float
        Speed-perturbed copies of the training utterances (Ko et al. 2015), such as (0.9, 1.1).
    tokenizer : TokenizerConfig
    intermediate_tokenizer : TokenizerConfig
        What the middle layer's outputs stand for in training, where ``training.intermediate_ctc`` is above 0: "same" as
        the model's own, through the same output layer; or others, such as phones below and characters above, through
        an output layer that the bundle does not have.
    init : str
        Fine-tuning: the model that training starts from, a bundle's directory or the name of one that ships. Features
        and the shape of the model must be the same; its outputs for tokens that the new alphabet has too are kept.
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
    waveforms: bool = False
    speeds: tuple[float, ...] = ()
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    intermediate_tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(kind="same"))
    init: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    lm: LanguageModelConfig = field(default_factory=LanguageModelConfig)

    def __post_init__(self) -> None:
        check_types(self, "")
        # Refuse what they cannot read.
        self.train_weights, self.dev_splits  # noqa: B018
        if self.tokenizer.kind == "same" or self.intermediate_tokenizer.kind == "init":
            raise UsageError(
                f"tokenizer.kind is {self.tokenizer.kind!r} and intermediate_tokenizer.kind "
                f"{self.intermediate_tokenizer.kind!r}; expected 'same' for the latter alone, and 'init' for the former"
            )
        if self.intermediate_tokenizer.kind != "same" and not self.training.intermediate_ctc:
            raise UsageError(
                f"intermediate_tokenizer.kind is {self.intermediate_tokenizer.kind!r}, but training.intermediate_ctc "
                "is 0; expected a weight for it, such as 0.3"
            )
        self.model.check_frozen(self.training.freeze)
        if self.tokenizer.kind == "init" and not self.init:
            raise UsageError("tokenizer.kind is 'init', but there is no model to start from; expected --set init=MODEL")

    @property
    def train_weights(self) -> dict[str, float]:
        """The splits to train on, with their weights."""
        weights: dict[str, float] = {}
        for part in self.train.split(","):
            name, colon, number = part.strip().rpartition(":")
            try:
                weight = float(number) if colon else 1.0
            except ValueError:
                weight = math.nan
            name = name if colon else part.strip()
            if not name or name in weights or not 0 < weight < math.inf:
                raise UsageError(
                    f"train is {self.train!r}; expected splits, each once, with commas between, and weights above 0 "
                    'after colons where they are not 1, as in "clean,pseudo:0.5"'
                )
            weights[name] = weight
        return weights

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The splits to choose by."""
        splits = tuple(part.strip() for part in self.dev.split(","))
        if "" in splits or len(set(splits)) < len(splits):
            raise UsageError(
                f'dev is {self.dev!r}; expected splits, each once, with commas between, as in "clean,calls"'
            )
        return splits

    @property
    def splits(self) -> tuple[str, ...]:
        """All that are trained on, chosen by and reported, each once."""
        return tuple(dict.fromkeys((*self.train_weights, *self.dev_splits, *self.test)))


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
    allow_changes : bool
        Whether to go on in a folder whose run had other settings.
    """

    recipe: Recipe
    data: Path
    out: Path
    jobs: int = 0
    archive: Path | None = None
    allow_changes: bool = False

    @property
    def bundle(self) -> Path:
        """Where the bundle is written to."""
        return self.out / "bundle"

    @cached_property
    def origin(self) -> "Bundle | None":
        """The model that training starts from, if any; raises as `open_bundle`."""
        from asr.convert.opening import open_bundle

        return open_bundle(self.recipe.init) if self.recipe.init else None

    def store(self, split: str) -> "FeatureStore | AudioStore":
        """Return the store of `split`.

        Raises
        ------
        DataError
            If it is not prepared, is empty, or was prepared with other features than the recipe's.
        """
        from asr.store.checking import check_features
        from asr.store.store import AudioStore, FeatureStore

        kind = AudioStore if self.recipe.waveforms else FeatureStore
        store = kind.open(self.data / split)
        check_features(store, self.recipe.features, f"recipe {self.recipe.name}")
        return store

    def training_store(self) -> "FeatureStore | AudioStore":
        """Return the stores to train on as one; `parts` are those of the recipe's splits.

        Raises
        ------
        DataError
            As `store`; or if their mel filters differ.
        """
        return self._joined(self.recipe.train_weights)

    def dev_store(self) -> "FeatureStore | AudioStore":
        """Return the stores to choose by as one, as `training_store` does."""
        return self._joined(self.recipe.dev_splits)

    def _joined(self, splits: Iterable[str]) -> "FeatureStore | AudioStore":
        from asr.store.checking import check_same_features
        from asr.store.store import AudioStore, FeatureStore

        stores = [self.store(split) for split in splits]
        for other in stores[1:]:
            check_same_features(stores[0], other)
        kind: Any = AudioStore if self.recipe.waveforms else FeatureStore
        joined: FeatureStore | AudioStore = kind.join(stores)
        return joined
