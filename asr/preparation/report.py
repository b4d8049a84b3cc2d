"""``report.html`` and ``report.json``: what was kept, what was left out and why, and what looks wrong."""

import html
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.files import write_text
from asr.page import html_page
from asr.preparation.charts import bars, draw, histogram, spectrogram, waveform
from asr.preparation.survey import SplitIndex, survey
from asr.store.store import AudioStore, FeatureStore, StoredAudio, open_store


def write_report(out: Path, title: str, warnings: Sequence[str]) -> None:
    """Write the report on all splits below `out`; the same bytes whenever the stores are the same.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    found = {"title": title, "warnings": list(warnings), **survey(out)}
    write_text(out / "report.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    parts = [_warnings(found), _overview(found), _between(found)]
    parts += [_split(out / name, name, facts) for name, facts in found["splits"].items()]
    write_text(out / "report.html", html_page(title, "".join(parts)))


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
    parts.append(_charts(index, facts))
    parts.append("<h3>A few utterances</h3>")
    store = open_store(folder)
    parts += [_example(store, number) for number in _examples(store)]
    return "".join(parts)


def _charts(index: SplitIndex, facts: dict[str, Any]) -> str:
    """Return charts of durations, levels, speakers, and, where there is text, of speech rates and characters."""
    seconds = index.numbers("duration_seconds")
    speakers = Counter(index.strings("speaker")).most_common()
    named = {name or "unknown": count for name, count in speakers}
    charts = [
        histogram(seconds, "duration (s)"),
        histogram(index.numbers("level_db"), "level (dB re full scale)"),
        bars(named, f"speakers ({facts['speakers']}): utterances"),
    ]
    if "characters" in facts:
        lengths = np.fromiter((len(text) for text in index.strings("text")), dtype=np.int64, count=len(seconds))
        most = sorted(facts["characters"].items(), key=lambda item: -item[1])[:40]
        counts = {name if name != " " else "␣": count for name, count in most}
        charts += [
            histogram(lengths / seconds, "characters/s"),
            histogram(lengths, "characters an utterance"),
            bars(counts, "characters: how often", logarithmic=True),
        ]
    return draw(charts, columns=3)


def _examples(store: FeatureStore | AudioStore) -> list[int]:
    """Return the shortest, the median and the longest utterance."""
    order = np.argsort(store.durations_seconds, kind="stable")
    return sorted({int(order[0]), int(order[len(order) // 2]), int(order[-1])})


def _example(store: FeatureStore | AudioStore, number: int) -> str:
    utterance = store[number]
    caption = f"{utterance.id} ({utterance.speaker or 'unknown'}, {utterance.duration_seconds:.2f} s): {utterance.text}"
    if isinstance(utterance, StoredAudio):
        return draw([waveform(utterance.samples, utterance.sample_rate)], caption=caption)
    return draw([spectrogram(utterance.features, store.config)], caption=caption)
