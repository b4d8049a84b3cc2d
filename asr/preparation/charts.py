"""The drawings of a report, as HTML: charts in SVG, spectrograms as PNG images; the same data give the same bytes."""

import base64
import html
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.errors import MissingExtraError

# In pixels: of a chart, and the room in it for what stands below and above the bars.
WIDTH, HEIGHT, BELOW, ABOVE = 340, 190, 36, 16
BINS = 50

# No bar of a name is wider, and a letter of what stands below is about so wide.
MAX_BAR, LETTER = 56, 6
TICKS = 5

# A waveform is drawn as the extremes of this many stretches.
WAVE_COLUMNS = 600
WAVE_HEIGHT = 100

# Between these percentiles a spectrogram goes from white to black.
WHITE_PERCENTILE, BLACK_PERCENTILE = 20.0, 99.8


def histogram(values: NDArray[Any], label: str) -> str:
    """Return a chart of how often the `values` ``(N,)`` fall into each of some equal ranges, the more values the more.

    Ranges of whole numbers hold equally many of them: else some bars would be higher than their neighbours for that.
    """
    bins: Any = int(min(BINS, max(8, 2 * math.sqrt(len(values)))))
    whole = values.dtype.kind in "iu"
    if whole:
        first, last = int(values.min()), int(values.max())
        step = -(-(last - first + 1) // bins)
        bins = np.arange(first, last + step + 1, step) - 0.5
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=bins)
    low, high = float(edges[0]), float(edges[-1])
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    if whole:
        names = [f"{math.ceil(low)} to {math.floor(high)}" for low, high in pairwise(edges)]
    ticks = [((value - low) / (high - low), f"{value:g}") for value in _round_numbers(low, high)]
    return _chart((counts, names), WIDTH / len(counts), ticks, f"{label}: utterances")


def bars(heights: Sequence[int], names: Sequence[str], label: str, *, logarithmic: bool = False) -> str:
    """Return a chart with a bar for each name, at most one a pixel; names that fit stand below their bars."""
    # Of a hundred thousand speakers evenly many are drawn, the first and the last among them.
    drawn = np.unique(np.linspace(0, len(names) - 1, min(len(names), WIDTH)).round().astype(int))
    step = min(WIDTH / max(len(names), 1), MAX_BAR)
    short = all(len(name) * LETTER <= step for name in names)
    ticks = [((i + 0.5) * step / WIDTH, name) for i, name in enumerate(names)] if short else []
    shown = np.asarray(heights)[drawn], [names[i] for i in drawn]
    return _chart(shown, min(WIDTH / max(len(drawn), 1), MAX_BAR), ticks, label, logarithmic=logarithmic)


def _chart(
    rows: tuple[NDArray[Any], Sequence[str]], step: float, ticks: Sequence[tuple[float, str]], label: str, *,
    logarithmic: bool = False,
) -> str:  # fmt: skip
    """Return an SVG of bars `step` pixels apart; `rows` are heights and names, `ticks` (position from 0 to 1, text)."""
    heights, names = rows
    highest = max(int(heights.max(initial=0)), 1)
    room = HEIGHT - BELOW - ABOVE
    scale = (lambda value: math.log1p(value) / math.log1p(highest)) if logarithmic else (lambda value: value / highest)
    parts = [
        f'<rect x="{i * step:.1f}" y="{ABOVE + room * (1 - scale(value)):.1f}" width="{max(step - 0.5, 0.5):.1f}" '
        f'height="{room * scale(value):.1f}"><title>{html.escape(name)}: {value:,}</title></rect>'
        for i, (value, name) in enumerate(zip(heights.tolist(), names, strict=True))
        if value
    ]
    base = HEIGHT - BELOW
    parts.append(f'<path d="M0 {base}H{WIDTH}"/><text x="0" y="11">{highest:,}{" (log)" if logarithmic else ""}</text>')
    for position, text in ticks:
        # Text at the edge would be cut off.
        x = min(max(position * WIDTH, 6), WIDTH - 10)
        parts.append(f'<text x="{x:.1f}" y="{base + 13}" class="m">{html.escape(text)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" class="m">{html.escape(label)}</text>')
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'


def _round_numbers(low: float, high: float) -> list[float]:
    """Return some multiples of 1, 2 or 5 times a power of ten between two numbers."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 12) for number in range(first, last + 1)]


def spectrogram(features: NDArray[Any], caption: str) -> str:
    """Return an image of `features` ``(T, n_mels)``: time to the right, frequency up, the louder the darker.

    Raises
    ------
    MissingExtraError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError("Pillow", "data", "the report of a preparation") from None
    values = features.astype(np.float32).T[::-1]
    white, black = np.percentile(values, [WHITE_PERCENTILE, BLACK_PERCENTILE])
    grey = np.clip((black - values) / max(black - white, 1e-6), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * grey).astype(np.uint8)).save(buffer, "png", compress_level=3)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def waveform(samples: NDArray[np.int16], caption: str) -> str:
    """Return a drawing of `samples` ``(num_samples,)``, full scale 32,768."""
    columns = np.array_split(samples.astype(np.int64), min(WAVE_COLUMNS, len(samples)))
    middle = WAVE_HEIGHT / 2
    line = "".join(
        f"M{x} {middle - middle * int(part.max()) / 32768:.1f}V{middle - middle * int(part.min()) / 32768 + 0.5:.1f}"
        for x, part in enumerate(columns)
    )
    text = html.escape(caption)
    return (
        f'<figure><svg class="wave" viewBox="0 0 {WAVE_COLUMNS} {WAVE_HEIGHT}" preserveAspectRatio="none">'
        f'<path d="{line}"/></svg><figcaption>{text}</figcaption></figure>'
    )
