"""Make ``import torchaudio`` work beside a CPU-only torch.

The package index carries torchaudio with CUDA libraries only. Where torch has no CUDA, the compiled part
cannot be loaded and the whole import fails, although the transforms (our test oracles) are pure Python.
Nothing is touched where the import works.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Remove torchaudio's compiled libraries if, and only if, they keep it from being imported."""
    check = [sys.executable, "-c", "import torchaudio"]
    if subprocess.run(check, capture_output=True).returncode == 0:
        return
    spec = importlib.util.find_spec("torchaudio")
    if spec is None or spec.origin is None:
        sys.exit("torchaudio is not installed: pip install '.[dev]'")
    for library in sorted((Path(spec.origin).parent / "lib").glob("*.so")):
        print(f"removing {library.name}: it does not load beside this torch")
        library.unlink()
    subprocess.run(check, check=True)


if __name__ == "__main__":
    main()
