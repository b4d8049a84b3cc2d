"""Choosing the language model's weight, the word bonus and the beam on a held-out set; never on a test set."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.decoder import BeamOptions
from asr.errors import DataError, UsageError
from asr.wer import ErrorCounts, word_errors

Recognise = Callable[[Sequence[NDArray[Any]]], list[str]]
# Alpha and beta; and the word errors of each utterance with them, ``(N,)``.
Weights = tuple[float, float]
Errors = dict[Weights, NDArray[np.int64]]
# (alpha, beta) -> a function from the log-probabilities of utterances to their texts.
MakeRecogniser = Callable[[float, float], Recognise]


@dataclass(frozen=True)
class Search:
    """Where weights are looked for.

    Parameters
    ----------
    alphas, betas : tuple of float
        The grid that is tried first, ascending.
    rounds, candidates : int
        Then, so many times, so many points around the best one so far: normally distributed, with half a step of the
        grid for their deviation, halved after each round.
    seed : int
        Of these points.
    default : tuple of float
        The alpha and beta to stay near, as far as errors allow: tried first.

    Raises
    ------
    UsageError
        If the grid is empty or not ascending, or has an alpha below 0.
    """

    alphas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
    betas: tuple[float, ...] = (-1.0, 0.0, 1.0, 2.0)
    rounds: int = 3
    candidates: int = 8
    seed: int = 0
    default: tuple[float, float] = (BeamOptions().alpha, BeamOptions().beta)

    def __post_init__(self) -> None:
        for name, values in (("alphas", self.alphas), ("betas", self.betas)):
            if len(values) < 2 or any(np.diff(values) <= 0):
                raise UsageError(f"{name} are {values}; expected two or more numbers, ascending")
        if self.alphas[0] < 0:
            raise UsageError(f"the smallest alpha is {self.alphas[0]}; expected 0 or more")
        if self.rounds < 0 or self.candidates < 1:
            raise UsageError(f"rounds are {self.rounds} of {self.candidates}; expected 0 or more, of 1 or more")

    @property
    def trials(self) -> int:
        """Weights tried, at most."""
        return 1 + len(self.alphas) * len(self.betas) + self.rounds * self.candidates

    @property
    def steps(self) -> NDArray[np.float64]:
        """The smallest step of the grid in alpha and in beta, ``(2,)``."""
        return np.array([np.diff(values).min() for values in (self.alphas, self.betas)])


@dataclass(frozen=True)
class Trial:
    """Weights that were tried and the word errors they leave; fields as of `Tuned`."""

    alpha: float
    beta: float
    counts: ErrorCounts


@dataclass(frozen=True)
class Tuned:
    """The chosen weights and the errors they leave on the held-out set.

    Parameters
    ----------
    alpha : float
        Weight of the language model's log-probabilities.
    beta : float
        Bonus for each word, in nats.
    counts : ErrorCounts
        Word errors with these weights.
    trials : tuple of Trial
        All that was tried, in order.
    """

    alpha: float
    beta: float
    counts: ErrorCounts
    trials: tuple[Trial, ...] = ()


def tune(
    log_probs: Sequence[NDArray[Any]],
    references: Sequence[str],
    make_recogniser: MakeRecogniser,
    search: Search | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Tuned:
    """Search a grid, then around its best point, and choose by the rule of one standard error.

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
        Called as ``make_recogniser(alpha, beta)(log_probs)``.
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

    def attempt(alpha: float, beta: float) -> None:
        if (alpha, beta) not in trials:
            texts = make_recogniser(alpha, beta)(log_probs)
            counts = [word_errors([reference], [text]) for reference, text in zip(references, texts, strict=True)]
            trials[alpha, beta] = Trial(alpha, beta, sum(counts, ErrorCounts()))
            errors[alpha, beta] = np.array([count.errors for count in counts])
        advance(1)

    attempt(*search.default)
    for alpha, beta in product(search.alphas, search.betas):
        attempt(alpha, beta)
    deviations = search.steps / 2
    generator = np.random.default_rng(search.seed)
    for _ in range(search.rounds):
        drawn = generator.normal(fewest_errors(errors), deviations, (search.candidates, 2))
        for alpha, beta in drawn.round(2).tolist():
            attempt(max(0.0, alpha), beta)
        deviations /= 2
    chosen = choose(errors, search)
    return Tuned(*chosen, trials[chosen].counts, tuple(trials.values()))


def fewest_errors(errors: Errors) -> Weights:
    """Return the weights with the fewest errors; of equal ones, with the least influence."""
    return min(errors, key=lambda weights: (errors[weights].sum(), weights[0], abs(weights[1]), weights[1]))


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
    advance: Callable[[int], None] = lambda count: None,
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
