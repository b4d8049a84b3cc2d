"""``report.html``: one file that shows what a model gets wrong, and loads nothing else."""

import base64
import html
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.evaluation.alignment import AlignedWord, Confusions, align_words
from asr.evaluation.details import LEVELS, Detail, worst
from asr.evaluation.results import Evaluation, UtteranceResult
from asr.files import write_text
from asr.page import STYLE

PAGE = Path(__file__).parent / "page"

# Bounds on the size of a report; what is left out is in hypotheses.jsonl and results.json.
MAX_UTTERANCES = 5000
MAX_SPEAKERS = 100
MAX_CONFUSIONS = 30

# Nothing is loaded from anywhere: the browser itself refuses what the page does not hold.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; media-src data:; img-src data:"


@dataclass(frozen=True)
class Heading:
    """What was evaluated.

    Parameters
    ----------
    title : str
    facts : sequence of (str, str)
        Names and values: the model, its decoder, the data, …
    """

    title: str
    facts: Sequence[tuple[str, str]]


def write_report(path: Path, heading: Heading, evaluation: Evaluation, details: Iterable[Detail] = ()) -> None:
    """Write a report on `evaluation`; `details` can be opened in it."""
    write_text(path, render(heading, evaluation, details))


def render(heading: Heading, evaluation: Evaluation, details: Iterable[Detail] = ()) -> str:
    """Return the page."""
    alignments = [align_words(utterance.reference, utterance.hypothesis) for utterance in evaluation.utterances]
    listed = sorted(worst(evaluation, MAX_UTTERANCES))
    rows = [_row(index, evaluation.utterances[index], alignments[index]) for index in listed]
    scripts = [_data("rows", rows)]
    scripts += [_data(f"detail-{detail.index}", _detail(detail)) for detail in details]
    title = html.escape(heading.title)
    note = (
        f"<p>The {MAX_UTTERANCES:,} of {len(alignments):,} utterances with the most errors are listed.</p>"
        if len(alignments) > MAX_UTTERANCES
        else ""
    )
    body = (PAGE / "report.html").read_text(encoding="utf-8")
    parts = {
        "policy": POLICY,
        "title": title,
        "style": STYLE + (PAGE / "report.css").read_text(encoding="utf-8"),
        "facts": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in heading.facts),
        "figures": _figures(evaluation),
        "groups": _groups(evaluation),
        "confusions": _confusions(Confusions.of(alignments)),
        "note": note,
        "data": "\n".join(scripts),
        "script": (PAGE / "report.js").read_text(encoding="utf-8"),
    }
    for name, text in parts.items():
        body = body.replace(f"<!--{name}-->", text)
    return body


def _data(name: str, value: Any) -> str:
    # "</script>" within a text would end the element.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _row(index: int, utterance: UtteranceResult, alignment: Sequence[AlignedWord]) -> dict[str, Any]:
    counts = utterance.words
    return {
        "index": index,
        "id": utterance.id,
        "speaker": utterance.speaker,
        "seconds": round(utterance.duration_seconds, 3),
        "words": counts.reference_length,
        "substitutions": counts.substitutions,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
        "alignment": alignment,
        "heard": [_timed(word) for word in utterance.timed_words],
    }


def _timed(word: Any) -> list[Any]:
    return [word.text, round(word.start_seconds, 3), round(word.end_seconds, 3), round(word.confidence, 3)]


def _detail(detail: Detail) -> dict[str, Any]:
    bands, columns = detail.picture.shape
    return {
        "bands": bands,
        "columns": columns,
        "levels": LEVELS,
        "picture": base64.b64encode(zlib.compress(detail.picture.tobytes(), 9)).decode(),
        "said": [_timed(word) for word in detail.reference_words],
        "sound": base64.b64encode(detail.sound).decode(),
    }


