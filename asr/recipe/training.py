"""The stage ``train``: feature stores → bundle."""

import filecmp
import shutil
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr.files import atomic_path, read_text, write_text
from asr.lexicon import PronouncingDictionary, read_lexicon
from asr.lexicon.formats import format_lexicon
from asr.recipe.checks import can_write, check_letters, check_origin, check_splits
from asr.recipe.ranks import in_ranks, is_first, ranks_to_start
from asr.recipe.recipe import Run
from asr.recipe.stage_state import is_current, learned_settings, write_settings, write_stamp
from asr.recipe.tokens import load_intermediate_tokenizer, load_tokenizer, targets_digest, transcripts
from asr.settings import digest
from asr.store.remote import is_store
from asr.tokenizer import LEXICON, PhoneTokenizer

if TYPE_CHECKING:
    from asr.bundle.bundle import Bundle
    from asr.model import AcousticModel
    from asr.store.checking import Store
    from asr.tokenizer import Tokenizer
    from asr.training.batches import BatchSource

# The layer with a row for each token.
OUTPUT = ("output.weight", "output.bias")

# Ids of utterances that cannot be trained on.
LEFT_OUT = "left_out.txt"


def train(run: Run) -> None:
    """Feature stores → bundle."""
    config = run.recipe.training
    check_origin(run)
    train_store, dev_stores = check_splits(run)
    stores = [train_store, *dev_stores]
    tokenizer = load_tokenizer(run)
    check_letters(tokenizer, stores, config.max_disagreement)
    middle = load_intermediate_tokenizer(run)
    stamp = _stamp(run, stores, [tokenizer, *([middle] if middle else [])])
    # Another run may have left its bundle there: of several seeds, the best one's.
    if is_current(run.out, "train", {**stamp, "weights": _written_weights(run)}, run.bundle):
        _put_words(run, tokenizer)
        return
    hours = float(_weights(run, train_store) @ train_store.durations_seconds) / 3600
    count = ranks_to_start(config, hours)
    if count > 1:
        in_ranks(train_checked, run, count)
    else:
        train_checked(run)
    if is_first():
        _put_words(run, tokenizer)
        write_stamp(run.out, "train", {**stamp, "weights": _written_weights(run)})
        print(f"wrote {run.bundle}", file=sys.stderr)


def train_checked(run: Run) -> None:
    """Train and write the bundle, with stores and tokens that have been checked; or run as one of the ranks."""
    from asr.training.batches import BatchSource
    from asr.training.loop import Trainer
    from asr.training.validation import label_priors

    recipe, config = run.recipe, run.recipe.training
    train_store, dev_stores = check_splits(run)
    tokenizer, middle = load_tokenizer(run), load_intermediate_tokenizer(run)
    weights = _weights(run, train_store)
    model = _model(run, train_store, weights, tokenizer)
    if middle:
        model.add_intermediate_output(len(middle))
    batch_frames = round(config.batch_seconds / recipe.features.hop_seconds)
    source = BatchSource(
        train_store, tokenizer, recipe.model, batch_frames, config.augment, weights=weights, middle=middle
    )
    devs = {
        split: BatchSource(
            store,
            tokenizer,
            recipe.model,
            batch_frames,
            weights=can_write(tokenizer, store).astype(np.float64),
            keep_short=True,
        )
        for split, store in zip(recipe.dev_splits, dev_stores, strict=True)
    }
    trainer = Trainer(model, tokenizer, source, devs, config, run.out)
    if is_first():
        _introduce(run, train_store, model, source)
        for split, dev in devs.items():
            _tell_unwritten(split, dev)
        write_settings(run)
    best = trainer.run(accept_changes=run.allow_changes)
    if is_first():
        _write_bundle(run, train_store, tokenizer, best)
        _write_priors(run, label_priors(best, source))


