"""The one preparation: archive → utterances → slices → shards → stores and a report, for every corpus."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from asr.console import ProgressBar
from asr.errors import AsrError, DataError, UsageError, did_you_mean
from asr.preparation.archives import find_roots
from asr.preparation.checks import Limits
from asr.preparation.corpus import Corpus, RawUtterance
from asr.preparation.executors import run_tasks
from asr.preparation.index import finish_split
from asr.preparation.options import PrepareOptions
from asr.preparation.plan import PlanSettings, SplitPlan, plan
from asr.preparation.report import write_report
from asr.preparation.resume import is_done, is_reported, keep_existing, only_writer, remove_leftovers
from asr.preparation.shard_tasks import Receipt, ShardSettings, ShardTask, finished
from asr.settings import to_dict
from asr.store.layout import HEADER, StoreHeader, read_header, write_filterbank
from asr.store.remote import remote_address
from asr.text import TextProfile


@dataclass(frozen=True)
class SplitSummary:
    """The result for a split.

    Parameters
    ----------
    utterances : int
        Kept.
    hours : float
    rejected : Counter of str
        Reason → utterances.
    """

    utterances: int
    hours: float
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Summary:
    """The result of a preparation.

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

    def lines(self) -> Iterator[str]:
        """Yield the warnings, then a line for each split."""
        yield from (f"warning: {warning}" for warning in self.warnings)
        for name, split in self.splits.items():
            reasons = ", ".join(f"{reason} {count}" for reason, count in split.rejected.most_common())
            left_out = f"; left out {split.rejected.total()}: {reasons}" if reasons else ""
            yield f"{self.out / name}: {split.utterances:,} utterances, {split.hours:.2f} h{left_out}"


def prepare(corpus: Corpus, out: str | Path, options: PrepareOptions | None = None) -> Summary:
    """Turn a corpus into one store per split, below `out`; finished stores are kept.

    After a run that was stopped or killed, call it again with the same arguments to resume.

    Raises
    ------
    DataError
        If the corpus is missing or invalid, or `out` holds something else.
    UsageError
        If an option does not fit the corpus.
    """
    if address := remote_address(out):
        raise UsageError(
            f"{address}: a corpus is prepared into a folder; expected one: copy it there afterwards "
            f"(aws s3 cp --recursive data/{corpus.name} {address})"
        )
    try:
        return _prepare(corpus, Path(out), options or PrepareOptions())
    except OSError as error:
        raise DataError(
            f"{error.filename or out}: cannot be read or written ({error.strerror or error}): correct that and run the "
            "same command again to resume"
        ) from None


def _prepare(corpus: Corpus, out: Path, options: PrepareOptions) -> Summary:
    headers = _headers(corpus, options)
    warnings: list[str] = []
    with ProgressBar(quiet=options.quiet) as progress, only_writer(out):
        remove_leftovers(out)
        todo = [split for split, header in headers.items() if options.force or not is_done(out / split, header)]
        if todo or not corpus.archives:
            roots = find_roots(corpus, out, options, progress, warnings.append)
            try:
                plans = _plan(corpus, roots, {split: out / split for split in headers}, options, progress)
                absent = [split for split in headers if split not in plans]
                warnings += [f"{corpus.name}: the split {split} is missing" for split in absent]
                _make_stores(corpus, plans, headers, roots, options, progress)
            finally:
                remove_leftovers(out)
        summary = _summary(out, headers, warnings)
        if todo or not is_reported(out):
            write_report(out, corpus.title, summary.warnings)
        if not options.quiet:
            for line in summary.lines():
                progress.message(line)
    return summary


def _headers(corpus: Corpus, options: PrepareOptions) -> dict[str, StoreHeader]:
    """Return for each wanted split what its header says of where the store comes from and how it is made."""
    wanted = _wanted_splits(corpus, options)
    if corpus.profile is None and (options.profile or options.unknown):
        raise UsageError(f"{corpus.name} has no transcripts, so --profile and --unknown have no effect: leave them out")
    if options.speeds and not set(wanted) & set(corpus.train_splits):
        raise UsageError(
            f"speeds: got {', '.join(f'{speed:g}' for speed in options.speeds)}, but none of {', '.join(wanted)} is "
            "for training, and only training utterances are copied; expected one of: "
            f"{', '.join(corpus.train_splits) or 'train (train=FILE for your own data)'}"
        )
    return {
        split: StoreHeader(
            kind=options.kind or corpus.kind,
            corpus=corpus.name,
            title=corpus.title,
            version=corpus.version,
            licence=corpus.licence,
            citation=corpus.citation,
            split=split,
            features=options.features or corpus.features,
            profile=_profile(corpus, options),
            speeds=options.speeds if split in corpus.train_splits else (),
            limits=asdict(options.limits or corpus.limits),
            shard_utterances=options.shard_utterances,
        )
        for split in wanted
    }


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


