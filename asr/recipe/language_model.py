"""The stages ``lm`` and ``tune``: training transcripts → n-gram model; dev set → its weights, both into the bundle."""

import dataclasses
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from asr.cores import num_cores
from asr.errors import DataError
from asr.files import atomic_path, write_text
from asr.recipe.recipe import Run
from asr.recipe.stage_state import is_current, read_stamps, write_stamp
from asr.recipe.tokens import transcripts
from asr.settings import digest, to_dict

if TYPE_CHECKING:
    from asr.bundle.bundle import Bundle
    from asr.decoder import BeamSearchDecoder, NGramModel
    from asr.store.checking import Store


def lm(run: Run) -> None:
    """Training transcripts → n-gram model, where the recipe asks for one.

    Of the training transcripts alone: the dev set, which the weights are then tuned on, must be as new to it as a
    test set, or they would come out too heavy.
    """
    from asr.bundle.bundle import LANGUAGE_MODEL
    from asr.decoder.ngram import estimate

    config, path = run.recipe.lm, run.out / LANGUAGE_MODEL
    if not config.order:
        return
    texts = transcripts(run.training_store(), run.recipe.training.max_disagreement)
    stamp = {"order": config.order, "cutoffs": list(config.cutoffs), "texts": digest(texts)}
    if is_current(run.out, "lm", stamp, path):
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = estimate(texts, config.order, config.cutoffs)
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"language model: {message}", file=sys.stderr)
    dev_texts = run.store(run.recipe.dev).texts
    perplexity = model.perplexity(dev_texts)
    print(
        f"language model: {config.order}-gram of {len(texts)} transcripts, perplexity {perplexity.with_oov:.1f} on "
        f"{run.recipe.dev} ({perplexity.without_oov:.1f} without its {perplexity.num_oov} unknown words of "
        f"{perplexity.num_tokens - len(dev_texts)})",
        file=sys.stderr,
    )
    model.write_arpa(path)
    write_stamp(run.out, "lm", stamp)


def tune(run: Run) -> None:
    """Bundle, n-gram model and dev store → weights of the model and of the word bonus; both are put into the bundle.

    Where the recipe asks for no n-gram model, one that the bundle has from before is taken out.
    """
    from asr.bundle.bundle import LANGUAGE_MODEL, Bundle
    from asr.decoder.ngram import NGramModel
    from asr.evaluation.tune import Search
    from asr.evaluation.tune import tune as tune_weights

    config, path = run.recipe.lm, run.out / LANGUAGE_MODEL
    if not config.order:
        if (run.bundle / LANGUAGE_MODEL).is_file():
            (run.bundle / LANGUAGE_MODEL).unlink()
            bundle = dataclasses.replace(Bundle.load(run.bundle), decoding={})
            write_text(run.bundle / "config.json", bundle.config_json())
        return
    if not path.is_file():
        raise DataError(f"{path}: no such language model: run the stage lm first")
    bundle, dev = Bundle.load(run.bundle), run.store(run.recipe.dev)
    stamp = {
        "weights": bundle.weights_sha256,
        "lm": read_stamps(run.out).get("lm"),
        "dev": digest(dev.identity),
        "search": [config.beam_size, config.tune_utterances, digest(to_dict(Search()))],
    }
    if is_current(run.out, "tune", stamp, run.bundle / LANGUAGE_MODEL):
        return
    chosen = np.unique(np.linspace(0, len(dev) - 1, min(len(dev), config.tune_utterances)).round().astype(int)).tolist()
    texts = [dev.texts[index] for index in chosen]
    decoder = _decoder(bundle, NGramModel.read(path), config.beam_size)

    def recogniser(alpha: float, beta: float) -> Any:
        weighted = decoder.with_options(alpha=alpha, beta=beta)

        def recognise(utterances: Sequence[NDArray[Any]]) -> list[str]:
            return [hypotheses[0].text for hypotheses in weighted.decode_batch(utterances, threads=num_cores())]

        return recognise

    tuned = tune_weights(_log_probs(bundle, dev, chosen), texts, recogniser)
    print(
        f"language model: alpha {tuned.alpha:g}, beta {tuned.beta:g} on {len(chosen)} utterances of {run.recipe.dev}: "
        f"{tuned.counts.kaldi_line()}",
        file=sys.stderr,
    )
    with atomic_path(run.bundle / LANGUAGE_MODEL) as temporary:
        shutil.copyfile(path, temporary)
    bundle = dataclasses.replace(bundle, decoding={"alpha": tuned.alpha, "beta": tuned.beta})
    write_text(run.bundle / "config.json", bundle.config_json())
    write_stamp(run.out, "tune", stamp)


def _decoder(bundle: "Bundle", model: "NGramModel", beam_size: int) -> "BeamSearchDecoder":
    from asr.decoder import BeamOptions, BeamSearchDecoder
    from asr.tokenizer import BLANK

    return BeamSearchDecoder(
        bundle.tokenizer.tokens,
        blank=BLANK,
        frame_seconds=bundle.frame_seconds,
        options=BeamOptions(beam_size=beam_size),
        lm=model,
    )


def _log_probs(bundle: "Bundle", store: "Store", indices: list[int]) -> list[NDArray[Any]]:
    from asr.bundle.runtime import OnnxRuntime
    from asr.store.checking import features_of

    runtime = OnnxRuntime(bundle)
    return [runtime([features_of(store, index, bundle.log_mel)])[0] for index in indices]