def _write_bundle(run: Run, store: "Store", tokenizer: "Tokenizer", model: "AcousticModel") -> None:
    from asr.bundle.bundle import Bundle
    from asr.bundle.card import model_card
    from asr.bundle.export import write_bundle

    recipe, origin = run.recipe, run.origin
    bundle = Bundle(
        directory=run.bundle,
        name=recipe.name,
        description=recipe.description,
        features=store.config,
        filterbank=store.filterbank,
        model=recipe.model,
        tokenizer=tokenizer,
        dataset=store.corpus,
        licence=recipe.licence,
        language=recipe.language,
        origin=f"{origin.name} (data: {origin.dataset}; licence: {origin.licence})" if origin else "",
    )
    write_bundle(bundle, model, model_card(bundle), run.bundle)


def _write_priors(run: Run, priors: NDArray[np.float32]) -> None:
    from asr.bundle.bundle import LABEL_PRIORS

    with atomic_path(run.bundle / LABEL_PRIORS) as temporary, temporary.open("wb") as file:
        np.save(file, priors)


def _put_words(run: Run, tokenizer: "Tokenizer") -> None:
    """Put the lexicon of phones, which may have grown since, and what guesses other words into the bundle."""
    from asr.bundle.bundle import G2P_FILE

    if not isinstance(tokenizer, PhoneTokenizer) or not is_first():
        return
    lexicon, text = run.bundle / LEXICON, format_lexicon(words_to_recognise(run, tokenizer))
    if not lexicon.is_file() or read_text(lexicon) != text:
        write_text(lexicon, text)
    g2p, own = run.bundle / G2P_FILE, run.g2p
    if own and not (g2p.is_file() and filecmp.cmp(g2p, own, shallow=False)):
        with atomic_path(g2p) as temporary:
            shutil.copyfile(own, temporary)


def words_to_recognise(run: Run, tokenizer: PhoneTokenizer) -> PronouncingDictionary:
    """Return the words of the recipe's lexicon, or its origin's, and of the training transcripts that people wrote.

    The tokenizer also knows the words of the dev sets, which a model that is measured on them must not have.
    """
    words = {word for text in transcripts(run.training_store(), 0.0) for word in text.split()}
    known = run.origin.tokenizer if run.origin and run.keeps_tokens else tokenizer
    assert isinstance(known, PhoneTokenizer)
    path = run.recipe.tokenizer.lexicon
    words |= set(read_lexicon(path) if path else known.lexicon)
    return tokenizer.lexicon.only(words)


def _stamp(run: Run, stores: "list[Store]", tokenizers: "list[Tokenizer]") -> dict[str, Any]:
    from asr.store.store import open_store

    recipe = run.recipe
    store_texts = [text for store in stores for text in store.texts]
    waveform = recipe.training.augment.waveform
    materials = [open_store(folder) for folder in waveform.materials if is_store(folder)]
    return {
        "settings": digest(learned_settings(run)),
        "named": digest([recipe.name, recipe.description, recipe.licence, recipe.language]),
        "tokens": digest([targets_digest(tokenizer, store_texts) for tokenizer in tokenizers]),
        "data": digest([store.identity for store in (*stores, *materials)]),
        "init": run.origin.weights_sha256 if run.origin else "",
    }


def _weights(run: Run, store: "Store") -> NDArray[np.float64]:
    """Return how often an epoch has each utterance, ``(N,)``: never if machines disagree too much on its transcript."""
    weights = np.repeat(list(run.recipe.train_weights.values()), [len(part) for part in store.parts])
    limit = run.recipe.training.max_disagreement
    return weights if limit is None else np.where(store.disagreements <= limit, weights, 0.0)


def _written_weights(run: Run) -> str:
    from asr.bundle.bundle import WEIGHTS
    from asr.store.layout import file_checksum

    path = run.bundle / WEIGHTS
    return file_checksum(path) if path.is_file() else ""


def _model(run: Run, store: "Store", weights: Any, tokenizer: "Tokenizer") -> "AcousticModel":
    """Return the model with its first weights, those of another model where the recipe says so."""
    import torch

    from asr.model import AcousticModel
    from asr.training.statistics import feature_statistics

    torch.manual_seed(run.recipe.training.seed)
    model = AcousticModel(run.recipe.model, store.config.n_mels, len(tokenizer))
    if run.recipe.model.normalisation == "global" and not run.origin:
        model.set_statistics(*feature_statistics(store, weights))
    if run.origin:
        shared = start_from(run.origin, model, tokenizer)
        if is_first():
            print(
                f"starting from {run.origin.name}: outputs for {shared} of {len(tokenizer)} tokens are kept",
                file=sys.stderr,
            )
    return model


