"""The command line that all corpus scripts share."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from asr.data.checks import Limits
from asr.data.options import PrepareOptions
from asr.errors import AsrError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.text import POLICIES, PROFILES

if TYPE_CHECKING:
    from asr.data.corpus import Corpus

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help lists the options)")


def run(corpus: "Corpus", arguments: Sequence[str] | None = None) -> int:
    """Prepare `corpus` as the command line says; return the exit status."""
    from asr.data.corpus import prepare

    try:
        parsed = parser(corpus).parse_args(arguments)
        prepare(corpus, parsed.out, options_from(parsed, corpus))
    except KeyboardInterrupt:
        print("stopped; what is finished is kept: run the same command again, it goes on there", file=sys.stderr)
        return INTERRUPTED
    except AsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def parser(corpus: "Corpus") -> argparse.ArgumentParser:
    """Return the parser of the options that all corpus scripts share."""
    text = f"{corpus.title}\nlicence: {corpus.licence}\n{corpus.homepage}\nsplits: {', '.join(corpus.splits)}"
    if corpus.on_request:
        text += f"\nonly if asked for: {', '.join(corpus.on_request)}"
    result = _Parser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = result.add_argument
    add("--out", type=Path, default=Path("data", corpus.name), help="where the stores go [data/%(prog)s's corpus]")
    add("--archive", type=Path, help="an archive or a folder of archives, instead of a download or $ASR_ARCHIVES")
    add("--source", type=Path, help="the extracted corpus, instead of an archive")
    add("--cache", type=Path, help="where archives are kept and extracted [downloads beside --out]")
    add("--splits", nargs="+", metavar="SPLIT", help="only these splits")
    add("--jobs", type=int, default=0, help="processes; 0: one a core [%(default)s]")
    add("--cluster", default="", metavar="tcp://HOST:PORT", help="a dask scheduler, instead of processes here")
    add("--store", choices=("features", "audio"), default="features", help="what is stored [%(default)s]")
    add("--features", nargs="+", default=[], metavar="KEY=VALUE", help="n_mels=64 hop_seconds=0.01 …")
    add("--normalisation", choices=("utterance", "none", "global"), help="of the features [utterance]")
    add("--speeds", nargs="+", type=float, default=[], metavar="FACTOR", help="copies of the training part: 0.9 1.1")
    add("--profile", choices=sorted(PROFILES), help="how transcripts are normalised [the corpus's own]")
    add("--unknown", choices=POLICIES, help="what becomes of characters outside the alphabet [refuse]")
    add("--limits", nargs="+", default=[], metavar="KEY=VALUE", help="max_seconds=30 min_level_db=-60 …")
    add("--shard-utterances", type=int, default=200, help="utterances a shard [%(default)s]")
    add("--allow-missing", action="store_true", help="go on without recordings that are not there")
    add("--force", action="store_true", help="prepare again what is there")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    return result


def options_from(parsed: argparse.Namespace, corpus: "Corpus") -> PrepareOptions:
    """Return the options that the command line gives.

    Raises
    ------
    UsageError
        If one is out of its range or unknown.
    """
    features = replace(corpus.features, **_settings("features", parsed.features, LogMelConfig))
    return PrepareOptions(
        features=features,
        normalisation=parsed.normalisation,
        kind=parsed.store,
        splits=tuple(parsed.splits) if parsed.splits else None,
        speeds=tuple(parsed.speeds),
        profile=PROFILES[parsed.profile] if parsed.profile else None,
        unknown=parsed.unknown,
        limits=replace(Limits(), **_settings("limits", parsed.limits, Limits)),
        archive=parsed.archive,
        source=parsed.source,
        cache=parsed.cache,
        jobs=parsed.jobs,
        cluster=parsed.cluster,
        shard_utterances=parsed.shard_utterances,
        force=parsed.force,
        allow_missing=parsed.allow_missing,
        quiet=parsed.quiet,
    )


def _settings(option: str, pairs: Sequence[str], kind: type[Any]) -> dict[str, Any]:
    """Return the values of ``KEY=VALUE`` pairs, each a number of the type that the field of `kind` has."""
    known = {item.name: type(item.default) for item in fields(kind) if isinstance(item.default, int | float)}
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in known:
            raise UsageError(
                f"--{option} {pair}: expected KEY=VALUE with one of {', '.join(known)}{did_you_mean(name, known)}"
            )
        try:
            values[name] = known[name](text)
        except ValueError:
            raise UsageError(f"--{option} {pair}: {text!r} is not a number ({known[name].__name__})") from None
    return values
