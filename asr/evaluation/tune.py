"""Choosing the language model's weight and the word bonus on a held-out set; never on a test set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError
from asr.evaluation.wer import ErrorCounts, word_errors

# (alpha, beta) -> a function from the log-probabilities of utterances to their texts.
MakeRecogniser = Callable[[float, float], Callable[[Sequence[NDArray[Any]]], list[str]]]


@dataclass(frozen=True)
class Tuned:
    """The best weights and the errors they leave on the held-out set.

    Parameters
    ----------
    alpha : float
        Weight of the language model's log-probabilities.
    beta : float
        Bonus for each word, in nats.
    counts : ErrorCounts
        Word errors with these weights.
    """

    alpha: float
    beta: float
    counts: ErrorCounts


def tune(
    log_probs: Sequence[NDArray[Any]],
    references: Sequence[str],
    make_recogniser: MakeRecogniser,
    alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5),
    betas: Sequence[float] = (-1.0, 0.0, 1.0, 2.0),
) -> Tuned:
    """Search a grid, then the four neighbours of its best point at half its step.

    Parameters
    ----------
    log_probs : sequence of ndarray, each ``(T, V)``
        Computed once, for they do not depend on the weights.
    references : sequence of str
    make_recogniser : callable
        Called as ``make_recogniser(alpha, beta)(log_probs)``.
    alphas, betas : sequence of float
        The grid. Equal errors go to the smaller alpha, then to the smaller bonus: the language model must earn
        its weight.

    Raises
    ------
    DataError
        If there is nothing to tune on.
    """
    if not log_probs or not any(references):
        raise DataError("tuning needs at least one utterance with words")

    def errors(alpha: float, beta: float) -> Tuned:
        return Tuned(alpha, beta, word_errors(references, make_recogniser(alpha, beta)(log_probs)))

    def best(candidates: list[Tuned]) -> Tuned:
        return min(candidates, key=lambda tuned: (tuned.counts.errors, tuned.alpha, abs(tuned.beta)))

    coarse = best([errors(alpha, beta) for alpha, beta in product(alphas, betas)])
    alpha_step, beta_step = (float(np.min(np.diff(values))) / 2 for values in (alphas, betas))
    fine = [
        errors(max(0.0, coarse.alpha + alpha_sign * alpha_step), coarse.beta + beta_sign * beta_step)
        for alpha_sign, beta_sign in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    return best([coarse, *fine])
