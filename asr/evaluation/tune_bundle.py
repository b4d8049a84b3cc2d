"""A bundle, a held-out store and a language model → decoder weights, written into the bundle."""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.bundle.bundle import ARPA, LANGUAGE_MODEL, PICTURE, TRIALS, Bundle
from asr.bundle.card import model_card
from asr.bundle.hub import is_of_hub
from asr.bundle.runtime import Runtime
from asr.bundle.sections import DECODING_KEYS
from asr.bundle.shipped import SHIPPED
from asr.decoder import BeamOptions, BeamSearchDecoder
from asr.decoder.ngram import NGramModel, copy_as_binary
from asr.errors import UsageError
from asr.evaluation.compare import Comparison, Pair
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.evaluation.tune import BLANK_SCALE, OOV_SCORE, PRIOR_WEIGHT, BeamTrial, Search, Tuned, tune, tune_beam
from asr.files import atomic_directory, write_text
from asr.store.checking import Store
from asr.transcription.decoding import OWN, OWN_LM, DecodingOptions, make_decoder

BEAM_SIZES = (8, 16, 32, 64, 128, 256)
# Enough to tell weights apart by, and few enough to be decoded dozens of times within minutes.
UTTERANCES = 500


@dataclass(frozen=True)
class TuningOptions:
    """How a bundle is tuned.

    Parameters
    ----------
    lm : path
        The file of an n-gram model; "own" is that of the bundle.
    search : Search
    beam_size : int
        While weights are searched.
    beam_sizes : tuple of int
        Tried with the chosen weights.
    threads : int
        Of the decoder.
    utterances : int
        The most to choose by, drawn from the held-out set by the search's seed; 0: all.
    """

    lm: str | os.PathLike[str] = OWN
    search: Search = dataclasses.field(default_factory=Search)
    beam_size: int = 64
    beam_sizes: tuple[int, ...] = BEAM_SIZES
    threads: int = 1
    utterances: int = UTTERANCES

    def __post_init__(self) -> None:
        sizes = (self.beam_size, *self.beam_sizes)
        if not self.beam_sizes or min(sizes) < 2:
            raise UsageError(f"beam sizes are {', '.join(map(str, sizes))}; expected 2 or more: 1 is greedy")

    def trials(self, bundle: Bundle) -> int:
        """Return how often the chosen utterances are decoded, at most."""
        return fitted(self.search, bundle).trials + len(self.beam_sizes)

    def chosen(self, store: Store) -> list[int]:
        """Return the indices of the utterances of `store` to choose by."""
        count = min(len(store), self.utterances or len(store))
        drawn = np.random.default_rng(self.search.seed).choice(len(store), count, replace=False)
        return [int(index) for index in np.sort(drawn)]


@dataclass(frozen=True)
class TunedBundle:
    """The result of tuning.

    Parameters
    ----------
    weights : Tuned
    beam : BeamTrial
        The best one.
    beams : tuple of BeamTrial
    lm : path
        That of the options.
    before, after : Evaluation
        The held-out set by greedy decoding (of phones, by the lexicon alone), and by beam search with the
        chosen weights and beam.
    kept : dict
        Weights that were not tuned, and are not the decoder's defaults.
    """

    weights: Tuned
    beam: BeamTrial
    beams: tuple[BeamTrial, ...]
    lm: str | os.PathLike[str]
    before: Evaluation
    after: Evaluation
    kept: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def decoding(self) -> dict[str, float]:
        """The decoding settings for the bundle."""
        return {**self.kept, **self.weights.weights, "beam_size": self.beam.beam_size}

    @property
    def summary(self) -> str:
        """The chosen weights in a line."""
        return ", ".join(f"{name} {value:g}" for name, value in self.weights.weights.items())

    @property
    def comparison(self) -> Comparison:
        """Greedy decoding (A) against the tuned beam search (B)."""
        pairs = zip(self.before.utterances, self.after.utterances, strict=True)
        return Comparison(tuple(Pair(a, b) for a, b in pairs))

    def to_dict(self) -> dict[str, Any]:
        """Return all trials, for JSON."""
        return {
            "decoding": self.decoding,
            "greedy": self.before.words.to_dict(),
            "weights": [{**t.weights, **t.counts.to_dict()} for t in self.weights.trials],
            "beams": [
                {"beam_size": t.beam_size, "seconds": round(t.seconds, 3), **t.counts.to_dict()} for t in self.beams
            ],
        }