def start_from(origin: "Bundle", model: "AcousticModel", tokenizer: "Tokenizer") -> int:
    """Give `model` the weights of `origin`, whose shape is the same but for the tokens.

    The output layer's rows for tokens that both have are copied; the others stay unchanged.

    Parameters
    ----------
    origin : Bundle
    model : AcousticModel
        With one output for each token of `tokenizer`.
    tokenizer : Tokenizer

    Returns
    -------
    int
        The number of tokens copied, including the blank.

    Raises
    ------
    ModelError
        If the bundle's weights cannot be read.
    """
    import torch

    known = {token: row for row, token in enumerate(origin.tokenizer.tokens)}
    shared = [(row, known[token]) for row, token in enumerate(tokenizer.tokens) if token in known]
    new_rows, old_rows = (torch.tensor(rows) for rows in zip(*shared, strict=True))
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in origin.weights().items()}
    state = model.state_dict()
    for name in OUTPUT:
        rows = state[name].clone()
        rows[new_rows] = weights[name][old_rows].to(rows)
        weights[name] = rows
    model.load_state_dict(weights)
    return len(shared)


def _tell_unwritten(split: str, source: "BatchSource") -> None:
    """Say which utterances of a dev set have characters that the training transcripts lack."""
    left_out = np.flatnonzero(source.weights == 0).tolist()
    if left_out:
        store = source.store
        characters = sorted({c for index in left_out for c in source.tokenizer.unknown(store.texts[index])})
        print(
            f"left out of {split} during training {len(left_out)} of {len(store)} utterances, with characters that the "
            f"tokens cannot write ({' '.join(map(repr, characters[:20]))}{' …' if len(characters) > 20 else ''}): "
            f"{', '.join(store.ids[index] for index in left_out[:5])}{', …' if len(left_out) > 5 else ''}; the stage "
            "evaluate counts them",
            file=sys.stderr,
        )


def _introduce(run: Run, store: "Store", model: "AcousticModel", source: "BatchSource") -> None:
    if source.too_short:
        path = run.out / LEFT_OUT
        write_text(path, "".join(f"{name}\n" for name in source.too_short))
        print(
            f"left out {len(source.too_short)} of {len(store)} utterances, whose transcripts need more frames than "
            f"they have: {', '.join(source.too_short[:5])}{', …' if len(source.too_short) > 5 else ''} (all in {path})",
            file=sys.stderr,
        )
    if source.too_long:
        print(
            f"{len(source.too_long)} utterances are longer than training.batch_seconds, so each is a batch of its own: "
            f"{', '.join(source.too_long[:5])}{', …' if len(source.too_long) > 5 else ''}",
            file=sys.stderr,
        )
    disagreeing = int((source.weights == 0).sum())
    if disagreeing:
        print(
            f"left out {disagreeing} of {len(store)} utterances whose machine transcripts disagree by more than "
            f"training.max_disagreement={run.recipe.training.max_disagreement:g}",
            file=sys.stderr,
        )
    if len(store.parts) > 1:
        for index, (split, weight) in enumerate(run.recipe.train_weights.items()):
            part = store.parts[index]
            print(f"{split}: {len(part)} utterances, {part.hours:.2f} h, weight {weight:g}", file=sys.stderr)
    named = model.named_parameters()
    parameters = sum(value.numel() for name, value in named if not name.startswith("intermediate."))
    print(
        f"training {run.recipe.name}: {len(store)} utterances, {store.hours:.2f} h, "
        f"{parameters / 1e6:.1f} M parameters"
        + (f", frozen: {', '.join(run.recipe.training.freeze)}" if run.recipe.training.freeze else ""),
        file=sys.stderr,
    )
    if isinstance(source.tokenizer, PhoneTokenizer):
        print("the tokens are phones: during training, WER is the error rate of phones", file=sys.stderr)
