"""Choosing the decoder's weights and its beam on a held-out set; never on a test set."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.decoder import BeamOptions
from asr.errors import DataError, UsageError
from asr.wer import ErrorCounts, word_errors

Recognise = Callable[[Sequence[NDArray[Any]]], list[str]]
# A value for each knob of a search; and the word errors of each utterance with them, ``(N,)``.
Weights = tuple[float, ...]
Errors = dict[Weights, NDArray[np.int64]]
# Called with each knob's value by its name: a function from the log-probabilities of utterances to their texts.
MakeRecogniser = Callable[..., Recognise]
# What is drawn at random is rounded to so many decimals.
DECIMALS = 2


@dataclass(frozen=True)
class Knob:
    """A weight of the decoder, and the values to try.

    Parameters
    ----------
    name : str
        As of `asr.decoder.BeamOptions`.
    values : tuple of float
        Tried first, ascending.
    default : float
        To stay near, as far as errors allow: tried before all others.
    lowest, highest : float
        Of what is drawn at random around the best.

    Raises
    ------
    UsageError
        If the values are not ascending, or out of range.
    """

    name: str
    values: tuple[float, ...]
    default: float
    lowest: float = -np.inf
    highest: float = np.inf

    def __post_init__(self) -> None:
        if len(self.values) < 2 or any(np.diff(self.values) <= 0):
            raise UsageError(f"values of {self.name} are {self.values}; expected two or more numbers, ascending")
        if self.values[0] < self.lowest or self.values[-1] > self.highest:
            raise UsageError(
                f"values of {self.name} are {self.values}; expected none below {self.lowest:g} or above "
                f"{self.highest:g}"
            )

    @property
    def step(self) -> float:
        """The smallest step between values."""
        return float(np.diff(self.values).min())

    def neighbours(self, value: float) -> list[float]:
        """Return the next smaller and the next larger of the values."""
        return [*[v for v in self.values if v < value][-1:], *[v for v in self.values if v > value][:1]]

    def draw(self, generator: np.random.Generator, centre: float, deviation: float) -> float:
        """Return a value near another: normally distributed, rounded, in range."""
        drawn = round(float(generator.normal(centre, deviation)), DECIMALS)
        return min(max(drawn, self.lowest), self.highest)


DEFAULTS = BeamOptions()
ALPHA = Knob("alpha", (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0), DEFAULTS.alpha, lowest=0.0)
BETA = Knob("beta", (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0), DEFAULTS.beta)
OOV_SCORE = Knob("oov_score", (-15.0, -10.0, -7.0, -4.0, -2.0, -1.0), DEFAULTS.oov_score, highest=0.0)
PRIOR_WEIGHT = Knob("prior_weight", (0.0, 0.15, 0.3, 0.45, 0.6), DEFAULTS.prior_weight, lowest=0.0)
BLANK_SCALE = Knob("blank_scale", (0.25, 0.5, 1.0, 2.0), DEFAULTS.blank_scale, lowest=0.05)


@dataclass(frozen=True)
class Search:
    """The search for weights.

    Parameters
    ----------
    knobs : tuple of Knob
        The weights to tune, in this order.
    rounds, candidates : int
        After the sweeps, so many times, so many points around the best one so far, in all knobs at once: normally
        distributed, with half a step for their deviation, halved after each round.
    seed : int
        Of these points.

    Raises
    ------
    UsageError
        If there is no knob or no candidate.
    """

    knobs: tuple[Knob, ...] = (ALPHA, BETA)
    rounds: int = 3
    candidates: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.knobs or self.rounds < 0 or self.candidates < 1:
            raise UsageError(
                f"got {len(self.knobs)} knobs and {self.rounds} rounds of {self.candidates} points; expected at least "
                "1 knob, 0 rounds, and 1 point per round"
            )

    @property
    def default(self) -> Weights:
        """The default of each knob."""
        return tuple(knob.default for knob in self.knobs)

    @property
    def trials(self) -> int:
        """Weights tried, at most."""
        return 1 + sum(len(knob.values) + 2 for knob in self.knobs) + self.rounds * self.candidates

    @property
    def steps(self) -> NDArray[np.float64]:
        """The smallest step of each knob."""
        return np.array([knob.step for knob in self.knobs])

    def by_name(self, weights: Weights) -> dict[str, float]:
        """Return the weights by the names of their knobs."""
        return {knob.name: value for knob, value in zip(self.knobs, weights, strict=True)}


@dataclass(frozen=True)
class Trial:
    """Weights that were tried, by name, and the word errors they leave."""

    weights: dict[str, float]
    counts: ErrorCounts


@dataclass(frozen=True)
class Tuned:
    """The chosen weights, by name, the word errors they leave on the held-out set, and all that was tried, in order."""

    weights: dict[str, float]
    counts: ErrorCounts
    trials: tuple[Trial, ...] = ()


def tune(
    log_probs: Sequence[NDArray[Any]],
    references: Sequence[str],
    make_recogniser: MakeRecogniser,
    search: Search | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> Tuned:
    """Turn one knob after the other, then all around the best point, and choose by the rule of one standard error.

    Each knob in turn is tried at all its values, the others staying at the best so far; then each at the two values
    next to its best one, for another knob may have moved since.

    Among some dozens of weights, the one with the fewest errors on a small set may be there by chance, and may
    even switch the language model off. So of all weights whose errors are within one standard error of the fewest, in
    differences paired by utterance, those nearest to the defaults are chosen: Breiman et al. 1984, "Classification
    and regression trees", section 3.4.3, where the default is the smallest tree. The larger the set, the smaller the
    standard error is beside the differences.

    Parameters
    ----------
    log_probs : sequence of ndarray, each ``(T, V)``
        Computed once, for they do not depend on the weights.
    references : sequence of str
    make_recogniser : callable
        Called as ``make_recogniser(alpha=…, beta=…)(log_probs)``, with the search's knobs.
    search : Search, optional
    advance : callable, optional
        Called with the number of trials just done.

    Returns
    -------
    Tuned

    Raises
    ------
    DataError
        If there is nothing to tune on.
    """
    _check(log_probs, references)
    search = search or Search()
    trials: dict[Weights, Trial] = {}
    errors: Errors = {}

    def attempt(weights: Weights) -> None:
        if weights not in trials:
            texts = make_recogniser(**search.by_name(weights))(log_probs)
            counts = [word_errors([reference], [text]) for reference, text in zip(references, texts, strict=True)]
            trials[weights] = Trial(search.by_name(weights), sum(counts, ErrorCounts()))
            errors[weights] = np.array([count.errors for count in counts])
        advance(1)

    attempt(search.default)
    for sweep in ("all values", "neighbours"):
        for place, knob in enumerate(search.knobs):
            best = fewest_errors(errors)
            values = knob.values if sweep == "all values" else knob.neighbours(best[place])
            for value in values:
                attempt((*best[:place], value, *best[place + 1 :]))
    deviations = search.steps / 2
    generator = np.random.default_rng(search.seed)
    for _ in range(search.rounds):
        best = fewest_errors(errors)
        for _ in range(search.candidates):
            rows = zip(search.knobs, best, deviations, strict=True)
            attempt(tuple(knob.draw(generator, centre, deviation) for knob, centre, deviation in rows))
        deviations /= 2
    chosen = choose(errors, search)
    return Tuned(search.by_name(chosen), trials[chosen].counts, tuple(trials.values()))


def fewest_errors(errors: Errors) -> Weights:
    """Return the weights with the fewest errors; of equal ones, with the least influence."""
    return min(errors, key=lambda weights: (errors[weights].sum(), *map(abs, weights), weights))


def choose(errors: Errors, search: Search) -> Weights:
    """Return the weights nearest to the defaults, of those whose errors are within a standard error of the fewest."""
    fewest = errors[fewest_errors(errors)]

    def is_as_good(weights: Weights) -> bool:
        more = errors[weights] - fewest
        standard_error = np.sqrt(len(more)) * more.std(ddof=1) if len(more) > 1 else 0.0
        return bool(more.sum() <= standard_error)

    def distance(weights: Weights) -> float:
        return float((np.abs(np.subtract(weights, search.default)) / search.steps).sum())

    return min(filter(is_as_good, errors), key=lambda weights: (distance(weights), errors[weights].sum(), weights))


@dataclass(frozen=True)
class BeamTrial:
    """A beam size, the word errors it leaves, and the time in seconds that decoding took."""

    beam_size: int
    counts: ErrorCounts
    seconds: float
    texts: tuple[str, ...]


def tune_beam(
    log_probs: Sequence[NDArray[Any]],
    references: Sequence[str],
    make_recogniser: Callable[[int], Recognise],
    beam_sizes: Sequence[int],
    advance: Callable[[int], None] = lambda _count: None,
) -> tuple[BeamTrial, tuple[BeamTrial, ...]]:
    """Try beam sizes; the best is the smallest of those with the fewest errors.

    Parameters are as of `tune`, but for ``make_recogniser(beam_size)(log_probs)``.

    Returns
    -------
    best : BeamTrial
    trials : tuple of BeamTrial
        In ascending order.

    Raises
    ------
    DataError
        If there is nothing to tune on.
    """
    _check(log_probs, references)
    trials = []
    for beam_size in sorted(set(beam_sizes)):
        recognise = make_recogniser(beam_size)
        started = time.perf_counter()
        texts = recognise(log_probs)
        seconds = time.perf_counter() - started
        trials.append(BeamTrial(beam_size, word_errors(references, texts), seconds, tuple(texts)))
        advance(1)
    best = min(trials, key=lambda trial: (trial.counts.errors, trial.beam_size))
    return best, tuple(trials)


def _check(log_probs: Sequence[NDArray[Any]], references: Sequence[str]) -> None:
    if not len(log_probs) or not any(text.split() for text in references):
        raise DataError("tuning needs at least one utterance with words")
