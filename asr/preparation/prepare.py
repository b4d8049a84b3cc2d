"""The one preparation: archive → utterances → slices → shards → stores and a report, for every corpus."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from asr.errors import AsrError, DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.preparation.checks import Limits
from asr.preparation.corpus import Corpus
from asr.preparation.executors import run_tasks
from asr.preparation.features import global_statistics, statistics_of_others, write_filterbank
from asr.preparation.index import SplitSummary, Summary, finish_split
from asr.preparation.options import PrepareOptions
from asr.preparation.plan import PlanSettings, SplitPlan, plan
from asr.preparation.progress import Progress
from asr.preparation.report import write_report
from asr.preparation.resume import (
    is_done,
    is_reported,
    keep_existing,
    only_writer,
    remove_leftovers,
    without_statistics,
)
from asr.preparation.roots import find_roots
from asr.preparation.shard_tasks import ShardSettings, ShardTask, finished, read_planned
from asr.preparation.utterance import RawUtterance
from asr.store.layout import HEADER, read_header
from asr.text import TextProfile


def run(corpus: Corpus, out: Path, options: PrepareOptions) -> Summary:
    """Prepare `corpus`; see `asr.preparation.corpus.prepare`."""
    wanted = _wanted_splits(corpus, options)
    if corpus.profile is None and (options.profile or options.unknown):
        raise UsageError(
            f"{corpus.name} has no transcripts, so --profile and --unknown would do nothing; expected neither of them"
        )
    if options.speeds and not set(wanted) & set(corpus.train_splits):
        raise UsageError(
            f"speeds: got {', '.join(f'{speed:g}' for speed in options.speeds)}, but none of {', '.join(wanted)} is "
            "for training, and only training utterances are copied; expected one of: "
            f"{', '.join(corpus.train_splits) or 'train (train=FILE for your own data)'}"
        )
    warnings: list[str] = []
    with Progress(corpus.name, quiet=options.quiet) as progress, only_writer(out):
        remove_leftovers(out)
        unresolved = _features(corpus, options)
        todo = [
            split
            for split in wanted
            if options.force or not is_done(out / split, _header(corpus, split, unresolved, options))
        ]
        if todo or not corpus.archives:
            roots = find_roots(corpus, out, options, progress, warnings.append)
            try:
                warnings += _prepare_splits(corpus, roots, {split: out / split for split in wanted}, options, progress)
            finally:
                remove_leftovers(out)
        summary = _summary(out, wanted, warnings)
        if todo or not is_reported(out):
            write_report(out, corpus.title, summary.warnings)
    progress.show(summary)
    return summary


def _wanted_splits(corpus: Corpus, options: PrepareOptions) -> tuple[str, ...]:
    for split in options.splits or ():
        if split not in corpus.splits:
            raise UsageError(
                f"{corpus.name} has no split {split!r}{did_you_mean(split, corpus.splits)}; "
                f"expected some of: {', '.join(corpus.splits)}"
            )
    if options.splits:
        return options.splits
    return tuple(split for split in corpus.splits if split not in corpus.on_request)


def _prepare_splits(
    corpus: Corpus, roots: tuple[Path, ...], folders: dict[str, Path], options: PrepareOptions, progress: Progress
) -> list[str]:
    """Plan all splits, run the shards that are not there, finish each split; return warnings."""
    profile = _profile(corpus, options)
    settings = PlanSettings(roots, profile, options.speeds, corpus.train_splits, options.shard_utterances)
    present: dict[str, None] = {}
    utterances = (utterance for root in roots for utterance in _parsed(corpus, root, present))
    with progress.planning():
        plans = plan(utterances, folders, settings, allow_missing=options.allow_missing)
    absent = [split for split in folders if split not in plans]
    if absent and options.splits:
        raise DataError(
            f"{corpus.name}: asked for {', '.join(absent)}, but {', '.join(map(str, roots))} has no such utterances; "
            f"there are: {', '.join(present) or 'none'}"
        )
    if not plans:
        raise DataError(f"{corpus.name}: no utterance found in {', '.join(map(str, roots))}: is this the corpus?")

    warnings = [f"{corpus.name}: the split {split} is not there" for split in absent]
    features = _resolved(corpus, plans, roots, options, warnings)
    work: dict[str, list[ShardTask]] = {}
    headers = {}
    for split, planned in plans.items():
        header = _header(corpus, split, features.to_dict(), options) | {"plan": planned.digest()}
        if keep_existing(planned, header, force=options.force):
            shutil.rmtree(planned.work)
            continue
        headers[split] = header
        work[split] = [
            ShardTask(number, digest, _settings(corpus, planned, header, roots, features))
            for number, digest in enumerate(planned.digests)
        ]
        write_filterbank(planned.folder, features)
    waiting = [task for tasks in work.values() for task in tasks if finished(task) is None]
    total = sum(plans[split].utterances for split in work)
    progress.start(total, total - sum(_size(task, plans, options) for task in waiting))
    run_tasks(
        waiting,
        options.jobs,
        options.cluster,
        lambda task, receipt: progress.advance(len(receipt["measures"]) + len(receipt["rejected"])),
    )
    for split, tasks in work.items():
        finish_split(plans[split], tasks, headers[split])
    return warnings


def _parsed(corpus: Corpus, root: Path, present: dict[str, None]) -> Iterator[RawUtterance]:
    """Yield what the corpus's parser does, noting the splits in `present`; say of what it trips over where that is."""
    place = "at its beginning"
    try:
        for utterance in corpus.parse(root):
            if not isinstance(utterance.text, str):
                # A table that is cut off in its last line has nothing in its last columns.
                raise TypeError(f"{utterance.id} has no transcript")
            present[utterance.split] = None
            yield utterance
            place = f"after {utterance.id}"
    except AsrError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{root}: a file is not as {corpus.name} has it, {place} ({error!r}): is the archive wholly extracted, and "
            "nothing else in the folder?"
        ) from error


