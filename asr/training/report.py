"""``training.html``: a run's curves in one file that loads nothing else."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asr.files import write_text
from asr.page import figure, html_page
from asr.training.checkpoint import Position

# Of each chart: title, the columns it draws (a name that ends in a dot: all that begin so), and whether it is
# logarithmic.
CHARTS = (
    ("Loss, nats per token", ("train_loss", "dev_loss"), True),
    ("Dev WER and CER, %", ("dev_wer", "dev_cer", "dev_wer."), False),
    ("Learning rate", ("learning_rate",), False),
    ("Gradient norm by layer", ("gradient_norm.",), True),
    ("Change of the weights in a step, relative", ("update.",), True),
    ("Share of clipped steps; mean probability of blank", ("clipped", "blank"), False),
)

Row = Mapping[str, float]


def write_report(
    path: Path,
    rows: Sequence[Row],
    position: Position,
    settings: Mapping[str, Any],
    samples: Sequence[tuple[str, str]],
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    rows : sequence of mapping
        The log, one row per epoch, at least one.
    position : Position
        Its `best` are the best epochs, if any.
    settings : mapping
        The settings of the run, nested.
    samples : sequence of (str, str)
        References and hypotheses of some dev utterances.
    """
    seconds = sum(row["seconds"] for row in rows)
    facts = {
        "epochs": len(rows),
        **_best(position),
        "time": f"{seconds / 60:.1f} minutes",
        "steps left out": f"{sum(row['skipped'] for row in rows):.0f}",
        **dict(_flat(settings)),
    }
    table = "".join(f"<tr><th>{html.escape(k)}<td>{html.escape(str(v))}" for k, v in facts.items())
    heard = "".join(
        f'<p>{html.escape(reference)}<br><span class="heard">{html.escape(hypothesis) or "–"}</span>'
        for reference, hypothesis in samples
    )
    body = (
        f"{draw(rows)}<h2>Recognised in the dev set</h2><p>Reference, and <span class='heard'>recognised</span>.{heard}"
        f"<h2>Settings</h2><table>{table}</table>"
    )
    write_text(path, html_page("Training", body))


def _best(position: Position) -> dict[str, str]:
    """Return what is known of the best epoch: nothing where settings were changed, and no epoch has ended since."""
    if not position.best:
        return {}
    best = position.best[0]
    return {
        "best epoch": f"{best.epoch + 1}",
        "on dev": f"WER {100 * best.wer:.2f} %, CER {100 * best.cer:.2f} %, loss {best.loss:.4f}",
    }


def draw(rows: Sequence[Row]) -> str:
    """Return the charts as HTML; the same rows give the same text."""
    return figure(lambda drawing: _charts(drawing, rows), 11, 9)


def _charts(drawing: Any, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(rows) + 1)
    for axes, (title, wanted, logarithmic) in zip(drawing.subplots(3, 2).flat, CHARTS, strict=True):
        # Settings that were changed on the way may have changed the columns.
        known = dict.fromkeys(name for row in rows for name in row)
        columns = [name for name in known if any(name == w or (w[-1] == "." and name.startswith(w)) for w in wanted)]
        for name in columns:
            factor = 100 if name.startswith(("dev_wer", "dev_cer")) else 1
            kind, _, part = name.partition(".")
            label = f"{kind.replace('_', ' ')} {part}" if kind.startswith("dev_") else part or kind.replace("_", " ")
            values = [factor * row.get(name, math.nan) for row in rows]
            axes.plot(epochs, values, label=label, marker="." if len(rows) < 2 else "")
        if len(columns) > 1:
            axes.legend(frameon=False)
        if logarithmic and all(row.get(name, 1) > 0 for row in rows for name in columns):
            axes.set_yscale("log")
        axes.set_title(title, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested settings as ``("training.epochs", 60)`` and so on."""
    pairs = []
    for key, value in settings.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return pairs