def _figures(evaluation: Evaluation) -> str:
    words, characters, count = evaluation.words, evaluation.characters, len(evaluation.utterances)
    low, high = evaluation.interval()
    cards = [
        ("Word error rate", _percent(words.rate), f"95 % interval {100 * low:.1f}–{100 * high:.1f} %"),
        ("Words", f"{words.reference_length:,}", f"{words.errors:,} errors: {words.substitutions:,} substituted, "
         f"{words.insertions:,} inserted, {words.deletions:,} deleted"),
        ("Character error rate", _percent(characters.rate),
         f"{characters.errors:,} of {characters.reference_length:,} characters"),
        ("Sentences with an error", _percent(evaluation.wrong_sentences / count),
         f"{evaluation.wrong_sentences:,} of {count:,} utterances"),
    ]  # fmt: skip
    by_speaker = evaluation.interval_by_speaker()
    if by_speaker is not None:
        cards[0] = (*cards[0][:2], f"{cards[0][2]}; by speaker {100 * by_speaker[0]:.1f}–{100 * by_speaker[1]:.1f} %")
    if evaluation.timing is not None:
        factor, seconds = evaluation.timing.real_time_factor, evaluation.timing.audio_seconds
        cards.append(
            ("Speed", f"{1 / factor:,.0f} ×", f"real time (factor {factor:.4f}), {seconds / 60:,.1f} minutes of speech")
        )
    return "".join(
        f'<div class="card"><h3>{name}</h3><p class="value">{value}</p><p>{note}</p></div>'
        for name, value, note in cards
    )


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.2f} %"


def _groups(evaluation: Evaluation) -> str:
    speakers = evaluation.by_speaker()
    parts = []
    if len(speakers) > 1:
        order = sorted(speakers, key=lambda name: (-(speakers[name].words.rate or 0.0), name))[:MAX_SPEAKERS]
        title = "By speaker" if len(order) == len(speakers) else f"By speaker, the worst {len(order)}"
        parts.append(_group(title, "speaker", {name or "unknown": speakers[name] for name in order}))
    parts.append(_group("By length of the reference", "words", evaluation.by_words()))
    durations = evaluation.by_duration()
    if durations:
        parts.append(_group("By duration", "seconds", durations))
    return "".join(parts)


def _group(title: str, what: str, groups: dict[str, Evaluation]) -> str:
    # References without a word have no rate, and so no interval.
    intervals = {name: group.interval(samples=1000) for name, group in groups.items() if group.words.reference_length}
    longest = max((high for _, high in intervals.values()), default=0.0) or 1.0
    rows = []
    for name, group in groups.items():
        rate, bar = group.words.rate, ""
        if rate is not None:
            low, high = intervals[name]
            left, width = 100 * low / longest, 100 * (high - low) / longest
            bar = (
                f'<div class="bar" title="95 % interval {100 * low:.1f}–{100 * high:.1f} %">'
                f'<i style="width:{100 * rate / longest:.1f}%"></i>'
                f'<b style="left:{left:.1f}%;width:{width:.1f}%"></b></div>'
            )
        rows.append(
            f'<tr><th scope="row">{html.escape(name)}</th><td class="n">{len(group.utterances):,}</td>'
            f'<td class="n">{group.words.reference_length:,}</td><td class="n">{group.words.errors:,}</td>'
            f'<td class="n">{_percent(rate)}</td><td>{bar}</td></tr>'
        )
    return (
        f'<section><h3>{title}</h3><div class="scroll"><table class="groups"><thead><tr><th>{what}</th>'
        '<th class="n" title="utterances">utt.</th><th class="n">words</th><th class="n">errors</th>'
        f'<th class="n">WER</th><th>95 %</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>'
    )


def _confusions(confusions: Confusions) -> str:
    lists: list[tuple[str, str, list[tuple[tuple[str, str], int]]]] = [
        ("Substitutions", "substituted", list(confusions.substitutions)),
        ("Deletions", "deleted", [((word, ""), count) for word, count in confusions.deletions]),
        ("Insertions", "inserted", [(("", word), count) for word, count in confusions.insertions]),
    ]
    parts = []
    for title, verb, rows in lists:
        total = sum(count for _, count in rows)
        items = []
        for (expected, got), count in rows[:MAX_CONFUSIONS]:
            words = " → ".join(f"<span>{html.escape(word)}</span>" for word in (expected, got) if word)
            attributes = f'data-reference="{html.escape(expected)}" data-hypothesis="{html.escape(got)}"'
            items.append(f'<li><button type="button" {attributes}>{words} <small>{count:,}</small></button></li>')
        listed = f"<ol>{''.join(items)}</ol>" if items else f"<p>No word was {verb}.</p>"
        more = f"<p>and {len(rows) - MAX_CONFUSIONS:,} rarer ones</p>" if len(rows) > MAX_CONFUSIONS else ""
        parts.append(f"<section><h3>{title} <small>{total:,}</small></h3>{listed}{more}</section>")
    return "".join(parts)
