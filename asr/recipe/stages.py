"""The stages of a recipe. Each skips what is done: a recipe that was killed is simply run again.

prepare → train → lm → evaluate
"""

import dataclasses
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from asr.recipe.recipe import Run


def prepare(run: Run) -> None:
    """Corpus → feature stores, one a split."""
    from asr.data.corpus import PrepareOptions, load_corpus
    from asr.data.corpus import prepare as prepare_corpus

    recipe = run.recipe
    splits = tuple(dict.fromkeys((recipe.train, recipe.dev, *recipe.test)))
    options = PrepareOptions(features=recipe.features, splits=splits, jobs=run.jobs, archive=run.archive)
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
        directory=run.bundle,
        name=recipe.name,
        description=recipe.description,
        features=recipe.features,
        filterbank=train_store.filterbank,
        model=recipe.model,
        tokenizer=tokenizer,
        dataset=recipe.corpus,
        licence=recipe.licence,
        language=recipe.language,
    )
    write_bundle(bundle, best, model_card(bundle), run.bundle)
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
    from asr.files import write_text
    from asr.tokenizer import BLANK
    from asr.transcription.bundle import LANGUAGE_MODEL, Bundle
    from asr.transcription.runtime import OnnxRuntime

    bundle = Bundle.load(run.bundle)
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
    models[1].write_arpa(bundle.directory / LANGUAGE_MODEL)
    bundle = dataclasses.replace(bundle, decoding={"alpha": tuned.alpha, "beta": tuned.beta})
    write_text(bundle.directory / "config.json", bundle.config_json())


def evaluate(run: Run) -> None:
    """Bundle and test stores → WER table, also written into the bundle."""
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.files import write_text
    from asr.training.card import model_card
    from asr.transcription.bundle import LANGUAGE_MODEL, Bundle
    from asr.transcription.decoding import DecodingOptions, describe, make_decoder
    from asr.transcription.runtime import OnnxRuntime

    bundle = Bundle.load(run.bundle)
    runtime = OnnxRuntime(bundle)
    decodings = [DecodingOptions()]
    if (bundle.directory / LANGUAGE_MODEL).is_file():
        decodings.append(DecodingOptions(beam_size=run.recipe.lm.beam_size))
    table = Table("set", "decoder", "utterances", "words", "WER %", "95 % interval", "CER %", title=run.recipe.name)
    results: list[dict[str, Any]] = []
    for split in (run.recipe.dev, *run.recipe.test):
        for decoding in decodings:
            result = evaluate_store(run.store(split), bundle, runtime, make_decoder(bundle, decoding))
            row = {"split": split, "decoder": describe(bundle, decoding), **result.summary()}
            results.append(row)
            table.add_row(
                *(str(row[key]) for key in ("split", "decoder", "utterances", "words")),
                f"{row['wer']:.2f}", f"{row['low']:.1f}–{row['high']:.1f}", f"{row['cer']:.2f}",
            )  # fmt: skip
            print(f"{split}, {row['decoder']}: {result.words.kaldi_line()}")
    bundle = dataclasses.replace(bundle, results=results)
    write_text(bundle.directory / "config.json", bundle.config_json())
    write_text(bundle.directory / "README.md", model_card(bundle))
    Console().print(table)


STAGES = {"prepare": prepare, "train": train, "lm": lm, "evaluate": evaluate}
