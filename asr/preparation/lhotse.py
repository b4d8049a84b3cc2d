"""lhotse's own corpus recipes (about a hundred) as corpora."""

import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asr.errors import DataError, MissingExtraError, UsageError, did_you_mean
from asr.preparation.corpus import Corpus, RawUtterance
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
    usable = dict(_parts(manifests, ()))
    if not usable:
        held = f"keys {sorted(map(str, manifests))}" if isinstance(manifests, Mapping) else type(manifests).__name__
        raise DataError(
            f"lhotse's prepare_{name} returned {held}; expected recordings and supervisions, by split: this recipe "
            "makes no transcribed recordings"
        )

    def parse(_root: Path) -> Iterator[RawUtterance]:
        for split, part in usable.items():
            yield from _utterances(split, part["recordings"], part["supervisions"])

    return Corpus(
        name=name,
        title=f"{name}, by lhotse's recipe",
        licence="see lhotse's recipe",
        homepage="https://lhotse.readthedocs.io/en/latest/corpus.html",
        parse=parse,
        splits=tuple(usable),
        train_splits=tuple(
            split for split in usable if split.rpartition("-")[2].startswith("train") or split == "train"
        ),
        embedded=source,
        profile=VERBATIM,
    )


def _parts(manifests: Any, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, its recordings and supervisions); what recipes nest, by language say, is named ``de-train``."""
    if not isinstance(manifests, Mapping):
        return
    recordings = manifests.get("recordings", manifests.get("audio"))
    if recordings is not None and "supervisions" in manifests:
        yield "-".join(names) or "train", {"recordings": recordings, "supervisions": manifests["supervisions"]}
        return
    for name, part in manifests.items():
        yield from _parts(part, (*names, str(name)))


def _utterances(split: str, recordings: Any, supervisions: Iterable[Any]) -> Iterator[RawUtterance]:
    for segment in supervisions:
        try:
            recording = recordings[segment.recording_id]
        except (KeyError, StopIteration):  # what lhotse raises changes with how its set is stored
            raise DataError(
                f"lhotse's segment {segment.id} belongs to the recording {segment.recording_id!r}, which its recipe "
                "does not name: is the corpus completely extracted?"
            ) from None
        audio, channels = _source(recording, segment)
        whole = segment.start == 0 and abs(segment.duration - recording.duration) < 0.05
        yield RawUtterance(
            id=segment.id,
            audio=audio,
            text=segment.text or "",
            speaker=segment.speaker or "",
            split=split,
            start_seconds=0.0 if whole else segment.start,
            end_seconds=None if whole else segment.end,
            channels=channels,
        )


def _source(recording: Any, segment: Any) -> tuple[Path, tuple[int, ...]]:
    """Return the file that has the segment's channels, and which of its own they are; none where they are all."""
    wanted = segment.channel if isinstance(segment.channel, list) else [segment.channel]
    having = [source for source in recording.sources if set(wanted) <= set(source.channels)]
    if not having:
        held = "; ".join(f"{source.source}: {source.channels}" for source in recording.sources)
        raise DataError(
            f"lhotse's segment {segment.id} is of the channels {wanted} of {recording.id}; expected those of one of "
            f"its files ({held}): write them into one file first"
        )
    source = having[0]
    if source.type != "file":
        raise DataError(f"lhotse's recording {recording.id} is a {source.type}; expected a file")
    # libsndfile counts the channels of a file from 0, whatever lhotse calls them.
    positions = tuple(source.channels.index(channel) for channel in wanted)
    return Path(source.source), () if len(positions) == len(source.channels) else positions


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
