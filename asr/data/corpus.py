"""A corpus is a set of facts; `prepare` turns it into stores, the same way for every corpus."""

import importlib.util
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from asr.data.archives import Archive, download, extract, find_archive, find_root
from asr.data.checks import Limits
from asr.data.features import global_statistics, write_filterbank
from asr.data.finish import SplitSummary, finish_split
from asr.data.options import PrepareOptions
from asr.data.outputs import is_done, keep_existing, only_writer, remove_leftovers, without_statistics
from asr.data.plan import PlanSettings, SplitPlan, plan
from asr.data.progress import Progress
from asr.data.shards import HEADER, Kind, read_header
from asr.data.tasks import ShardSettings, ShardTask, finished, read_planned, run_tasks
from asr.data.utterance import RawUtterance, audio_in, find_audio, held_out, read_lines
from asr.errors import DataError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.text import ENGLISH, TextProfile

__all__ = [
    "Archive",
    "Corpus",
    "Limits",
    "PrepareOptions",
    "RawUtterance",
    "Summary",
    "audio_in",
    "find_audio",
    "held_out",
    "load_corpus",
    "main",
    "prepare",
    "read_lines",
]


@dataclass(frozen=True)
class Corpus:
    """What there is to know about a corpus.

    Parameters
    ----------
    name : str
        Short; also the name of its script.
    title : str
    licence, citation, homepage : str
    version : str
        Of the data.
    parse : callable
        Folder of the extracted corpus → its utterances.
    markers : tuple of str
        Glob patterns, relative to the corpus's folder, any of which tells it from other folders.
    splits : tuple of str
        That `parse` may yield, in the order in which they are prepared.
    on_request : tuple of str
        Those of `splits` that are prepared only if they are asked for.
    train_splits : tuple of str
        Of `splits`, those that speed-perturbed copies and global statistics are made from.
    archives : tuple of Archive
        Empty: the user's own data.
    embedded : Path, optional
        The corpus, an archive or a folder, where it need not be fetched: beside its script, or the user's own.
    features : LogMelConfig
    profile : TextProfile or None
        None: recordings without transcripts.
    kind : {"features", "audio"}
        What is stored unless the user says otherwise.
    limits : Limits
        Outside which utterances are left out, unless the user says otherwise.
    """

    name: str
    title: str
    licence: str
    parse: Callable[[Path], Iterable[RawUtterance]]
    splits: tuple[str, ...]
    markers: tuple[str, ...] = ("*",)
    homepage: str = ""
    citation: str = ""
    version: str = "1"
    on_request: tuple[str, ...] = ()
    train_splits: tuple[str, ...] = ("train",)
    archives: tuple[Archive, ...] = ()
    embedded: Path | None = None
    features: LogMelConfig = field(default_factory=LogMelConfig)
    profile: TextProfile | None = ENGLISH
    kind: Kind = "features"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Summary:
    """What a preparation did.

    Parameters
    ----------
    out : Path
    splits : dict of str to SplitSummary
        In the order of the corpus.
    warnings : tuple of str
    """

    out: Path
    splits: dict[str, SplitSummary]
    warnings: tuple[str, ...]


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Return the ``CORPUS`` of a corpus script: a path, or the name of a script in ``data_prep``.

    Raises
    ------
    UsageError
        If there is no such script, or it has no ``CORPUS``.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        folders = (Path("data_prep"), Path(__file__).resolve().parents[2] / "data_prep")
        known = {script.stem: script for folder in reversed(folders) for script in folder.glob("*.py")}
        if path.name not in known:
            listed = ", ".join(sorted(known)) or f"none in {folders[0].absolute()}"
            raise UsageError(f"no corpus {path.name!r}{did_you_mean(path.name, known)}; expected one of: {listed}")
        path = known[path.name]
    if not path.is_file():
        raise UsageError(f"{path}: no such corpus script; expected data_prep/NAME.py")
    spec = importlib.util.spec_from_file_location(f"data_prep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: is not a Python script")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    corpus = getattr(module, "CORPUS", None)
    if not isinstance(corpus, Corpus):
        raise UsageError(f"{path}: has no CORPUS = Corpus(...); expected the script of one corpus")
    return corpus


