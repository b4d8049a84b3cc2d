"""lhotse's own corpus recipes (about a hundred) as corpora."""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asr.data.corpus import Corpus
from asr.data.utterance import RawUtterance
from asr.errors import DataError, MissingExtraError, UsageError, did_you_mean
from asr.text import VERBATIM


def lhotse_names() -> list[str]:
    """Return the names of lhotse's recipes."""
    recipes = _recipes()
    return sorted(name.removeprefix("prepare_") for name in dir(recipes) if name.startswith("prepare_"))


def lhotse_corpus(name: str, source: Path) -> Corpus:
    """Return corpus `name` as lhotse's ``prepare_NAME`` sees the folder `source`.

    Raises
    ------
    UsageError
        If lhotse has no such recipe.
    DataError
        If its recipe fails on `source`.
    MissingExtraError
        If lhotse is not installed.
    """
    recipes = _recipes()
    prepare = getattr(recipes, f"prepare_{name}", None)
    if prepare is None:
        raise UsageError(f"lhotse has no recipe {name!r}{did_you_mean(name, lhotse_names())}; --list names them")
    first = next(iter(inspect.signature(prepare).parameters))
    try:
        manifests = prepare(**{first: source})
    except Exception as error:  # a hundred recipes raise what they like
        raise DataError(f"lhotse's prepare_{name} failed on {source}: {type(error).__name__}: {error}") from error
    parts = manifests if "supervisions" not in manifests else {"train": manifests}
    usable = {str(split): part for split, part in parts.items() if isinstance(part, dict) and "supervisions" in part}
    if not usable:
        raise DataError(f"lhotse's prepare_{name} gave {sorted(parts)} without supervisions; expected transcripts")

    def parse(_root: Path) -> Iterator[RawUtterance]:
        for split, part in usable.items():
            yield from _utterances(split, part.get("recordings", part.get("audio")), part["supervisions"])

    return Corpus(
        name=name,
        title=f"{name}, by lhotse's recipe",
        licence="see lhotse's recipe",
        homepage="https://lhotse.readthedocs.io/en/latest/corpus.html",
        parse=parse,
        splits=tuple(usable),
        train_splits=tuple(split for split in usable if split.startswith("train")),
        embedded=source,
        profile=VERBATIM,
    )


def _utterances(split: str, recordings: Any, supervisions: Iterable[Any]) -> Iterator[RawUtterance]:
    for segment in supervisions:
        recording = recordings[segment.recording_id]
        source = recording.sources[0]
        if source.type != "file":
            raise DataError(f"lhotse's recording {recording.id} is a {source.type}; expected a file")
        whole = segment.start == 0 and abs(segment.duration - recording.duration) < 0.05
        yield RawUtterance(
            id=segment.id,
            audio=Path(source.source),
            text=segment.text or "",
            speaker=segment.speaker or "",
            split=split,
            start_seconds=0.0 if whole else segment.start,
            end_seconds=None if whole else segment.end,
        )


def _recipes() -> Any:
    # Run as a script, data_prep/lhotse.py would itself be what `import lhotse` finds first.
    path = sys.path.copy()
    sys.path[:] = [entry for entry in path if not Path(entry or ".", "lhotse.py").exists()]
    try:
        return importlib.import_module("lhotse.recipes")
    except ImportError as error:
        if error.name and error.name.split(".")[0] != "lhotse":
            raise MissingExtraError(error.name, "corpora", "lhotse's recipes") from None
        raise MissingExtraError("lhotse", "corpora", "the lhotse adapter") from None
    finally:
        sys.path[:] = path
