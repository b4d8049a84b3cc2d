"""The stages ``lm`` and ``tune``: training transcripts → n-gram model; dev set → its weights, both into the bundle."""

import dataclasses
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.cores import num_cores
from asr.errors import DataError
from asr.files import write_text
from asr.recipe.recipe import LanguageModelConfig, Run
from asr.recipe.stage_state import is_current, read_stamps, write_stamp
from asr.recipe.tokens import transcripts
from asr.settings import digest, to_dict
from asr.store.layout import file_checksum

if TYPE_CHECKING:
    from asr.decoder.ngram import NGramModel

# The stamp of a model that was not made.
LEFT_OUT = {"left_out": True}


def lm(run: Run) -> None:
    """Training transcripts → n-gram model, if the recipe asks for one and names no file.

    It uses only the training transcripts: the dev set, on which the weights are tuned, must be as new to it as a
    test set, or its weight would come out too large.
    """
    from asr.bundle.bundle import LANGUAGE_MODEL
    from asr.decoder.ngram import NGramModel, copy_as_binary

    config, path = run.recipe.lm, run.out / LANGUAGE_MODEL
    if not config.wanted:
        return
    stamp: dict[str, Any]
    file = run.lm_file
    if file:
        stamp, texts = {"file": _checksum(file)}, []
    else:
        texts = transcripts(run.training_store(), run.recipe.training.max_disagreement)
        stamp = {"order": config.order, "cutoffs": list(config.cutoffs), "texts": digest(texts)}
        if not _has_sentences(texts):
            path.unlink(missing_ok=True)
            print(
                "language model: left out, because hardly any transcript has two words, as with single commands and "
                "languages without spaces",
                file=sys.stderr,
            )
            write_stamp(run.out, "lm", LEFT_OUT)
            return
    if is_current(run.out, "lm", stamp, path):
        return
    model = NGramModel.read(file) if file else _estimated(texts, config)
    dev_texts = run.dev_store().texts
    perplexity = model.perplexity(dev_texts)
    print(
        f"language model: {model.order}-gram of {file or f'{len(texts)} transcripts'}, perplexity "
        f"{perplexity.with_oov:.1f} on {run.recipe.dev} ({perplexity.without_oov:.1f} without its "
        f"{perplexity.num_oov} unknown words of {perplexity.num_tokens - len(dev_texts)})",
        file=sys.stderr,
    )
    if file:
        copy_as_binary(model, file, path)
    else:
        model.write(path)
    write_stamp(run.out, "lm", stamp)


def _has_sentences(texts: list[str]) -> bool:
    """Return whether words follow one another in at least one transcript of twenty."""
    return 20 * sum(len(text.split()) > 1 for text in texts) >= len(texts)


def _estimated(texts: list[str], config: LanguageModelConfig) -> "NGramModel":
    from asr.decoder.ngram import estimate

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = estimate(texts, config.order, config.cutoffs)
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"language model: {message}", file=sys.stderr)
    return model


def _checksum(path: Path) -> str:
    try:
        return file_checksum(path)
    except OSError as error:
        raise DataError(f"{path}: no such language model ({error.strerror}); lm.file names it") from None


def tune(run: Run) -> None:
    """Bundle, n-gram model and dev store → weights of the model and of the word bonus; both are put into the bundle.

    If the recipe asks for none, a model left in the bundle by an earlier run is removed, with the results measured
    with it.
    """
    from asr.bundle.bundle import ARPA, LANGUAGE_MODEL, TRIALS, Bundle
    from asr.bundle.card import model_card
    from asr.bundle.runtime import OnnxRuntime
    from asr.evaluation.tune import Search
    from asr.evaluation.tune_bundle import TuningOptions, cached_log_probs, install, tune_bundle
    from asr.transcription.decoding import OWN_LM

    config, path = run.recipe.lm, run.out / LANGUAGE_MODEL
    if not config.wanted or read_stamps(run.out).get("lm") == LEFT_OUT:
        if run.bundle.is_dir() and (bundle := Bundle.load(run.bundle)).language_model:
            for name in (LANGUAGE_MODEL, ARPA, TRIALS):
                (run.bundle / name).unlink(missing_ok=True)
            results = [row for row in bundle.results if OWN_LM not in row["decoder"]]
            bundle = dataclasses.replace(bundle, decoding={}, results=results)
            write_text(run.bundle / "config.json", bundle.config_json())
            write_text(run.bundle / "README.md", model_card(bundle))
        return
    if not path.is_file():
        raise DataError(f"{path}: no such language model: run the stage lm first")
    bundle, dev, search = Bundle.load(run.bundle), run.dev_store(), Search()
    stamp = {
        "weights": bundle.weights_sha256,
        "lm": read_stamps(run.out).get("lm"),
        "dev": digest(dev.identity),
        "search": [config.beam_size, config.tune_utterances, digest(to_dict(search))],
    }
    if is_current(run.out, "tune", stamp, run.bundle / LANGUAGE_MODEL):
        return
    options = TuningOptions(path, search, config.beam_size, (config.beam_size,), num_cores(), config.tune_utterances)
    chosen = options.chosen(dev)
    tuned = tune_bundle(dev, bundle, cached_log_probs(dev, chosen, bundle, OnnxRuntime(bundle)), options)
    print(
        f"language model: {tuned.summary} on {len(chosen)} of {len(dev)} utterances of "
        f"{run.recipe.dev}: {tuned.weights.counts.kaldi_line()}",
        file=sys.stderr,
    )
    install(bundle, tuned, run.bundle)
    write_stamp(run.out, "tune", stamp)
