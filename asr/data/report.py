"""``report.html`` and ``report.json``: what was kept, what was left out and why, and what looks wrong."""

import base64
import html
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.store import AudioStore, FeatureStore, open_store
from asr.data.survey import SplitIndex, survey
from asr.errors import MissingExtraError
from asr.files import write_text

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { border-bottom: 1px solid #ccc; margin-top: 2em } h3 { margin-bottom: .3em }
table { border-collapse: collapse; margin: .6em 0 } td, th { padding: .25em .8em; text-align: left;
  border-bottom: 1px solid #e4e4e4; vertical-align: top } td.n { text-align: right }
img { max-width: 100% } .warn { background: #fff3d6; padding: .5em .8em; border-left: 4px solid #e0a100 }
code { font-size: .92em } figcaption { font-size: .92em } figure { margin: .8em 0 }
"""


def write_report(out: Path, title: str, warnings: Sequence[str]) -> None:
    """Write the report on all splits below `out`; the same bytes whenever the stores are the same.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    found = {"title": title, "warnings": list(warnings), **survey(out)}
    write_text(out / "report.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    parts = [f"<h1>{html.escape(title)}</h1>", _warnings(found), _overview(found), _between(found)]
    parts += [_split(out / name, name, facts) for name, facts in found["splits"].items()]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>\n"
    )
    write_text(out / "report.html", page)


def _warnings(found: dict[str, Any]) -> str:
    return "".join(f'<p class="warn">{html.escape(text)}</p>' for text in found["warnings"])


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    cells = (
        "".join(
            f'<td class="n">{value:,}</td>' if isinstance(value, int | float) else f"<td>{html.escape(value)}</td>"
            for value in row
        )
        for row in rows
    )
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _overview(found: dict[str, Any]) -> str:
    rows = []
    for name, facts in found["splits"].items():
        short = facts.get("too_few_frames", {})
        left_out = sum(reason["count"] for reason in facts["rejected"].values())
        rows.append(
            [name, facts["utterances"], round(facts["hours"], 2), facts["speakers"], facts.get("words", 0), left_out]
            + [short.get(reduction, 0) for reduction in ("2", "4", "8")]
        )
    head = ["split", "utterances", "hours", "speakers", "words", "left out", "too short ÷ 2", "÷ 4", "÷ 8"]
    note = (
        "<p>Too short: fewer frames than CTC needs for the characters of the transcript (labels + adjacent repeats) "
        "once time is reduced 2-, 4- or 8-fold; they are kept here and left out at training.</p>"
    )
    return f"<h2>What there is</h2>{_table(head, rows)}{note}"


def _between(found: dict[str, Any]) -> str:
    rows = [
        [" / ".join(pair["splits"]), kind, pair[kind]["count"], ", ".join(pair[kind]["examples"])[:200]]
        for pair in found["between"]
        for kind in ("speakers", "ids", "audio", "texts")
        if kind in pair
    ]
    if not rows:
        return "<h2>Between splits</h2><p>No speaker, id, recording or transcript is in two splits.</p>"
    return f"<h2>Between splits</h2>{_table(['splits', 'share', 'how many', 'such as'], rows)}"


def _split(folder: Path, name: str, facts: dict[str, Any]) -> str:
    index = SplitIndex(folder)
    parts = [f"<h2>{html.escape(name)}</h2>"]
    problems: list[list[Any]] = [
        [f"left out: {reason}", row["count"], "; ".join(row["examples"][:3])]
        for reason, row in facts["rejected"].items()
    ]
    for key, label in (
        ("clipped", "clipped (kept)"),
        ("quiet", "far quieter than the rest (kept)"),
        ("same_audio", "same recording twice (kept)"),
        ("odd_characters_per_second", "unusual characters/s (kept)"),
    ):
        row = facts.get(key, {"count": 0})
        if row["count"]:
            problems.append([label, row["count"], "; ".join(row["examples"][:3])])
    outside = ", ".join(f"{character!r} × {count}" for character, count in facts["outside_alphabet"].items())
    if outside:
        problems.append(["characters outside the alphabet", sum(facts["outside_alphabet"].values()), outside[:300]])
    if problems:
        parts.append(_table(["what", "how many", "such as"], problems))
    else:
        parts.append("<p>Nothing was left out, and nothing looks wrong.</p>")
    parts.append(_image(_histograms(index, facts), "durations, speech rate, level, utterances a speaker, characters"))
    parts.append("<h3>A few utterances</h3>")
    store = open_store(folder)
    parts += [_example(store, number) for number in _examples(store)]
    return "".join(parts)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "data", "the report of a preparation") from None
    figure = Figure(figsize=(width, height), dpi=90)
    # Margins in inches: a layout engine would draw everything twice.
    figure.subplots_adjust(
        left=0.7 / width, right=1 - 0.2 / width, bottom=0.5 / height, top=1 - 0.15 / height, hspace=0.3, wspace=0.25
    )
    FigureCanvasAgg(figure)
    return figure


def _image(figure: Any, caption: str) -> str:
    buffer = io.BytesIO()
    # Without the program's version, so that the same data give the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _histograms(index: SplitIndex, facts: dict[str, Any]) -> Any:
    figure = _figure(11, 5.2)
    axes = figure.subplots(2, 3)
    seconds = index.numbers("duration_seconds")
    _histogram(axes[0, 0], seconds, "duration (s)")
    _histogram(axes[0, 1], index.numbers("level_db"), "level (dB re full scale)")
    counts = sorted(Counter(index.strings("speaker")).values(), reverse=True)
    axes[0, 2].bar(range(len(counts)), counts, width=1.0)
    axes[0, 2].set(xlabel=f"speakers ({facts['speakers']})", ylabel="utterances")
    if "characters" in facts:
        lengths = np.fromiter((len(text) for text in index.strings("text")), dtype=np.int64, count=len(seconds))
        _histogram(axes[1, 0], lengths / seconds, "characters/s")
        _histogram(axes[1, 1], lengths, "characters an utterance")
        most = sorted(facts["characters"].items(), key=lambda item: -item[1])[:40]
        axes[1, 2].bar([name if name != " " else "␣" for name, _ in most], [count for _, count in most])
        axes[1, 2].set(xlabel="characters", yscale="log")
        axes[1, 2].tick_params(axis="x", labelsize=7)
    else:
        for axis in axes[1]:
            axis.set_visible(False)
    return figure


def _histogram(axis: Any, values: Any, label: str) -> None:
    axis.hist(values, bins=50)
    axis.set(xlabel=label, ylabel="utterances")


def _examples(store: FeatureStore | AudioStore) -> list[int]:
    """Return the shortest, the median and the longest utterance."""
    order = np.argsort(store.durations_seconds, kind="stable")
    return sorted({int(order[0]), int(order[len(order) // 2]), int(order[-1])})


def _example(store: FeatureStore | AudioStore, number: int) -> str:
    figure = _figure(11, 2.0)
    axis = figure.subplots()
    if isinstance(store, FeatureStore):
        utterance = store[number]
        image = utterance.features.astype(np.float32).T
        extent = (0, utterance.duration_seconds, 0, image.shape[0])
        axis.imshow(image, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
        axis.set(xlabel="s", ylabel="mel band")
        return _image(figure, f"{utterance.id} ({utterance.speaker}): {utterance.text}")
    sound = store[number]
    step = max(1, len(sound.samples) // 4000)
    samples = sound.samples[::step] / 32768
    axis.plot(np.arange(len(samples)) * step / sound.sample_rate, samples, linewidth=0.5)
    axis.set(xlabel="s", ylim=(-1, 1))
    return _image(figure, f"{sound.id} ({sound.speaker}): {sound.text}")