def refuse_test_set(store: Store) -> None:
    """Refuse a store whose split is called a test set, which is for reporting and not for tuning.

    Raises
    ------
    UsageError
    """
    if {"test", "eval", "evaluation"} & set(re.split(r"[^a-z]+", store.split.lower())):
        raise UsageError(
            f"{store.path}: its split is called {store.split!r}, a test set: weights tuned on it would flatter every "
            "result on it. Tune on a held-out part of the training data, such as dev"
        )


def tuning_decoder(bundle: Bundle, options: TuningOptions) -> BeamSearchDecoder:
    """Return the beam search that is tuned.

    Raises
    ------
    UsageError
        If there is no language model to weigh, or its file does not exist.
    DecodingError
        If it cannot be read.
    """
    if options.lm == OWN and bundle.language_model is None:
        raise UsageError(f"model {bundle.name} has no language model: give one with --lm FILE.arpa")
    prior_weight = PRIOR_WEIGHT.default if bundle.label_priors() is not None else None
    decoding = DecodingOptions(beam_size=options.beam_size, lm=options.lm, prior_weight=prior_weight)
    decoder = make_decoder(bundle, decoding)
    assert isinstance(decoder, BeamSearchDecoder)
    return decoder


def fitted(search: Search, bundle: Bundle) -> Search:
    """Return a search that also tunes the weights of models of phones, and of those with label priors."""
    has_priors, is_closed = bundle.label_priors() is not None, bundle.tokenizer.kind == "phones"
    more = [*[PRIOR_WEIGHT] * has_priors, *[OOV_SCORE, BLANK_SCALE] * (has_priors or is_closed)]
    return dataclasses.replace(search, knobs=(*search.knobs, *more))