def _profile(corpus: Corpus, options: PrepareOptions) -> TextProfile | None:
    if corpus.profile is None:
        return None
    profile = options.profile or corpus.profile
    return replace(profile, unknown=options.unknown) if options.unknown else profile


def _plan(
    corpus: Corpus, roots: tuple[Path, ...], folders: dict[str, Path], options: PrepareOptions, progress: ProgressBar
) -> dict[str, SplitPlan]:
    """Read the transcripts, and return the plans of the wanted splits that are there."""
    profile = _profile(corpus, options)
    settings = PlanSettings(roots, profile, options.speeds, corpus.train_splits, options.shard_utterances)
    present: dict[str, None] = {}
    utterances = (utterance for root in roots for utterance in _parsed(corpus, root, present))
    with progress.task(f"{corpus.name}: reading transcripts"):
        plans = plan(utterances, folders, settings, allow_missing=options.allow_missing)
    absent = [split for split in folders if split not in plans]
    if absent and options.splits:
        raise DataError(
            f"{corpus.name}: asked for {', '.join(absent)}, but {', '.join(map(str, roots))} has no such utterances; "
            f"there are: {', '.join(present) or 'none'}"
        )
    if absent and plans and corpus.complete and not options.allow_missing:
        raise DataError(
            f"{corpus.name}: {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not in "
            f"{', '.join(map(str, roots))}; expected all of {', '.join(folders)}: --allow-missing continues without"
        )
    if not plans:
        raise DataError(f"{corpus.name}: no utterance found in {', '.join(map(str, roots))}: is this the corpus?")
    return plans


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
            f"{root}: a file is not in the format of {corpus.name}, {place} ({error!r}): is the archive completely "
            "extracted, "
            "with nothing else in the folder?"
        ) from error


def _make_stores(
    corpus: Corpus,
    plans: dict[str, SplitPlan],
    headers: Mapping[str, StoreHeader],
    roots: tuple[Path, ...],
    options: PrepareOptions,
    progress: ProgressBar,
) -> None:
    """Run the shards that are not there, and finish each split."""
    work: dict[str, list[ShardTask]] = {}
    planned_headers = {}
    for split, planned in plans.items():
        header = replace(headers[split], plan=planned.digest())
        if keep_existing(planned, header, force=options.force):
            shutil.rmtree(planned.work)
            continue
        planned_headers[split] = header
        settings = _settings(planned, header, roots)
        work[split] = [ShardTask(number, digest, settings) for number, digest in enumerate(planned.digests)]
        write_filterbank(planned.folder, header.features)
    waiting = {split: [task for task in tasks if finished(task) is None] for split, tasks in work.items()}
    total = sum(plans[split].utterances for split in work)
    done = total - sum(plans[split].size(task.number) for split, tasks in waiting.items() for task in tasks)
    with progress.task(f"{corpus.name}: utterances", total) as update:

        def on_done(_task: ShardTask, receipt: Receipt) -> None:
            nonlocal done
            done += len(receipt)
            update(done)

        run_tasks([task for tasks in waiting.values() for task in tasks], options.jobs, options.cluster, on_done)
    for split, tasks in work.items():
        finish_split(plans[split], tasks, planned_headers[split])


def _settings(planned: SplitPlan, header: StoreHeader, roots: tuple[Path, ...]) -> ShardSettings:
    """Return what all shards of a split share."""
    metadata = {name: str(getattr(header, name)) for name in ("corpus", "version", "split", "kind", "licence")}
    return ShardSettings(
        folder=str(planned.folder.absolute()),
        roots=tuple(str(root.absolute()) for root in roots),
        kind=header.kind,
        features=header.features,
        has_text=header.profile is not None,
        limits=Limits(**header.limits),
        metadata={**metadata, "features": json.dumps(to_dict(header.features))},
    )


def _summary(out: Path, wanted: Iterable[str], warnings: list[str]) -> Summary:
    splits = {}
    for split in wanted:
        if (out / split / HEADER).exists():
            header = read_header(out / split)
            splits[split] = SplitSummary(header.utterances, header.seconds / 3600, Counter(header.rejected))
    return Summary(out, splits, tuple(warnings))
