"""What is drawn is what there is: the numbers are read back out of matplotlib's axes."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from asr.features import LogMelConfig
from asr.preparation.charts import MAX_BARS, WAVE_COLUMNS, bars, draw, histogram, spectrogram, waveform

Figure = pytest.importorskip("matplotlib.figure").Figure


def drawn(chart: Any) -> Any:
    """Return the axes that a chart was drawn into."""
    axes = Figure().subplots()
    chart(axes)
    return axes


def steps(chart: Any) -> tuple[list[float], list[float]]:
    """Return the counts of a histogram and the edges of their ranges."""
    (patch,) = drawn(chart).patches
    values, edges, _ = patch.get_data()
    return values.tolist(), edges.tolist()


@given(st.lists(st.floats(-1e3, 1e6, width=32), min_size=1, max_size=200))
@hypothesis_settings(max_examples=30, deadline=None)
def test_every_value_is_in_one_range_of_a_histogram(values: list[float]) -> None:
    counts, edges = steps(histogram(np.array(values), "level < 0"))
    assert sum(counts) == len(values)
    inner = [sum(low <= value < high for value in values) for low, high in pairwise(edges[:-1])]
    assert counts[:-1] == inner


@given(st.lists(st.integers(-1_000, 5_000), min_size=1, max_size=300))
@hypothesis_settings(max_examples=30, deadline=None)
def test_ranges_of_whole_numbers_hold_equally_many(values: list[int]) -> None:
    counts, edges = steps(histogram(np.array(values), "characters"))
    assert len(set(np.diff(edges))) == 1
    assert all(edge % 1 == 0.5 for edge in edges)
    assert counts == [sum(low < v < high for v in values) for low, high in pairwise(edges)]


def test_bars_are_named_and_bounded() -> None:
    axes = drawn(bars({"<": 5, "$a$": 3, "é": 1}, "characters", logarithmic=True))
    assert [bar.get_height() for bar in axes.patches] == [5, 3, 1]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["<", "$a$", "é"]
    many = drawn(bars({f"speaker {i}": 100_000 - i for i in range(100_000)}, "speakers"))
    heights = [bar.get_height() for bar in many.patches]
    assert (len(heights), heights[0], heights[-1]) == (MAX_BARS, 100_000, 1)
    assert not many.get_xticklabels()


def test_a_spectrogram_is_dark_where_it_is_loud_and_low_is_down() -> None:
    features = np.zeros((30, 8), dtype=np.float16)
    features[20:25, 1] = 4
    (image,) = drawn(spectrogram(features, LogMelConfig(n_mels=8))).images
    assert image.origin == "lower"
    grey = image.to_rgba(image.get_array())[..., 0]
    assert (grey[1, 20:25] == 0).all()
    grey[1, 20:25] = 1
    assert (grey == 1).all()


@pytest.mark.parametrize("num_samples", [1, 599, 48_000])
def test_a_waveform_is_drawn_between_its_extremes(num_samples: int) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_767, num_samples).astype(np.int16)
    (outline,) = drawn(waveform(samples, 8_000)).collections
    heights = outline.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(samples.max() / 32_768)
    assert heights.min() == pytest.approx(samples.min() / 32_768)
    assert len(np.unique(outline.get_paths()[0].vertices[:, 0])) == min(num_samples, WAVE_COLUMNS)


def test_the_same_charts_are_the_same_bytes() -> None:
    charts = [histogram(np.arange(20), "a <b>"), bars({"$": 1, "&": 2}, "c")]
    html = draw(charts, columns=2, caption="a <b>")
    assert html == draw(charts, columns=2, caption="a <b>")
    assert "a &lt;b&gt;" in html
    assert "<figcaption>a &lt;b&gt;" in html
