"""NIST's sclite report: per cent of words by speaker, with sum, mean, standard deviation and median."""

from collections.abc import Sequence

import numpy as np

from asr.evaluation.results import Evaluation

COLUMNS = ("Corr", "Sub", "Del", "Ins", "Err", "S.Err")


def sclite_table(evaluation: Evaluation, most_speakers: int | None = None) -> str:
    """Return the table, one line per speaker, as in sclite's ``.sys`` file.

    Parameters
    ----------
    evaluation : Evaluation
    most_speakers : int, optional
        Show this many speakers at most, those with the most errors; sums and means are over all.

    Notes
    -----
    sclite aligns with weights (4 for a substitution, 3 for insertions and deletions), we with the fewest errors: where
    the two differ, ours counts fewer.
    """
    groups = evaluation.by_speaker()
    rates = {name: percentages(group) for name, group in groups.items()}
    shown = list(groups)
    if most_speakers is not None and len(shown) > most_speakers:
        worst = sorted(shown, key=lambda name: -groups[name].words.errors)[:most_speakers]
        shown = sorted(worst)
    width = max(7, *(len(name) for name in shown))
    lines = [f"| {name or 'unknown':{width}} | {_sizes(groups[name])} | {_cells(rates[name])} |" for name in shown]
    rule = "-" * (len(lines[0]) - 2)
    heading = f"| {'SPKR':{width}} | {'# Snt':>6} {'# Wrd':>7} | {' '.join(f'{name:>6}' for name in COLUMNS)} |"
    total = f"| {'Sum/Avg':{width}} | {_sizes(evaluation)} | {_cells(percentages(evaluation))} |"
    # Speakers without reference words have no rates to average.
    table = np.array([row for row in rates.values() if row is not None])
    summaries = []
    if len(table):
        spread = table.std(axis=0, ddof=1) if len(table) > 1 else np.zeros(len(COLUMNS))
        for name, row in (("Mean", table.mean(axis=0)), ("S.D.", spread), ("Median", np.median(table, axis=0))):
            summaries.append(f"| {name:>{width}} | {'':6} {'':7} | {_cells(list(row))} |")
    if len(shown) < len(groups):
        note = f"{len(groups) - len(shown)} more speakers, with fewer errors, are not shown"
        lines.append(f"| {note:{len(rule) - 2}} |")
    double = f"|{rule.replace('-', '=')}|"
    parts = [f",{rule}.", heading, f"|{rule}|", *lines, double, total, double, *summaries, f"`{rule}'"]
    return "\n".join(parts)


def percentages(evaluation: Evaluation) -> list[float] | None:
    """Return sclite's columns (`COLUMNS`) in per cent of the reference words; None where there are none."""
    counts, n = evaluation.words, evaluation.words.reference_length
    if not n:
        return None
    words = (counts.hits, counts.substitutions, counts.deletions, counts.insertions, counts.errors)
    return [*(100 * count / n for count in words), 100 * evaluation.wrong_sentences / len(evaluation.utterances)]


def _sizes(evaluation: Evaluation) -> str:
    return f"{len(evaluation.utterances):6} {evaluation.words.reference_length:7}"


def _cells(rates: Sequence[float] | None) -> str:
    return " ".join(f"{rate:6.1f}" for rate in rates) if rates is not None else " ".join(["     –"] * len(COLUMNS))
