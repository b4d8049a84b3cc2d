"""Corpus scripts: how they are loaded, and the command line that they share."""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn

from asr.errors import AsrError, UsageError, did_you_mean
from asr.features import LogMelConfig
from asr.preparation.checks import Limits
from asr.preparation.corpus import Corpus
from asr.preparation.options import PrepareOptions
from asr.scripts import find_script
from asr.text import POLICIES, PROFILES

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help lists the options)")


def main(corpus: Corpus) -> NoReturn:
    """Run a corpus script's command line, and end the process with its status."""
    raise SystemExit(run(corpus))


def run(corpus: Corpus, arguments: Sequence[str] | None = None) -> int:
    """Prepare `corpus` as the command line says; return the exit status."""
    return _run(_corpus_parser(corpus), lambda _parsed: corpus, arguments)


def load_corpus(name_or_path: str | Path) -> Corpus:
    """Return the ``CORPUS`` of a corpus script: a path, or the name of one that ships or is in ``data_prep``.

    Raises
    ------
    UsageError
        If there is no such script, or it has no ``CORPUS``.
    """
    path = find_script("data_prep", name_or_path)
    spec = importlib.util.spec_from_file_location(f"data_prep_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: is not a Python script")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    corpus = getattr(module, "CORPUS", None)
    if not isinstance(corpus, Corpus):
        raise UsageError(f"{path}: has no CORPUS = Corpus(...); expected the script of one corpus")
    return corpus


def manifest_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line for users' own data, and end the process with its status."""
    parser = _parser("Prepare your own data.", Path("data", "mine"))
    add = parser.add_argument
    add("sources", nargs="+", metavar="[SPLIT=]PATH", help="NeMo manifest, Kaldi directory, CSV, TSV, folder of audio")
    add("--name", default="mine", help="a name for the data [%(default)s]")
    add("--columns", nargs="+", default=[], metavar="KEY=NAME", help="audio=file text=said speaker=who …")
    add(
        "--hold-out",
        default="",
        metavar="KEY",
        help="without SPLIT=, divide into train, dev and test (90, 5, 5 %%) by speaker, text or id",
    )
    raise SystemExit(_run(parser, _manifest, arguments))


def lhotse_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line for lhotse's recipes, and end the process with its status."""
    parser = _parser("Prepare a corpus by lhotse's recipe for it.", Path("data", "lhotse"))
    parser.add_argument("name", nargs="?", help="lhotse's name of the corpus")
    parser.add_argument("--list", action="store_true", help="list the names")
    raise SystemExit(_run(parser, _lhotse, arguments))


def _run(
    parser: argparse.ArgumentParser,
    corpus_from: Callable[[argparse.Namespace], Corpus | None],
    arguments: Sequence[str] | None,
) -> int:
    from asr.preparation.prepare import prepare

    try:
        parsed = parser.parse_args(arguments)
        corpus = corpus_from(parsed)
        if corpus is not None:
            prepare(corpus, parsed.out, options_from(parsed, corpus))
    except KeyboardInterrupt:
        print("stopped; finished work is kept: run the same command again to resume", file=sys.stderr)
        return INTERRUPTED
    except AsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _manifest(parsed: argparse.Namespace) -> Corpus:
    from asr.preparation.manifests import ManifestOptions, manifest_corpus

    sources: dict[str, Path] = {}
    for text in parsed.sources:
        split, _, path = text.rpartition("=") if not Path(text).exists() else ("", "", text)
        if split in sources:
            raise UsageError(f"{text}: the split {split or 'train'!r} is given twice; expected each split once")
        sources[split] = Path(path)
    columns = dict(_pair("columns", text) for text in parsed.columns)
    options = ManifestOptions(columns=columns, hold_out=parsed.hold_out)
    return manifest_corpus(parsed.name, sources, options)


def _lhotse(parsed: argparse.Namespace) -> Corpus | None:
    from asr.preparation.lhotse import lhotse_corpus, lhotse_names

    if parsed.list:
        print("\n".join(lhotse_names()))
        return None
    if not parsed.name or parsed.source is None:
        raise UsageError("expected the name of a corpus and --source FOLDER; --list lists the names")
    return lhotse_corpus(parsed.name, parsed.source)


def _corpus_parser(corpus: Corpus) -> argparse.ArgumentParser:
    text = f"{corpus.title}\nlicence: {corpus.licence}\n{corpus.homepage}\nsplits: {', '.join(corpus.splits)}"
    if corpus.on_request:
        text += f"\nonly if asked for: {', '.join(corpus.on_request)}"
    return _parser(text, Path("data", corpus.name))


def _parser(description: str, out: Path) -> argparse.ArgumentParser:
    """Return the parser of the options that all preparations share."""
    result = _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    add = result.add_argument
    add(
        "-o",
        "--output-dir",
        "--out",
        dest="out",
        type=Path,
        default=out,
        metavar="DIR",
        help="where the stores go [%(default)s]",
    )
    add("--archive", type=Path, help="an archive or a folder of archives, instead of a download or $ASR_ARCHIVES")
    add("--source", type=Path, help="the extracted corpus, instead of an archive")
    add("--cache", type=Path, help="where archives are kept and extracted [downloads beside --out]")
    add("--splits", nargs="+", metavar="SPLIT", help="only these splits")
    add("--jobs", type=int, default=0, help="processes; 0: one per core [%(default)s]")
    add("--cluster", default="", metavar="tcp://HOST:PORT", help="a dask scheduler, instead of processes here")
    add("--store", choices=("features", "audio"), help="what to store [features]")
    add("--features", nargs="+", default=[], metavar="KEY=VALUE", help="n_mels=64 hop_seconds=0.01 …")
    add(
        "--speeds",
        nargs="+",
        type=float,
        default=[],
        metavar="FACTOR",
        help="add copies of the training part at these speeds: 0.9 1.1",
    )
    add("--profile", choices=sorted(PROFILES), help="how transcripts are normalised [the corpus's own]")
    add("--unknown", choices=POLICIES, help="what to do with characters outside the alphabet [the profile's: refuse]")
    add("--limits", nargs="+", default=[], metavar="KEY=VALUE", help="max_seconds=30 min_level_db=-60 …")
    add("--shard-utterances", type=int, default=200, help="utterances per shard [%(default)s]")
    add("--allow-missing", action="store_true", help="continue without missing recordings")
    add("--force", action="store_true", help="prepare existing stores again")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    return result


def options_from(parsed: argparse.Namespace, corpus: Corpus) -> PrepareOptions:
    """Return the options that the command line gives.

    Raises
    ------
    UsageError
        If one is out of its range or unknown.
    """
    features = replace(corpus.features, **_settings("features", parsed.features, LogMelConfig))
    return PrepareOptions(
        features=features,
        kind=parsed.store,
        splits=tuple(parsed.splits) if parsed.splits else None,
        speeds=tuple(parsed.speeds),
        profile=PROFILES[parsed.profile] if parsed.profile else None,
        unknown=parsed.unknown,
        limits=replace(corpus.limits, **_settings("limits", parsed.limits, Limits)),
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
        name, text = _pair(option, pair)
        if name not in known:
            raise UsageError(f"--{option} {pair}: expected one of {', '.join(known)}{did_you_mean(name, known)}")
        try:
            values[name] = known[name](text)
        except ValueError:
            raise UsageError(f"--{option} {pair}: {text!r} is not a number ({known[name].__name__})") from None
    return values


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--{option} {text}: expected KEY=VALUE")
    return name, value
