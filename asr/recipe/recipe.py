"""A recipe, and the folders that it reads and writes."""

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
    """The model's tokens, learned from the training transcripts.

    Parameters
    ----------
    kind : {"characters", "unigram", "bpe", "phones", "init", "same"}
        The transcripts' characters, subwords of SentencePiece (Kudo & Richardson 2018), the phones of their words
        by a lexicon, or the tokens of the model that training starts from (`Recipe.init`). "same" is only for
        `Recipe.intermediate_tokenizer`: the tokens of the model's output.
    vocab_size : int
        Number of subwords, the blank among them; 0 for the other kinds.
    lexicon : str
        For phones: a file of words and their phones, as `asr.lexicon.read_lexicon` reads it. All its words can be
        recognised; it may grow after training, as long as the phones of the training words stay the same.
    g2p : str
        For phones: a pronunciation model (``asr lexicon train``), which guesses the phones of transcript words
        that the lexicon lacks, and goes into the bundle to guess those of hotwords. Empty: the lexicon must have all.
    word_boundary : bool
        For phones: whether there is a token between words.
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
                "for unigram and bpe, and 0 for the other kinds"
            )
        if (self.kind == "phones") != bool(self.lexicon) or (self.g2p and not self.lexicon):
            raise UsageError(
                f"tokenizer: got kind {self.kind!r}, lexicon {self.lexicon!r} and g2p {self.g2p!r}; expected the file "
                "of a lexicon for phones, as asr lexicon build writes it, and neither for the other kinds"
            )


@dataclass(frozen=True)
class LanguageModelConfig:
    """An n-gram model of words, estimated on the training transcripts or an existing file.

    Parameters
    ----------
    order : int
        Length of its longest n-grams; 0 for no language model, or for that of `file`.
    file : str
        An existing model, written by ``asr lm``, instead of one of the training transcripts; "init" is that of the
        model that training starts from (`Recipe.init`).
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
                "no cutoffs for an existing model"
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
        The corpus script: ``data_prep/<corpus>.py``; empty if the stores exist already, made for instance by
        ``data_prep/manifest.py``.
    description : str
        One sentence for users: what the model recognises, and what it does not.
    licence, language : str
        Of the model.
    train : str
        The training splits, separated by commas, such as ``"clean,pseudo:0.5"``. The number after a colon, by default
        1, says how often each utterance of the split occurs in an epoch, on average: 2 means twice, 0.5 half of the
        utterances, drawn anew in each epoch. A name with a slash is the folder of an existing store.
    dev : str
        The split to choose the best epoch and the decoder's weights by; or several, separated by commas: the best
        epoch then has the lowest mean over the sets, each of which counts the same whatever its size.
    test : tuple of str
        Splits to report.
    features : LogMelConfig
    waveforms : bool
        Whether the stores hold waveforms (which ``training.augment.waveform`` can change) instead of features.
    speeds : tuple of float
        Speed-perturbed copies of the training utterances (Ko et al. 2015), such as (0.9, 1.1).
    tokenizer : TokenizerConfig
    intermediate_tokenizer : TokenizerConfig
        The tokens of the middle layer in training, if ``training.intermediate_ctc`` is above 0: "same" uses the
        model's own, through the same output layer; others, such as phones below characters, go through
        an output layer that is not part of the bundle.
    init : str
        Fine-tuning: the model that training starts from, a bundle's directory or the name of one that ships. Features
        and the shape of the model must be the same; its outputs for tokens that both alphabets have are kept.
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
                f"{self.intermediate_tokenizer.kind!r}; expected 'same' only for the second, and 'init' only for the "
                "first"
            )
        if self.intermediate_tokenizer.kind != "same" and not self.training.intermediate_ctc:
            raise UsageError(
                f"intermediate_tokenizer.kind is {self.intermediate_tokenizer.kind!r}, but training.intermediate_ctc "
                "is 0; expected a weight for it, such as 0.3"
            )
        self.model.check_frozen(self.training.freeze)
        if self.tokenizer.kind == "init" and not self.init:
            raise UsageError("tokenizer.kind is 'init', but no model to start from is given; expected --set init=MODEL")

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
                    f"train is {self.train!r}; expected splits, each once, separated by commas, with weights above 0 "
                    'after colons unless they are 1, as in "clean,pseudo:0.5"'
                )
            weights[name] = weight
        return weights

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The splits to choose by."""
        splits = tuple(part.strip() for part in self.dev.split(","))
        if "" in splits or len(set(splits)) < len(splits):
            raise UsageError(
                f'dev is {self.dev!r}; expected splits, each once, separated by commas, as in "clean,calls"'
            )
        return splits

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits for training, choosing and reporting, each once."""
        return tuple(dict.fromkeys((*self.train_weights, *self.dev_splits, *self.test)))


@dataclass(frozen=True)
class Run:
    """A recipe with its folders.

    Parameters
    ----------
    recipe : Recipe
    data : Path
        The feature stores, one folder per split.
    out : Path
        Receives checkpoints, the log, and the bundle.
    jobs : int
        Processes for preparation; 0: one per core.
    archive : Path, optional
        The corpus's archive, instead of a download.
    allow_changes : bool
        Whether to resume in a folder whose run had other settings.
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

    @property
    def keeps_tokens(self) -> bool:
        """Whether the tokens are those of the model that training starts from."""
        return self.recipe.tokenizer.kind == "init"

    @property
    def g2p(self) -> Path | None:
        """What guesses the phones of words that the lexicon lacks: the recipe's, or that of the tokens' own model."""
        from asr.bundle.bundle import G2P_FILE

        if self.recipe.tokenizer.g2p:
            return Path(self.recipe.tokenizer.g2p)
        path = self.origin.directory / G2P_FILE if self.keeps_tokens and self.origin else None
        return path if path and path.is_file() else None

    @property
    def lm_file(self) -> Path | None:
        """The existing language model that the recipe names, if any; "init" is that of the origin, if it has one."""
        of_origin = self.origin.language_model if self.recipe.lm.file == "init" and self.origin else None
        return of_origin or (Path(self.recipe.lm.file) if self.recipe.lm.file else None)

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