def _size(task: ShardTask, plans: dict[str, SplitPlan], options: PrepareOptions) -> int:
    planned = plans[Path(task.settings.folder).name]
    return min(options.shard_utterances, planned.utterances - task.number * options.shard_utterances)


def _features(corpus: Corpus, options: PrepareOptions) -> dict[str, Any]:
    """Return the feature configuration, in which global statistics may be missing yet."""
    config = options.features or corpus.features
    if options.normalisation in (None, config.normalisation):
        return config.to_dict()
    return without_statistics(config, str(options.normalisation))


def _resolved(
    corpus: Corpus, plans: dict[str, SplitPlan], roots: tuple[Path, ...], options: PrepareOptions, warnings: list[str]
) -> LogMelConfig:
    """Return the feature configuration with its statistics: those of the stores that stay, if any do."""
    values = _features(corpus, options)
    if values["normalisation"] != "global" or values["mean"]:
        return LogMelConfig.from_dict(values)
    config = LogMelConfig.from_dict({**values, "normalisation": "none"})
    training = [plans[split] for split in corpus.train_splits if split in plans]
    out = next(iter(plans.values())).folder.parent
    others = statistics_of_others(config, out, plans if options.force else ())
    if others is not None:
        if options.force and training:
            warnings.append(
                f"{corpus.name}: normalised by the mean and deviation that {others[1]} has been, and not by new ones; "
                "to take them anew, prepare all splits with --force"
            )
        return others[0]
    places = [str(root) for root in roots]
    return global_statistics(config, training, lambda row: read_planned(row, places, config.sample_rate))


def _profile(corpus: Corpus, options: PrepareOptions) -> TextProfile | None:
    if corpus.profile is None:
        return None
    profile = options.profile or corpus.profile
    return replace(profile, unknown=options.unknown) if options.unknown else profile


def _header(corpus: Corpus, split: str, features: dict[str, Any], options: PrepareOptions) -> dict[str, Any]:
    """Return what the header says of where the store comes from and how it was made."""
    profile = _profile(corpus, options)
    return {
        "kind": options.kind or corpus.kind,
        "corpus": corpus.name,
        "title": corpus.title,
        "version": corpus.version,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "split": split,
        "features": features,
        "profile": profile.to_dict() if profile else None,
        "speeds": list(options.speeds) if split in corpus.train_splits else [],
        "limits": asdict(options.limits or corpus.limits),
        "shard_utterances": options.shard_utterances,
    }


def _settings(
    corpus: Corpus, planned: SplitPlan, header: dict[str, Any], roots: tuple[Path, ...], features: LogMelConfig
) -> ShardSettings:
    """Return what all shards of a split share."""
    metadata = {name: str(header[name]) for name in ("corpus", "version", "split", "kind", "licence")}
    metadata["features"] = json.dumps(header["features"])
    return ShardSettings(
        folder=str(planned.folder.absolute()),
        roots=tuple(str(root.absolute()) for root in roots),
        kind=header["kind"],
        features=features,
        has_text=corpus.profile is not None,
        limits=Limits(**header["limits"]),
        metadata=metadata,
    )


def _summary(out: Path, wanted: tuple[str, ...], warnings: list[str]) -> Summary:
    splits = {}
    for split in wanted:
        if (out / split / HEADER).exists():
            header = read_header(out / split)
            hours = header["seconds"] / 3600
            splits[split] = SplitSummary(header["utterances"], hours, Counter(header["rejected"]))
    return Summary(out, splits, tuple(warnings))
