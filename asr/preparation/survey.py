"""What a preparation kept, what it left out, and what looks wrong within its splits and between them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.preparation.checks import Limits, too_few_frames
from asr.store.columns import Strings, read_arrow
from asr.store.layout import HEADER, INDEX, REJECTED, read_header

EXAMPLES = 10

# Characters per second, on a logarithmic scale, this many median deviations from the median are worth a look.
OUTLIER_DEVIATIONS = 6.0

# So far below the median level of its split an utterance is hardly speech.
QUIET_DB = 25.0


class SplitIndex:
    """The index of one split, its columns still on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = read_header(folder)
        self._table = read_arrow(folder / INDEX)

    def numbers(self, name: str) -> NDArray[Any]:
        """Return a column of numbers, ``(N,)``."""
        values: NDArray[Any] = self._table.column(name).to_numpy()
        return values

    def strings(self, name: str) -> Strings:
        """Return a column of strings."""
        return Strings(self._table, name, [self.folder / INDEX])


def survey(out: Path) -> dict[str, Any]:
    """Return the facts of the report for all splits below `out`, ready for JSON."""
    indexes = {path.parent.name: SplitIndex(path.parent) for path in sorted(out.glob(f"*/{HEADER}"))}
    splits = {name: _describe(index) for name, index in indexes.items()}
    between = [
        found
        for first, second in combinations(indexes, 2)
        if _scheme(first, indexes) == _scheme(second, indexes)
        and (found := _overlap(first, indexes[first], second, indexes[second]))
    ]
    return {"splits": splits, "between": between}


def _scheme(split: str, splits: Iterable[str]) -> str:
    """Return "speaker" for speaker_train, speaker_dev, speaker_test: another way of splitting the same recordings."""
    prefix = split.partition("_")[0]
    return prefix if f"{prefix}_train" in splits else ""


def _describe(index: SplitIndex) -> dict[str, Any]:
    seconds, frames = index.numbers("duration_seconds"), index.numbers("num_frames")
    limits = Limits(**index.header.limits)
    level = index.numbers("level_db")
    quiet = np.flatnonzero(level < np.median(level) - QUIET_DB)
    clipped, ids = index.numbers("clipped"), index.strings("id")
    loud = np.flatnonzero(clipped > limits.max_clipped)
    speakers = Counter(index.strings("speaker"))
    speakers.pop("", None)
    result = {
        "utterances": len(seconds),
        "hours": round(float(seconds.sum()) / 3600, 4),
        "seconds": _spread(seconds),
        "level_db": _spread(level),
        "speakers": len(speakers),
        "rejected": _rejected(index.folder / REJECTED),
        "outside_alphabet": index.header.outside_alphabet,
        "clipped": _named(ids, loud, [f"{clipped[i]:.1%} of samples" for i in loud[:EXAMPLES]]),
        "quiet": _named(ids, quiet, [f"{level[i]:.0f} dB" for i in quiet[:EXAMPLES]]),
        "same_audio": _repeated(index),
    }
    if index.header.profile is not None:
        lengths = np.fromiter((len(text) for text in index.strings("text")), dtype=np.int64, count=len(seconds))
        rate = lengths / seconds
        odd = _outliers(np.log(rate))
        result |= {
            "characters": dict(sorted(_characters(index.strings("text")).items())),
            "words": sum(text.count(" ") + 1 for text in index.strings("text")),
            "characters_per_second": _spread(rate),
            "odd_characters_per_second": _named(ids, odd, [f"{rate[i]:.1f} characters/s" for i in odd[:EXAMPLES]]),
            "too_few_frames": {str(k): v for k, v in too_few_frames(frames, index.numbers("frames_needed")).items()},
        }
    return result


def _spread(values: NDArray[Any]) -> dict[str, float]:
    low, median, high = np.percentile(values, [0, 50, 100])
    return {"min": round(float(low), 3), "median": round(float(median), 3), "max": round(float(high), 3)}


def _characters(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return counts


def _outliers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of values far from the median, the farthest first."""
    distance = np.abs(values - np.median(values))
    far = np.flatnonzero(distance > OUTLIER_DEVIATIONS * max(float(np.median(distance)), 1e-9))
    return far[np.argsort(-distance[far], kind="stable")]


def _named(ids: Strings, indices: NDArray[np.int64], details: Sequence[str]) -> dict[str, Any]:
    examples = [f"{ids[int(i)]}: {detail}" for i, detail in zip(indices[:EXAMPLES], details, strict=True)]
    return {"count": len(indices), "examples": examples}


def _rejected(path: Path) -> dict[str, Any]:
    """Return reason → count and examples."""
    reasons: dict[str, Any] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            reason = reasons.setdefault(row["reason"], {"count": 0, "examples": []})
            reason["count"] += 1
            if len(reason["examples"]) < EXAMPLES:
                reason["examples"].append(f"{row['id']}: {row['detail']}")
    return reasons


def _repeated(index: SplitIndex) -> dict[str, Any]:
    """Return what is stored more than once in a split: the same features, so the same recording."""
    first: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    for number, content in enumerate(index.strings("content")):
        if first.setdefault(content, number) != number:
            pairs.append((first[content], number))
    ids = index.strings("id")
    return {"count": len(pairs), "examples": [f"{ids[a]} = {ids[b]}" for a, b in pairs[:EXAMPLES]]}


def _overlap(first: str, a: SplitIndex, second: str, b: SplitIndex) -> dict[str, Any]:
    """Return what two splits share; empty if nothing."""
    found: dict[str, Any] = {}
    for name, column in (("speakers", "speaker"), ("ids", "id"), ("audio", "content"), ("texts", "text")):
        small, large = sorted((a, b), key=lambda index: index.header.utterances)
        wanted = set(small.strings(column)) - {""}
        shared: Counter[str] = Counter(value for value in large.strings(column) if value in wanted)
        if shared:
            found[name] = {"count": len(shared), "examples": sorted(shared)[:EXAMPLES]}
    if "audio" in found:
        found["audio"]["examples"] = _ids_of(a, set(found["audio"]["examples"]))
    return {"splits": [first, second], **found} if found else {}


def _ids_of(index: SplitIndex, contents: set[str]) -> list[str]:
    pairs = zip(index.strings("id"), index.strings("content"), strict=True)
    return [name for name, content in pairs if content in contents][:EXAMPLES]
