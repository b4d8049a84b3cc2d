"""sclite's table: every figure is that of the counts."""

import statistics
from dataclasses import replace

import pytest

from asr.evaluation.results import Evaluation, UtteranceResult
from asr.evaluation.sclite import sclite_table

PAIRS = [
    ("ann", "a b c d", "a x c"),
    ("ann", "a", "a"),
    ("bob", "a b", "a b c"),
    ("cy", "", "a"),
    ("dee", "e f", "e f"),
]


def evaluation():
    return Evaluation(
        tuple(
            replace(UtteranceResult.scored(str(i), reference, hypothesis), speaker=speaker)
            for i, (speaker, reference, hypothesis) in enumerate(PAIRS)
        )
    )


def rows(table):
    cells = (line.strip("|").replace("|", " ").split() for line in table.splitlines() if line.startswith("| "))
    return {name: values for name, *values in cells}


def test_figures_are_per_cent_of_the_reference_words():
    found = rows(sclite_table(evaluation()))
    assert found["ann"] == ["2", "5", "60.0", "20.0", "20.0", "0.0", "40.0", "50.0"]
    assert found["bob"] == ["1", "2", "100.0", "0.0", "0.0", "50.0", "50.0", "100.0"]
    assert found["cy"] == ["1", "0", *["–"] * 6]
    assert found["Sum/Avg"] == ["5", "9", "77.8", "11.1", "11.1", "22.2", "44.4", "60.0"]
    errors = [40, 50, 0]
    for name, statistic in (("Mean", statistics.mean), ("S.D.", statistics.stdev), ("Median", statistics.median)):
        assert float(found[name][4]) == pytest.approx(statistic(errors), abs=0.05)


def test_all_lines_are_equally_long_and_speakers_may_be_cut():
    table = sclite_table(evaluation(), most_speakers=2)
    assert len({len(line) for line in table.splitlines()}) == 1
    assert {"ann", "bob"} < rows(table).keys()
    assert "cy" not in rows(table)
    assert "2 more speakers" in table
    assert rows(table)["Mean"] == rows(sclite_table(evaluation()))["Mean"]
