"""``asr compare``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from asr.evaluation.compare import Comparison, Pair
    from asr.evaluation.significance import SignTest


def compare(
    a: Annotated[Path, typer.Argument(help="The baseline: a folder of asr evaluate --out, a .jsonl, or a .trn file.")],
    b: Annotated[Path, typer.Argument(help="The system to compare with it, on the same test set.")],
    references: Annotated[
        Path | None, typer.Option(help="References for .trn files; by default ref.trn beside them.")
    ] = None,
    show: Annotated[int, typer.Option(min=0, help="How many utterances to show that only one system gets right.")] = 10,
    json_lines: Annotated[bool, typer.Option("--json", help="Print all figures and utterances as JSON.")] = False,
) -> None:
    """Print whether B is better than A: difference of WER with its interval, significance, and where only one is right.

    Paired bootstrap over utterances (Bisani & Ney 2004), matched-pairs sentence-segment word error test (Gillick &
    Cox 1989), sign test and McNemar's test on utterances.
    """
    from asr.evaluation.compare import compare as compare_evaluations
    from asr.evaluation.hypotheses import read_evaluation

    comparison = compare_evaluations(read_evaluation(a, references), read_evaluation(b, references))
    if json_lines:
        print(json.dumps({"files": [str(a), str(b)], **comparison.to_dict()}, indent=1, ensure_ascii=False))
        return
    print(f"A  {a}  {comparison.a.words.kaldi_line()}")
    print(f"B  {b}  {comparison.b.words.kaldi_line()}")
    _print_tests(comparison)
    _print_speakers(comparison)
    for letter, pairs in zip("AB", comparison.only_right(), strict=True):
        _print_right(letter, pairs, show)


def _print_tests(comparison: "Comparison") -> None:
    bootstrap, matched = comparison.bootstrap(), comparison.matched_pairs()
    difference = comparison.difference
    if difference is None:
        print("difference           n/a: no reference has a word")
        return
    relative = f", {difference / comparison.a.words.rate:+.1%} relative" if comparison.a.words.rate else ""
    print(
        f"difference           {100 * difference:+.2f} points{relative}, 95 % interval {100 * bootstrap.low:+.2f} to "
        f"{100 * bootstrap.high:+.2f} (below 0: B is better)"
    )
    print(f"paired bootstrap     B better in {bootstrap.b_better:.1%} of resampled sets, A in {bootstrap.a_better:.1%}")
    by_speaker = comparison.bootstrap_by_speaker()
    if by_speaker is not None:
        print(
            f"the same by speaker  B better in {by_speaker.b_better:.1%}, A in {by_speaker.a_better:.1%}; interval "
            f"{100 * by_speaker.low:+.2f} to {100 * by_speaker.high:+.2f}"
        )
    statistic = "no spread" if matched.statistic is None else f"W = {matched.statistic:+.3f}, p = {matched.p_value:.3g}"
    few = "; few segments, so p is rough" if matched.segments < 50 else ""
    print(f"matched pairs        {matched.segments} segments with errors, {statistic}{few}")
    print(f"sign test            {_sign(comparison.sign_test(), 'fewer errors')}")
    print(f"McNemar's test       {_sign(comparison.mcnemar(), 'alone right')}")


def _sign(test: "SignTest", what: str) -> str:
    return f"{what} in A {test.a_better} ×, in B {test.b_better} ×, p = {test.p_value:.3g}"


def _print_speakers(comparison: "Comparison") -> None:
    speakers = comparison.by_speaker()
    if len(speakers) < 2:
        return
    print(f"\n{'speaker':20} {'# Snt':>6} {'# Wrd':>7} {'A %':>7} {'B %':>7} {'B - A':>7}")
    for name, part in speakers.items():
        rates = [part.a.words.rate, part.b.words.rate, part.difference]
        cells = [f"{'–':>7}" if rate is None else f"{100 * rate:7.1f}" for rate in rates]
        print(f"{name or 'unknown':20} {len(part.pairs):6} {part.a.words.reference_length:7} {' '.join(cells)}")


def _print_right(letter: str, pairs: "list[Pair]", show: int) -> None:
    print(f"\nonly {letter} is right: {len(pairs)} utterances")
    for pair in pairs[:show]:
        wrong = pair.b if letter == "A" else pair.a
        print(f"  {pair.a.id}\n    ref: {pair.a.reference}\n    {'B' if letter == 'A' else 'A'}:   {wrong.hypothesis}")
    if len(pairs) > show:
        print(f"  … and {len(pairs) - show} more: --show {len(pairs)}, or --json")
