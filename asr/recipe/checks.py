"""Checks before a run, so that no hours are spent on one that would fail."""

import importlib.util
from collections.abc import Iterable
from dataclasses import fields
from itertools import chain, compress, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError, MissingExtraError, UsageError
from asr.files import probe_folder
from asr.recipe.ranks import check_ranks
from asr.recipe.recipe import Run
from asr.store.remote import is_store
from asr.tokenizer import PhoneTokenizer, Tokenizer

if TYPE_CHECKING:
    from asr.bundle.bundle import Bundle
    from asr.store.checking import Store

# Settings of a model that its weights do not depend on.
SHAPELESS = ("dropout", "variational_dropout", "reservoir", "spectral_radius")

# What cannot be encoded → how often it occurs, and the id of the first utterance that has it.
Found = dict[str, tuple[int, str]]


def check_writable(folder: Path) -> None:
    """Refuse an output folder that cannot be created or written to.

    Raises
    ------
    UsageError
        Naming the folder and the system's reason.
    """
    try:
        probe_folder(folder)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written to ({error.strerror or error}); expected a folder that can be created or "
            "written to: choose another with --out"
        ) from None


def check_machine(run: Run) -> None:
    """Refuse missing packages, devices or language models, and a precision that the device lacks.

    Raises
    ------
    MissingExtraError
        If a package that training needs is not installed.
    UsageError
        As `choose_device`, `computes_in_bfloat16` and `check_ranks`; or if there is no `LanguageModelConfig.file`.
    """
    kinds = {run.recipe.tokenizer.kind, run.recipe.intermediate_tokenizer.kind}
    subwords = ("sentencepiece",) if kinds & {"unigram", "bpe"} else ()
    for package in ("torch", "onnx", "pyarrow", "librosa", *subwords):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train", "training")

    from asr.training.optimizer import choose_device, computes_in_bfloat16

    config = run.recipe.training
    check_ranks(config)
    computes_in_bfloat16(config.precision, choose_device(config.device))
    if run.lm_file and not run.lm_file.is_file():
        raise UsageError(
            f"lm.file={run.recipe.lm.file}: no such file; expected a language model that asr lm wrote, or init, if "
            "training starts from a model that has one"
        )


def check_origin(run: Run) -> "Bundle | None":
    """Return the model to start from, if any, after checking that its features and shape are the recipe's.

    Raises
    ------
    UsageError
        Naming the settings that differ, as options that would make them equal.
    """
    origin = run.origin
    if origin is None:
        return None
    pairs = (("features", run.recipe.features, origin.features), ("model", run.recipe.model, origin.described()))
    different = []
    for section, ours, theirs in pairs:
        for field in fields(ours):
            got, expected = getattr(ours, field.name), getattr(theirs, field.name, None)
            if got != expected and field.name not in SHAPELESS:
                different.append(f"{section}.{field.name} is {got!r:.40}, expected {expected!r:.40}")
    if different:
        raise UsageError(
            f"init={run.recipe.init}: the recipe's features or model differ from those of {origin.name}: "
            f"{'; '.join(different)}: give the recipe these values (--set), or start from another model"
        )
    return origin


def check_made_beforehand(run: Run, splits: tuple[str, ...]) -> None:
    """Check that stores that the recipe does not prepare itself exist, are complete, and fit the recipe.

    Raises
    ------
    DataError
        Naming the missing ones, or what differs.
    """
    recipe = run.recipe
    missing = [split for split in splits if not (is_store(run.data / split) or (run.data / split).is_dir())]
    if missing:
        raise DataError(
            f"{run.data}: has no {' and no '.join(missing)}; expected stores of {', '.join(splits)}, which recipe "
            f"{recipe.name} does not prepare: prepare them first (python data_prep/manifest.py … --out {run.data}), "
            'or name others (--set train=…, --set dev=…, --set "test=()")'
        )
    for split in splits:
        copies = list(run.store(split).header.speeds)
        if split in recipe.train_weights and copies != list(recipe.speeds):
            raise DataError(
                f"{run.data / split}: was prepared with the speeds {copies}; expected the recipe's, "
                f"{list(recipe.speeds)}"
            )


