"""The drawings of a preparation's report, by matplotlib."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.features import LogMelConfig
from asr.page import figure

# Draws into matplotlib's axes.
Chart = Callable[[Any], None]

# Of a chart, and of a spectrogram or waveform, in inches.
CHART_SIZE = (3.7, 2.1)
STRIP_SIZE = (11.0, 1.6)

BINS = 50
# More names than these cannot be read below their bars; of more bars than these, evenly many are drawn.
MAX_NAMES, MAX_BARS = 40, 400
# Between these percentiles a spectrogram goes from white to black.
WHITE_PERCENTILE, BLACK_PERCENTILE = 20.0, 99.8
# A waveform is drawn as the extremes of this many stretches.
WAVE_COLUMNS = 600


def draw(charts: Sequence[Chart], columns: int = 1, caption: str = "") -> str:
    """Return charts as one figure of HTML; a single one is drawn as a strip over the whole width."""
    width, height = STRIP_SIZE if len(charts) == 1 else CHART_SIZE
    rows = -(-len(charts) // columns)

    def fill(drawing: Any) -> None:
        for axes, chart in zip(drawing.subplots(rows, columns, squeeze=False).flat, charts, strict=True):
            chart(axes)
            axes.spines[["top", "right"]].set_visible(False)

    return figure(fill, columns * width, rows * height, caption)


def histogram(values: NDArray[Any], label: str) -> Chart:
    """Return a chart of how often the `values` ``(N,)`` fall into each of some equal ranges, the more values the more.

    Ranges of whole numbers hold equally many of them: otherwise some bars would be higher for that alone.
    """
    bins: Any = int(min(BINS, max(8, 2 * np.sqrt(len(values)))))
    if values.dtype.kind in "iu":
        first, last = int(values.min()), int(values.max())
        step = -(-(last - first + 1) // bins)
        bins = np.arange(first, last + step + 1, step) - 0.5
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=bins)

    def chart(axes: Any) -> None:
        axes.stairs(counts, edges, fill=True)
        axes.set(xlabel=label, ylabel="utterances")

    return chart


def bars(heights: Mapping[str, int], label: str, *, logarithmic: bool = False) -> Chart:
    """Return a chart with a bar for each name; names stand below their bars where there is room for them."""
    names = list(heights)
    # Of a hundred thousand speakers evenly many are drawn, the first and the last among them.
    drawn = np.unique(np.linspace(0, len(names) - 1, min(len(names), MAX_BARS)).round().astype(int))

    def chart(axes: Any) -> None:
        axes.bar(range(len(drawn)), [heights[names[i]] for i in drawn], width=0.9, log=logarithmic)
        axes.set(xlabel=label)
        is_named = len(names) <= MAX_NAMES
        long = max(map(len, names), default=0) * len(names) > MAX_NAMES
        ticks, labels = (range(len(names)), names) if is_named else ([], [])
        axes.set_xticks(ticks, labels, rotation=90 if long else 0, parse_math=False)

    return chart


def spectrogram(features: NDArray[Any], config: LogMelConfig) -> Chart:
    """Return a drawing of `features` ``(T, n_mels)``: time to the right, frequency up, the louder the darker."""
    values = features.astype(np.float32).T
    white, black = np.percentile(values, [WHITE_PERCENTILE, BLACK_PERCENTILE])

    def chart(axes: Any) -> None:
        extent = (0, len(features) * config.hop_seconds, 0, config.n_mels)
        axes.imshow(
            values, cmap="Greys", vmin=white, vmax=max(black, white + 1e-6), origin="lower", aspect="auto",
            extent=extent, interpolation="nearest",
        )  # fmt: skip
        axes.set(xlabel="s", ylabel="mel band")

    return chart


def waveform(samples: NDArray[np.int16], sample_rate: int) -> Chart:
    """Return a drawing of `samples` ``(num_samples,)``, full scale 32,768: the extremes of short stretches."""
    stretches = np.array_split(samples, min(WAVE_COLUMNS, len(samples)))
    low, high = ([int(extreme(stretch)) / 32768 for stretch in stretches] for extreme in (np.min, np.max))
    seconds = np.linspace(0, len(samples) / sample_rate, len(stretches))

    def chart(axes: Any) -> None:
        axes.fill_between(seconds, low, high)
        axes.set(xlabel="s", ylim=(-1, 1))

    return chart