def cached_log_probs(
    store: Store,
    indices: Sequence[int],
    bundle: Bundle,
    runtime: Runtime,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[NDArray[Any]]:
    """Return the log-probabilities ``(T', V)`` of utterances of a store, which no weight changes.

    Raises
    ------
    DataError
        As `evaluate`.
    """
    bundle.front_end.check_store(store, f"model {bundle.name}")
    log_probs = []
    for index in indices:
        log_probs += runtime([bundle.front_end.stored(store, index)])
        advance(1)
    return log_probs


def tune_bundle(
    store: Store,
    bundle: Bundle,
    log_probs: Sequence[NDArray[Any]],
    options: TuningOptions,
    advance: Callable[[int], None] = lambda _count: None,
) -> TunedBundle:
    """Find the best weights, then the smallest beam that serves them.

    Parameters
    ----------
    store : FeatureStore or AudioStore
    bundle : Bundle
    log_probs : sequence of ndarray, each ``(T', V)``
        Of the utterances ``options.chosen(store)``.
    options : TuningOptions
    advance : callable, optional
        Called with the number of trials just done.

    Raises
    ------
    UsageError, DataError
        As `tuning_decoder` and `asr.evaluation.tune.tune`.
    """
    decoder, chosen = tuning_decoder(bundle, options), options.chosen(store)
    search = fitted(options.search, bundle)
    references = [store.texts[index] for index in chosen]

    def recogniser(**changes: float) -> Callable[[Sequence[NDArray[Any]]], list[str]]:
        changed = decoder.with_options(**changes)

        def recognise(utterances: Sequence[NDArray[Any]]) -> list[str]:
            return [best[0].text for best in changed.decode_batch(utterances, threads=options.threads)]

        return recognise

    weights = tune(log_probs, references, recogniser, search, advance)
    beam, beams = tune_beam(
        log_probs, references, lambda size: recogniser(**weights.weights, beam_size=size), options.beam_sizes, advance
    )
    # Phones are no words: theirs are the lexicon's, without a language model.
    alone = DecodingOptions(lm=None) if bundle.tokenizer.kind == "phones" else DecodingOptions()
    greedy = make_decoder(bundle, alone)
    before = [greedy(rows)[0].text for rows in log_probs]
    ids = [store.ids[index] for index in chosen]

    def evaluation(texts: Sequence[str]) -> Evaluation:
        return Evaluation(tuple(UtteranceResult.scored(*row) for row in zip(ids, references, texts, strict=True)))

    used = {name: getattr(decoder.options, name) for name in DECODING_KEYS}
    kept = {name: value for name, value in used.items() if value != getattr(BeamOptions(), name)}
    return TunedBundle(weights, beam, beams, options.lm, evaluation(before), evaluation(beam.texts), kept)


def target_folder(bundle: Bundle, out: Path | None) -> Path:
    """Return the folder that a tuned bundle is to be written to: `out`, or its own.

    Raises
    ------
    UsageError
        If the bundle ships with the package or is in the Hub's cache, which must not change; or if `out` exists.
    """
    if out is None:
        if bundle.directory.parent == SHIPPED or is_of_hub(bundle.directory):
            where = "ships in the package" if bundle.directory.parent == SHIPPED else "is in the Hub's cache"
            raise UsageError(
                f"model {bundle.name} {where} and cannot be changed: give --output-dir for a copy with the weights, or "
                "--dry-run"
            )
        return bundle.directory
    if out.exists():
        raise UsageError(f"{out}: already exists; expected a new folder, for a copy of the bundle")
    return out


def install(bundle: Bundle, tuned: TunedBundle, folder: Path) -> list[str]:
    """Write weights, and the language model they are for, into `folder`; a new one becomes a copy of the bundle.

    Parameters
    ----------
    bundle : Bundle
    tuned : TunedBundle
    folder : Path
        See `target_folder`. In place, a ``README.md`` that was edited by hand is left unchanged.

    Returns
    -------
    list of str
        Notes for the user, such as that results measured with other weights were removed.
    """
    if folder != bundle.directory:
        with atomic_directory(folder) as new:
            for path in bundle.files:
                # What an earlier tuning tried is not what this one did.
                if path.name not in (TRIALS, PICTURE):
                    shutil.copyfile(path, new / path.name)
            return _update(bundle, tuned, new)
    return _update(bundle, tuned, folder)


def _update(bundle: Bundle, tuned: TunedBundle, folder: Path) -> list[str]:
    notes = []
    results = [row for row in bundle.results if OWN_LM not in row["decoder"]]
    if len(results) < len(bundle.results):
        notes.append("removed the results of the earlier weights from the bundle; asr evaluate measures the new ones")
    new = dataclasses.replace(bundle, decoding=tuned.decoding, results=results)
    readme = folder / "README.md"
    # In place, what somebody wrote into it stays.
    if folder != bundle.directory or readme.read_text(encoding="utf-8") == model_card(bundle):
        write_text(readme, model_card(new))
    elif notes:
        notes.append(
            "README.md was left unchanged, because it was edited after it was generated; its results may be out of date"
        )
    if tuned.lm != OWN:
        copy_as_binary(NGramModel.read(tuned.lm), tuned.lm, folder / LANGUAGE_MODEL)
        (folder / ARPA).unlink(missing_ok=True)
    write_text(folder / TRIALS, json.dumps(tuned.to_dict(), indent=1) + "\n")
    write_text(folder / "config.json", new.config_json())
    return notes
