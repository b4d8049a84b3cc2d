"""What is drawn is what there is: the numbers and pixels are read back out of the HTML."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.preparation.charts import WAVE_COLUMNS, WIDTH, bars, histogram, spectrogram, waveform


def drawn(chart: str) -> list[tuple[str, int, float]]:
    """Return (name, value, height) of every bar."""
    found = []
    for rect in ElementTree.fromstring(chart).iter("rect"):
        name, value = str(rect[0].text).rsplit(": ", 1)
        found.append((name, int(value.replace(",", "")), float(rect.attrib["height"])))
        assert 0 <= float(rect.attrib["x"]) < WIDTH
    return found


@given(st.lists(st.floats(-1e3, 1e6, width=32), min_size=1, max_size=200))
def test_every_value_is_in_one_bar_of_a_histogram(values: list[float]) -> None:
    chart = histogram(np.array(values), "level < 0")
    rows = drawn(chart)
    assert sum(count for _, count, _ in rows) == len(values)
    highest = max(count for _, count, _ in rows)
    tallest = max(height for _, _, height in rows)
    for _, count, height in rows:
        assert height == pytest.approx(tallest * count / highest, abs=0.1)


@given(st.lists(st.integers(-1_000, 5_000), min_size=1, max_size=300))
def test_ranges_of_whole_numbers_hold_equally_many(values: list[int]) -> None:
    rows = drawn(histogram(np.array(values), "characters"))
    spans = set()
    for name, count, _ in rows:
        low, high = map(float, name.split(" to "))
        assert count == sum(low <= value <= high for value in values)
        spans.add(high - low)
    assert len(spans) == 1
    assert sum(count for _, count, _ in rows) == len(values)


@pytest.mark.parametrize("values", [[16] * 90 + [18] * 3 + [19], [3], list(range(100))])
def test_ticks_of_a_histogram_stand_below_their_bars(values: list[int]) -> None:
    chart = ElementTree.fromstring(histogram(np.array(values), "characters"))
    bars_drawn = []
    for rect in chart.iter("rect"):
        low, high = map(int, str(rect[0].text).split(":")[0].split(" to "))
        left = float(rect.attrib["x"])
        bars_drawn.append((low, high, left, left + float(rect.attrib["width"]) + 1))
    ticks = [(float(str(text.text)), float(text.attrib["x"])) for text in list(chart.iter("text"))[1:-1]]
    found = [left <= x <= right for value, x in ticks for low, high, left, right in bars_drawn if low <= value <= high]
    assert found
    assert all(found)


def test_names_that_fit_stand_below_their_bars() -> None:
    def below(names: list[str]) -> list[str]:
        texts = ElementTree.fromstring(bars([1] * len(names), names, "label")).iter("text")
        return [str(text.text) for text in texts][1:-1]

    assert below(["ann", "benjamin"]) == ["ann", "benjamin"]
    assert below([f"speaker {i}" for i in range(40)]) == []
    assert below(list("abcdefghij" * 4)) == list("abcdefghij" * 4)
    assert below(["a name that is wider than any bar"]) == []


def test_bars_are_named_and_bounded() -> None:
    rows = drawn(bars([5, 3, 1], ["<", "&", "é"], "characters", logarithmic=True))
    assert [(name, count) for name, count, _ in rows] == [("<", 5), ("&", 3), ("é", 1)]
    many = drawn(bars(list(range(100_000, 0, -1)), [f"speaker {i}" for i in range(100_000)], "speakers"))
    assert len(many) == WIDTH
    assert many[0][:2] == ("speaker 0", 100_000)
    assert many[-1][:2] == ("speaker 99999", 1)


def test_a_spectrogram_is_dark_where_it_is_loud_and_low_is_down() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="spectrograms are drawn with Pillow")
    features = np.zeros((30, 8), dtype=np.float16)
    features[20:25, 1] = 4
    html = spectrogram(features, "a <b>")
    assert "a &lt;b&gt;" in html
    data = re.search(r"base64,([^\"]+)", html)
    assert data is not None
    pixels = np.asarray(image_module.open(io.BytesIO(base64.b64decode(data[1]))))
    expected = np.full((8, 30), 255)
    expected[6, 20:25] = 0
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("num_samples", [1, 599, 48_000])
def test_a_waveform_is_drawn_between_its_extremes(num_samples: int) -> None:
    samples = np.random.default_rng(1).integers(-32_768, 32_767, num_samples).astype(np.int16)
    strokes = re.findall(r"M(\d+) ([\d.-]+)V([\d.-]+)", waveform(samples, "noise"))
    assert len(strokes) == min(num_samples, WAVE_COLUMNS)
    highest = min(float(top) for _, top, _ in strokes)
    assert highest == pytest.approx(50 - 50 * int(samples.max()) / 32_768, abs=0.06)
