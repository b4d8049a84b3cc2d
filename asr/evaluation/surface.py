"""A picture of the trials of tuning: WER over the weights, WER and time over the beam."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from asr.errors import MissingExtraError
from asr.evaluation.tune_bundle import TunedBundle
from asr.files import atomic_path


def require_matplotlib() -> None:
    """Raise an error before the work, not after it, if no picture can be drawn.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "data", "a picture of the tuning")


def draw_surface(tuned: TunedBundle, path: Path) -> None:
    """Write a PNG. Raises as `require_matplotlib`."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _weights(figure, left, tuned)
    _beams(right, tuned)
    with atomic_path(path) as temporary:
        canvas.print_png(temporary)


def _weights(figure: Any, axis: Any, tuned: TunedBundle) -> None:
    # The best of all trials with an alpha and a beta: other weights may differ.
    rates: dict[tuple[float, float], float] = {}
    for trial in tuned.weights.trials:
        place = trial.weights["alpha"], trial.weights["beta"]
        rates[place] = min(rates.get(place, np.inf), 100 * (trial.counts.rate or 0.0))
    alphas, betas = np.array(list(rates)).T
    wer = np.array(list(rates.values()))
    # Far from the best, the weights are so bad that they would take all the colours.
    levels = np.linspace(wer.min(), max(np.quantile(wer, 0.75), wer.min() + 0.01), 13)
    filled = axis.tricontourf(alphas, betas, wer, levels=levels, cmap="viridis_r", extend="max")
    axis.plot(alphas, betas, ".", color="black", markersize=3)
    chosen = tuned.weights
    alpha, beta = chosen.weights["alpha"], chosen.weights["beta"]
    axis.plot(alpha, beta, "*", color="red", markersize=14, markeredgecolor="white")
    axis.margins(0.03)
    axis.set(
        xlabel="alpha, weight of the language model",
        ylabel="beta, bonus for a word (nats)",
        title=f"alpha {alpha:g}, beta {beta:g}: WER {100 * (chosen.counts.rate or 0.0):.2f} %",
    )
    figure.colorbar(filled, ax=axis, label="WER %", format="%.1f")


def _beams(axis: Any, tuned: TunedBundle) -> None:
    sizes = [trial.beam_size for trial in tuned.beams]
    axis.plot(sizes, [100 * (trial.counts.rate or 0.0) for trial in tuned.beams], "o-", color="tab:blue")
    axis.axvline(tuned.beam.beam_size, color="red", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set(xlabel="beam size", title=f"beam {tuned.beam.beam_size}: {tuned.beam.counts.errors} errors")
    axis.set_ylabel("WER %", color="tab:blue")
    times = axis.twinx()
    times.plot(sizes, [trial.seconds for trial in tuned.beams], "s--", color="tab:gray")
    times.set_ylabel("decoding, seconds", color="tab:gray")
    times.set_ylim(bottom=0)
