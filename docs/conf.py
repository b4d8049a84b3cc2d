"""How the site is built: ``make docs``."""

import re
from pathlib import Path

from asr import __version__

project = "ctc-asr"
author = "the ctc-asr authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["README.md"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = f"ctc-asr {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

myst_heading_anchors = 4
myst_enable_extensions = ["deflist", "colon_fence"]

napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_preprocess_types = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": False}
default_role = "code"
doctest_global_setup = "import asr\nimport numpy as np\nfrom asr.decoder import *"


def write_llms_txt(app, exception) -> None:  # type: ignore[no-untyped-def]
    """Write ``llms.txt`` (llmstxt.org): the pages with their first paragraphs, for programs that read the site."""
    if exception is not None or app.builder.name != "html":
        return
    lines = ["# ctc-asr", "", "> Speech to text in Python: recognise, train, decode and serve CTC models.", ""]
    for page in sorted(Path(app.srcdir).glob("*.md")):
        title, _, rest = page.read_text(encoding="utf-8").partition("\n")
        paragraphs = [part for part in rest.split("\n\n") if re.match(r"[A-Za-z*]|`[^`]", part.lstrip("\n"))]
        first = " ".join(paragraphs[0].split()) if paragraphs else ""
        lines.append(f"- [{title.lstrip('# ')}]({page.stem}.html): {first}")
    (Path(app.outdir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app) -> None:  # type: ignore[no-untyped-def]
    """Register what is done after the build."""
    app.connect("build-finished", write_llms_txt)