def prepare(corpus: Corpus, out: str | Path, options: PrepareOptions | None = None) -> Summary:
    """Turn a corpus into one store a split, below `out`; what is done already is left as it is.

    A run that was stopped, however rudely, goes on where it was when it is called again.

    Raises
    ------
    DataError
        If the corpus cannot be had or is not as it should be, or `out` holds something else.
    UsageError
        If an option does not fit the corpus.
    """
    from asr.data.report import write_report

    options = options or PrepareOptions()
    out = Path(out)
    wanted = _wanted_splits(corpus, options)
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
            warnings += _prepare_splits(corpus, roots, {split: out / split for split in wanted}, options, progress)
        summary = _summary(out, wanted, warnings)
        if todo or not (out / "report.html").exists():
            write_report(out, corpus.title, summary.warnings)
    progress.show(summary)
    return summary


def find_roots(
    corpus: Corpus, out: Path, options: PrepareOptions, progress: Progress, warn: Callable[[str], None]
) -> tuple[Path, ...]:
    """Return the folders of the corpus, after fetching and extracting what must be."""
    if options.source is not None:
        return (find_root(options.source, corpus.markers),)
    cache = options.cache or out.parent / "downloads"
    if corpus.embedded is not None and options.archive is None:
        folder = corpus.embedded if corpus.embedded.is_dir() else extract(corpus.embedded, cache, warn)
        return (find_root(folder, corpus.markers),)
    if not corpus.archives:
        raise UsageError(f"{corpus.name}: has no archive to fetch; expected --source FOLDER")
    wanted = options.splits or tuple(split for split in corpus.splits if split not in corpus.on_request)
    found = {a: path for a in corpus.archives if (path := find_archive(a, options.archive)) is not None}
    needed = [a for a in corpus.archives if not a.splits or set(a.splits) & set(wanted)]
    if not any(archive in found for archive in needed):
        found = {a: download(a, cache, progress.download(a.stem)) for a in needed}
    # An archive of several parts is found under the name of each: one file, extracted once.
    paths = dict.fromkeys(found[archive] for archive in needed if archive in found)
    return tuple(find_root(extract(path, cache, warn), corpus.markers) for path in paths)


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
    utterances = (utterance for root in roots for utterance in corpus.parse(root))
    with progress.planning():
        plans = plan(utterances, folders, settings, allow_missing=options.allow_missing)
    absent = [split for split in folders if split not in plans]
    if absent and options.splits:
        raise DataError(
            f"{corpus.name}: asked for {', '.join(absent)}, but {', '.join(map(str, roots))} has no such utterances; "
            f"there are: {', '.join(plans) or 'none'}"
        )
    if not plans:
        raise DataError(f"{corpus.name}: no utterance found in {', '.join(map(str, roots))}: is this the corpus?")

    features = LogMelConfig.from_dict(_resolved(corpus, plans, roots, options))
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
    return [f"{corpus.name}: the split {split} is not there" for split in absent]


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
    corpus: Corpus, plans: dict[str, SplitPlan], roots: tuple[Path, ...], options: PrepareOptions
) -> dict[str, Any]:
    """Return the feature configuration with its statistics."""
    values = _features(corpus, options)
    if values["normalisation"] != "global" or values["mean"]:
        return values
    config = LogMelConfig.from_dict({**values, "normalisation": "none"})
    training = [plans[split] for split in corpus.train_splits if split in plans]
    places = [str(root) for root in roots]
    return global_statistics(config, training, lambda row: read_planned(row, places, config.sample_rate)).to_dict()


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


def main(corpus: Corpus) -> None:
    """Run a corpus script's command line, and end the process with its status."""
    from asr.data.command import run

    raise SystemExit(run(corpus))
