"""temporary"""

from pathlib import Path


def write_report(out: Path, title: str, warnings: tuple[str, ...]) -> None:
    """Write the report."""
