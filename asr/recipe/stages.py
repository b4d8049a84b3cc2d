"""The stages of a recipe. Each skips what is done: a recipe that was killed is simply run again.

prepare → train → lm → evaluate

A store knows when it is whole; of the other stages ``<out>/stages.json`` notes what each was done with.
"""

import dataclasses
import hashlib
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from asr.files import write_text
from asr.recipe.recipe import Run
from asr.settings import to_dict

STAMPS = "stages.json"


def prepare(run: Run) -> None:
    """Corpus → feature stores, one a split."""
    from asr.data.corpus import PrepareOptions, load_corpus
    from asr.data.corpus import prepare as prepare_corpus

    recipe = run.recipe
    splits = tuple(dict.fromkeys((recipe.train, recipe.dev, *recipe.test)))
    options = PrepareOptions(
        features=recipe.features,
        normalisation="global" if recipe.global_normalisation else None,
        splits=splits,
        jobs=run.jobs,
        archive=run.archive,
    )
    prepare_corpus(load_corpus(recipe.corpus), run.data, options)


def train(run: Run) -> None:
    """Feature stores → bundle."""
    import torch

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
    model = AcousticModel(recipe.model, train_store.config.n_mels, len(tokenizer))
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
    trainer = Trainer(model, tokenizer, *sources, config, run.out)
    best = trainer.run()
    stamp = {"run": trainer.fingerprint, "weights": digest(run.out / "best.safetensors")}
    if run.bundle.is_dir() and read_stamps(run).get("train") == stamp:
        return
    bundle = Bundle(
        directory=run.bundle,
        name=recipe.name,
        description=recipe.description,
        features=train_store.config,
        filterbank=train_store.filterbank,
        model=recipe.model,
        tokenizer=tokenizer,
        dataset=recipe.corpus,
        licence=recipe.licence,
        language=recipe.language,
    )
    write_bundle(bundle, best, model_card(bundle), run.bundle)
    write_stamp(run, "train", stamp)
    print(f"wrote {run.out / 'bundle'}", file=sys.stderr)


def lm(run: Run) -> None:
    """Training transcripts → n-gram model and decoder weights in the bundle, where the recipe asks for a model.

    The weights are tuned on the dev set with a model of the training transcripts alone: one that has seen the dev
    transcripts would come out too heavy. The model that stays in the bundle has seen both.
    """
    if not run.recipe.lm.order:
        return
    from asr.decoder import BeamOptions, BeamSearchDecoder
    from asr.decoder.ngram import estimate
    from asr.evaluation.tune import tune
    from asr.tokenizer import BLANK
    from asr.transcription.bundle import LANGUAGE_MODEL, Bundle
    from asr.transcription.runtime import OnnxRuntime

    bundle = Bundle.load(run.bundle)
    stamp = {"train": read_stamps(run).get("train"), "lm": to_dict(run.recipe.lm)}
    if (run.bundle / LANGUAGE_MODEL).is_file() and read_stamps(run).get("lm") == stamp:
        return
    train_store, dev_store = run.store(run.recipe.train), run.store(run.recipe.dev)
    runtime = OnnxRuntime(bundle)
    log_probs = [runtime([dev_store[index].features])[0] for index in range(len(dev_store))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        texts = list(train_store.texts)
        models = [estimate(text, run.recipe.lm.order) for text in (texts, [*texts, *dev_store.texts])]
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"language model: {message}", file=sys.stderr)
    decoder = BeamSearchDecoder(
        bundle.tokenizer.tokens,
        blank=BLANK,
        frame_seconds=bundle.frame_seconds,
        options=BeamOptions(beam_size=run.recipe.lm.beam_size),
        lm=models[0],
    )

    def recogniser(alpha: float, beta: float) -> Any:
        weighted = decoder.with_options(alpha=alpha, beta=beta)

        def recognise(utterances: Sequence[NDArray[Any]]) -> list[str]:
            return [hypotheses[0].text for hypotheses in weighted.decode_batch(utterances, threads=2)]

        return recognise

    tuned = tune(log_probs, list(dev_store.texts), recogniser)
    print(
        f"language model: perplexity of the dev transcripts {models[0].perplexity(dev_store.texts).with_oov:.1f}, "
        f"alpha {tuned.alpha:g}, beta {tuned.beta:g}, dev {tuned.counts.kaldi_line()}",
        file=sys.stderr,
    )
    bundle = dataclasses.replace(bundle, decoding={"alpha": tuned.alpha, "beta": tuned.beta})
    write_text(bundle.directory / "config.json", bundle.config_json())
    models[1].write_arpa(bundle.directory / LANGUAGE_MODEL)
    write_stamp(run, "lm", stamp)


def evaluate(run: Run) -> None:
    """Bundle and test stores → WER table, also written into the bundle."""
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.training.card import model_card
    from asr.transcription.bundle import LANGUAGE_MODEL, Bundle
    from asr.transcription.decoding import DecodingOptions, describe, make_decoder
    from asr.transcription.runtime import OnnxRuntime

    bundle = Bundle.load(run.bundle)
    own_lm = (run.bundle / LANGUAGE_MODEL).is_file()
    stamps = read_stamps(run)
    stamp = {"train": stamps.get("train"), "lm": stamps.get("lm") if own_lm else None, "test": list(run.recipe.test)}
    if not bundle.results or stamps.get("evaluate") != stamp:
        runtime = OnnxRuntime(bundle)
        greedy, beam = DecodingOptions(), DecodingOptions(beam_size=run.recipe.lm.beam_size)
        plan = [(split, greedy) for split in (run.recipe.dev, *run.recipe.test)]
        # The bundle's language model has seen the dev transcripts.
        plan += [(split, beam) for split in run.recipe.test if own_lm]
        results: list[dict[str, Any]] = []
        for split, decoding in plan:
            result = evaluate_store(run.store(split), bundle, runtime, make_decoder(bundle, decoding))
            results.append({"split": split, "decoder": describe(bundle, decoding), **result.summary()})
            print(f"{split}, {results[-1]['decoder']}: {result.words.kaldi_line()}")
        bundle = dataclasses.replace(bundle, results=results)
        write_text(bundle.directory / "config.json", bundle.config_json())
        write_text(bundle.directory / "README.md", model_card(bundle))
        write_stamp(run, "evaluate", stamp)
    table = Table("set", "decoder", "utterances", "words", "WER %", "95 % interval", "CER %", title=run.recipe.name)
    for row in bundle.results:
        table.add_row(
            *(str(row[key]) for key in ("split", "decoder", "utterances", "words")),
            f"{row['wer']:.2f}", f"{row['low']:.1f}–{row['high']:.1f}", f"{row['cer']:.2f}",
        )  # fmt: skip
    Console().print(table)


def read_stamps(run: Run) -> dict[str, Any]:
    """Return what each stage that is done was done with; empty where that cannot be told."""
    try:
        stamps: dict[str, Any] = json.loads((run.out / STAMPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps


def write_stamp(run: Run, stage: str, stamp: dict[str, Any]) -> None:
    """Note what a stage was done with."""
    write_text(run.out / STAMPS, json.dumps({**read_stamps(run), stage: stamp}, indent=1) + "\n")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return str(hashlib.file_digest(file, "sha256").hexdigest())


STAGES = {"prepare": prepare, "train": train, "lm": lm, "evaluate": evaluate}
