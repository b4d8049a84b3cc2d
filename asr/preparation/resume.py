"""The state of the output folder: whether it is from this preparation, is finished, or is being written to."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from asr.errors import DataError
from asr.files import locked
from asr.preparation.plan import WORK, SplitPlan
from asr.settings import differences
from asr.store.layout import HEADER, StoreHeader, read_header

# What makes a store another store.
IDENTITY = ("kind", "corpus", "version", "split", "features", "profile", "speeds", "limits", "shard_utterances")


def is_done(folder: Path, header: StoreHeader) -> bool:
    """Return whether `folder` holds a complete store made as `header` says; the corpus itself is not needed.

    Raises
    ------
    DataError
        If there is one that was made otherwise.
    """
    if not (folder / HEADER).exists():
        return False
    _refuse_other(folder, read_header(folder), header, IDENTITY)
    return True


def keep_existing(planned: SplitPlan, header: StoreHeader, *, force: bool) -> bool:
    """Return whether the planned store already exists; with `force`, remove its header instead.

    Raises
    ------
    DataError
        If there is one that was made otherwise.
    """
    path = planned.folder / HEADER
    if not path.exists():
        return False
    if not force:
        _refuse_other(planned.folder, read_header(planned.folder), header, (*IDENTITY, "plan"))
        return True
    path.unlink()
    for receipt in planned.work.glob("done-*.json"):
        receipt.unlink()
    return False


def _refuse_other(folder: Path, found: StoreHeader, wanted: StoreHeader, names: tuple[str, ...]) -> None:
    got, expected = ({name: header.to_dict()[name] for name in names} for header in (found, wanted))
    different = []
    for name, before, now in differences(got, expected):
        if name == "plan":
            different.append("the utterances (the corpus or its transcripts changed)")
        else:
            different.append(f"{name}{_change(before, now)}")
    if different:
        raise DataError(
            f"{folder}: was prepared with other settings: {'; '.join(different)}: choose another folder (--out; of a "
            "recipe: --data), or replace it (--force of the data_prep script)"
        )


def _change(got: Any, expected: Any) -> str:
    """Return `` 80 → 64`` for values that are short enough to be read."""
    text = f" {got!r} → {expected!r}"
    return text if len(text) < 80 else ""


def is_reported(out: Path) -> bool:
    """Return whether the report below `out` is of the splits that are there."""
    try:
        reported = json.loads((out / "report.json").read_text(encoding="utf-8"))["splits"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return (out / "report.html").exists() and set(reported) == {path.parent.name for path in out.glob(f"*/{HEADER}")}


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keep a second preparation from the same folder; the lock goes with the process, however it ends.

    Raises
    ------
    DataError
        If another preparation holds it, or the folder cannot be made.
    """

    def busy() -> None:
        raise DataError(f"{out}: another preparation is writing to it: wait for it, or choose another --out")

    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(out / ".lock", busy))
        except OSError as error:
            raise DataError(
                f"{out}: cannot be written to ({error.strerror}); expected a folder for the stores"
            ) from None
        yield


def remove_leftovers(out: Path) -> None:
    """Remove temporary files of a run that was killed, and the working files of stores that are complete."""
    for work in out.glob(f"*/{WORK}"):
        if (work.parent / HEADER).exists():
            shutil.rmtree(work)
    for temporary in [*out.glob(".*.tmp"), *out.glob("*/.*.tmp"), *out.glob("*/.work/.*.tmp")]:
        with suppress(FileNotFoundError):
            temporary.unlink()
