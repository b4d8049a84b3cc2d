"""What may import what, and what must not be loaded by importing us."""

import ast
import graphlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# In the order of the flow: a part imports only itself and parts before it. "asr" is the package's own face. "convert"
# stands before "transcription", which opens a model by a name on the Hub and so may convert it.
PARTS = [
    "version", "errors", "files", "settings", "cores", "interrupts", "cluster", "console", "scripts", "page", "spoken",
    "text", "wer", "audio", "features", "fbank", "decoder", "lexicon", "tokenizer", "store", "preparation",
    "model_config", "model_layers", "model", "models", "bundle", "convert", "transcription", "asr", "live", "training",
    "evaluation", "recipe", "server", "cli", "__main__",
]  # fmt: skip

HEAVY = ["torch", "torchaudio", "librosa", "onnx", "matplotlib", "transformers", "pyarrow.dataset"]
NEEDS_TORCH = (
    "asr.model", "asr.training", "asr.bundle.graph", "asr.bundle.export", "asr.bundle.streaming_graph",
)  # fmt: skip

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "asr").rglob("*.py")
)


def imports_of(module: str) -> set[str]:
    """All modules that a module's code names in import statements, also inside functions."""
    path = ROOT.joinpath(*module.split("."))
    source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where a name comes from"
            names = (f"{node.module}.{name.name}" for name in node.names)
            found.update(name if name in MODULES else node.module or "" for name in names)
    return found


def test_every_part_has_its_place_in_the_flow():
    assert {module.split(".")[1] for module in MODULES if "." in module} <= set(PARTS)


def test_files_import_each_other_in_no_circle():
    graphlib.TopologicalSorter({module: imports_of(module) & set(MODULES) for module in MODULES}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_down_the_flow(module):
    part = ".".join(module.split(".")[1:2]) or "asr"
    for imported in imports_of(module):
        top, _, rest = imported.partition(".")
        assert top not in ("data_prep", "recipes"), f"{module} imports {imported}"
        if top != "asr":
            continue
        other = rest.split(".")[0] or "asr"
        assert PARTS.index(other) <= PARTS.index(part), f"{module} imports {imported}, which comes later"
        if part == "decoder":
            assert other in ("decoder", "errors", "files"), f"{module} imports {imported}: the decoder stands alone"
        if part == "training":
            assert other not in ("transcription", "evaluation"), f"{module} imports {imported}: recognition is not its"


def test_no_module_but_those_of_training_loads_what_is_heavy():
    light = [name for name in MODULES if not name.startswith(NEEDS_TORCH) or name == "asr.model_config"]
    if importlib.util.find_spec("starlette") is None:  # the [server] extra
        light = [name for name in light if not name.startswith("asr.server")]
    code = f"""
import contextlib, importlib, io, sys
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    for name in {light!r}:
        importlib.import_module(name)
assert not out.getvalue(), out.getvalue()
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", "--help"], ["lm", "--help"]])
def test_help_loads_neither_kernels_nor_runtimes(arguments):
    code = f"""
import sys
from asr.cli import main
sys.argv = ["asr", *{arguments!r}]
try:
    main()
except SystemExit as exit:
    assert exit.code == 0
heavy = ("torch", "numba", "onnxruntime", "scipy", "numpy", "pyarrow")
print(*[name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr.split() == []
    assert "Usage" in ran.stdout
