"""What all reports share: one page that needs no network, one style, and figures in it as SVG."""

import html
import io
from collections.abc import Callable
from typing import Any

from asr.errors import MissingExtraError

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --line: #dcdcd8; --text: #1d1f21; --soft: #5d6166; --accent: #2458b3;
  --sub: #fdeec4; --sub-line: #9a6700; --del: #fbdedc; --del-line: #b3261e; --ins: #dbe9fd; --ins-line: #1a5fb4;
  --bar: #9db8e6; --shade: rgba(0, 0, 0, .045);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181b; --card: #1f2226; --line: #393d43; --text: #e6e7e8; --soft: #a3a8af; --accent: #8ab4f8;
    --sub: #4a3a10; --sub-line: #f0c24b; --del: #4f2422; --del-line: #ff8a80; --ins: #1c3557; --ins-line: #8ab8ff;
    --bar: #3f5f97; --shade: rgba(255, 255, 255, .05);
  }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem 1.25rem 4rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
h1 { font-size: 1.55rem; margin: 0 0 .4rem; line-height: 1.25 }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
h3 { font-size: .95rem; margin: 0 0 .4rem; font-weight: 600 }
small, .hint { color: var(--soft); font-size: .88rem; font-weight: 400 }
.hint { margin: .2rem 0 .8rem }
a, .link { color: var(--accent) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .28rem .6rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
thead th { font-size: .84rem; color: var(--soft); font-weight: 500 }
tbody th { font-weight: 500 }
.n { text-align: right; white-space: nowrap }
figure { margin: .8rem 0 } figcaption { font-size: .92em; overflow-wrap: anywhere }
figure svg { width: 100%; height: auto; background: #fff; border-radius: .3rem }
.warn { background: var(--sub); border-left: 4px solid var(--sub-line); padding: .5em .8em }
.heard { color: var(--accent) }
"""


def html_page(title: str, body: str) -> str:
    """Return a page with a heading; `body` is HTML."""
    text = html.escape(title)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text}</title><style>\n{STYLE}</style><h1>{text}</h1>{body}</html>\n"
    )


def figure(draw: Callable[[Any], None], width: float, height: float, caption: str = "") -> str:
    """Return a figure of matplotlib's as HTML; the same drawing gives the same bytes.

    Parameters
    ----------
    draw : callable
        Draws into the `matplotlib.figure.Figure` that it is given.
    width, height : float
        In inches; the page scales them to its own width.
    caption : str

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "data", "a report") from None
    # Of its own: a user's settings, and pyplot's global state, are left alone.
    with matplotlib.rc_context({"svg.hashsalt": "asr", "svg.fonttype": "none", "font.size": 9}):
        drawn = Figure(figsize=(width, height), layout="constrained")
        draw(drawn)
        text = io.StringIO()
        FigureCanvasSVG(drawn).print_svg(text, metadata={"Date": None})
    svg = text.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>"
