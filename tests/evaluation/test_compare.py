"""Comparisons: antisymmetric, whatever the order and the format of the files; sets that do not match are refused."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from typer.testing import CliRunner

from asr.cli import app
from asr.errors import DataError
from asr.evaluation.compare import compare
from asr.evaluation.hypotheses import write_hypotheses
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.evaluation.sclite import sclite_table

REFERENCES = [" ".join(np.random.default_rng(i).choice(["a", "b", "c", "d"], 3 + i % 9)) for i in range(120)]


def system(seed, error_rate, kinds=3):
    """A recogniser that replaces, drops and doubles words at random."""
    rng = np.random.default_rng(seed)
    edits = (lambda _word: ["x"], lambda _word: [], lambda word: [word, word])
    utterances = []
    for number, reference in enumerate(REFERENCES):
        words = [
            out
            for w in reference.split()
            for out in (edits[rng.integers(kinds)](w) if rng.random() < error_rate else [w])
        ]
        scored = UtteranceResult.scored(f"u{number}", reference, " ".join(words))
        utterances.append(replace(scored, speaker=f"s{number % 4}"))
    return Evaluation(tuple(utterances))


A, B = system(1, 0.16), system(2, 0.08)


def test_a_better_system_is_found_better():
    found = compare(A, B)
    assert found.difference == pytest.approx(B.words.rate - A.words.rate)
    bootstrap = found.bootstrap()
    assert bootstrap.low < found.difference < bootstrap.high < 0
    assert bootstrap.b_better > 0.99
    assert found.matched_pairs().p_value < 0.01
    only_a, only_b = found.only_right()
    right = [[not utterance.words.errors for utterance in side.utterances] for side in (A, B)]
    expected = [sum(a and not b for a, b in zip(*pair, strict=True)) for pair in (right, right[::-1])]
    assert [len(only_a), len(only_b)] == expected == list(found.mcnemar()[:2])
    assert found.mcnemar().p_value == pytest.approx(scipy.stats.binomtest(expected[0], sum(expected)).pvalue)
    by_speaker = found.bootstrap_by_speaker()
    assert by_speaker.low < found.difference < by_speaker.high < 0
    assert compare(Evaluation(A.utterances[::4]), Evaluation(B.utterances[::4])).bootstrap_by_speaker() is None
    parts = found.by_speaker().values()
    assert sum(part.b.words.errors - part.a.words.errors for part in parts) == B.words.errors - A.words.errors


def test_the_other_way_round_the_signs_change():
    ours, theirs = compare(A, B), compare(B, A)
    assert ours.difference == -theirs.difference
    assert ours.matched_pairs().statistic == pytest.approx(-theirs.matched_pairs().statistic)
    assert ours.matched_pairs().p_value == pytest.approx(theirs.matched_pairs().p_value)
    a, b = ours.bootstrap(), theirs.bootstrap()
    # The sets that are drawn are others.
    assert (a.b_better, a.a_better) == pytest.approx((b.a_better, b.b_better), abs=0.01)
    assert (a.low, a.high) == pytest.approx((-b.high, -b.low), abs=0.003)


def test_a_system_does_not_differ_from_itself():
    found = compare(A, A)
    bootstrap = found.bootstrap()
    assert (found.difference, bootstrap.low, bootstrap.high, bootstrap.b_better) == (0, 0, 0, 0)
    assert found.matched_pairs().p_value == found.sign_test().p_value == 1
    assert found.only_right() == ([], [])


def test_no_difference_is_seldom_found_significant():
    """Under the null hypothesis p is below 0.1 in about a tenth of the cases: the test holds its level."""
    values = [compare(system(2 * i, 0.1), system(2 * i + 1, 0.1)).matched_pairs().p_value for i in range(60)]
    assert 1 <= sum(value < 0.1 for value in values) <= 13


def test_files_of_either_kind_and_order_can_be_compared(tmp_path):
    write_hypotheses(A, tmp_path / "a")
    write_hypotheses(Evaluation(B.utterances[::-1]), tmp_path / "b")
    files = ["a", "a/hypotheses.jsonl", "a/hyp.trn"], ["b", "b/hyp.trn"]
    outputs = []
    for a, b in [(a, b) for a in files[0] for b in files[1]]:
        ran = CliRunner().invoke(app, ["compare", str(tmp_path / a), str(tmp_path / b), "--json"])
        assert ran.exit_code == 0, ran.output
        found = json.loads(ran.stdout)
        # The ids of trn files have the speaker in front.
        rows = [{**row, "id": row["id"].split("-")[-1]} for row in found["only_b_right"]]
        outputs.append({**found, "files": [], "only_a_right": len(found["only_a_right"]), "only_b_right": rows})
    assert all(output == outputs[0] for output in outputs)
    assert outputs[0]["difference"] == pytest.approx(100 * compare(A, B).difference, abs=1e-3)
    text = CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--show", "3"]).stdout
    assert f"only B is right: {len(outputs[0]['only_b_right'])} utterances" in text
    assert text.count("ref: ") <= 6


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Evaluation(B.utterances[:-2]), r"B has 2 missing \(u118, u119\)"),
        (Evaluation((*B.utterances, UtteranceResult.scored("new", "a", "a"))), r"1 too many \(new\)"),
        (Evaluation((replace(B.utterances[0], reference="other words"), *B.utterances[1:])), "u0 has two references"),
    ],
)
def test_other_test_sets_are_refused(other, message):
    with pytest.raises(DataError, match=message):
        compare(A, other)


@pytest.mark.skipif(shutil.which("sctk") is None, reason="NIST's sctk is not installed (apt install sctk)")
def test_matched_pairs_is_that_of_nist(tmp_path):
    # Substitutions alone: other errors can be aligned in several ways, and sclite's is not always ours.
    a, b = (system(seed, rate, kinds=1) for seed, rate in ((3, 0.2), (4, 0.12)))
    for name, side in (("a", a), ("b", b)):
        write_hypotheses(side, tmp_path / name)
        trn = ["-r", f"{name}/ref.trn", "trn", "-h", f"{name}/hyp.trn", "trn", name, "-i", "spu_id"]
        run(["sctk", "sclite", *trn, "-o", "sum", "sgml", "-O", ".", "-n", name], tmp_path)
    aligned = b"".join((tmp_path / f"{name}.sgml").read_bytes() for name in "ab")
    run(["sctk", "sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "found"], tmp_path, aligned)
    report = (tmp_path / "found.stats.mapsswe").read_text(encoding="latin-1")
    ((segments, mean, statistic),) = re.findall(r"# segs: (\d+)\).*mean: (\S+)\).*Z Stat: (\S+)\)", report)
    found = compare(a, b).matched_pairs()
    assert found.segments == int(segments)
    # sctk takes A's errors minus B's, and prints three digits.
    assert [-found.mean_difference, -found.statistic] == pytest.approx([float(mean), float(statistic)], abs=6e-4)
    table = [line for line in sclite_table(a).splitlines() if "Sum/Avg" in line or "S.D." in line or "Median" in line]
    theirs = (tmp_path / "a.sys").read_text(encoding="latin-1").splitlines()
    for ours in table:
        name = ours.strip("|").split()[0]
        (line,) = [line for line in theirs if name in line]
        assert line.split("|")[-2].split() == ours.split("|")[-2].split()


def run(command, folder, data=b""):
    subprocess.run(command, cwd=folder, input=data, check=True, capture_output=True)