def check_splits(run: Run) -> tuple["Store", list["Store"]]:
    """Return the store to train on and those to choose by.

    Stores to test on, if they exist, must have the same features.

    Raises
    ------
    DataError
        If one is not prepared or has other features, or a dev split has no words.
    """
    recipe = run.recipe
    for split in (*recipe.train_weights, *recipe.dev_splits):
        if is_store(run.data / split) and not _utterances(run.data / split):
            raise DataError(
                f"{run.data / split}: the split has no utterance; expected some: training learns from {recipe.train!r} "
                f"and chooses its best epoch by {recipe.dev!r}"
            )
    train = run.training_store()
    devs: list[Store] = [run.store(split) for split in recipe.dev_splits]
    for split in recipe.test:
        if is_store(run.data / split):
            run.store(split)
    for dev in devs:
        if not any(text.split() for text in dev.texts):
            raise DataError(
                f"{dev.path}: no transcript has words; expected some, because training chooses its best epoch by their "
                "word errors"
            )
    return train, devs


def _utterances(folder: Path) -> int:
    from asr.store.store import open_store

    return len(open_store(folder))


def check_letters(tokenizer: Tokenizer, stores: Iterable["Store"], max_disagreement: float | None = None) -> None:
    """Refuse transcripts with characters, or for phones words, that `tokenizer` cannot encode.

    In the first of `stores`, the training store, utterances whose disagreement exceeds `max_disagreement` are skipped:
    they are not trained on. In the others, the dev stores, characters are refused only if every utterance
    has some; otherwise `can_write` says which utterances to leave out.

    Raises
    ------
    DataError
        Listing each (only the first ten words), how often it occurs in each store, and the id of the first utterance.
    """
    limits = chain([max_disagreement], repeat(None))
    found_in = [(store, _unknown(tokenizer, store, limit)) for store, limit in zip(stores, limits, strict=False)]
    if isinstance(tokenizer, PhoneTokenizer):
        _check_words(found_in)
        return
    lines = []
    for number, (store, found) in enumerate(found_in):
        if number and found and can_write(tokenizer, store).any():
            continue
        lines += [
            f"  {character!r} (U+{ord(character):04X}) {count} times in {store.split}, as in {first}"
            for character, (count, first) in sorted(found.items())
        ]
    if lines:
        raise DataError(
            f"the tokens cannot write these characters of the transcripts; they know "
            f"{''.join(sorted(tokenizer.alphabet))!r}:\n" + "\n".join(lines) + "\nprepare the corpus with a text "
            "profile that maps or drops them, or choose tokens that can write them (tokenizer.kind)"
        )


def can_write(tokenizer: Tokenizer, store: "Store") -> NDArray[np.bool_]:
    """Return which transcripts of a store `tokenizer` can encode, ``(N,)`` bool."""
    return np.fromiter((not tokenizer.unknown(text) for text in store.texts), dtype=bool)


def _unknown(tokenizer: Tokenizer, store: "Store", max_disagreement: float | None) -> Found:
    """Return what cannot be encoded, how often it occurs, and the id of the first utterance that has it."""
    found: Found = {}
    rows: Iterable[tuple[str, str]] = zip(store.ids, store.texts, strict=True)
    if max_disagreement is not None:
        rows = compress(rows, (store.disagreements <= max_disagreement).tolist())
    for name, text in rows:
        parts = text.split() if isinstance(tokenizer, PhoneTokenizer) else text
        for unit in tokenizer.unknown(text):
            count, first = found.get(unit, (0, name))
            found[unit] = (count + parts.count(unit), first)
    return found


def _check_words(found_in: "list[tuple[Store, Found]]") -> None:
    told = []
    for store, found in found_in:
        most = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
        listed = "".join(f"\n  {word!r} {count} times, as in {first}" for word, (count, first) in most[:10])
        if found:
            told.append(f"{len(found)} words of {store.split}:{listed}{chr(10) + '  …' if len(found) > 10 else ''}")
    if told:
        raise DataError(
            "the lexicon has no pronunciation of " + "\nand of ".join(told) + "\nadd them to it (asr lexicon extend "
            "guesses them), or prepare the corpus with a text profile that writes numbers and symbols as words"
        )
