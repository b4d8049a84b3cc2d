"""``asr tune``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import options

if TYPE_CHECKING:
    from asr.evaluation.tune_bundle import TunedBundle


def tune(
    data: Annotated[Path, typer.Option(help="A store held out from training: data/an4/dev. Never a test set.")],
    model: options.Model = "",
    lm: Annotated[str, typer.Option(help="The n-gram model to tune: a file, or the model's own.")] = "own",
    output_dir: Annotated[
        Path | None, typer.Option(*options.OUT, help="Write a copy of the bundle here, and leave the bundle unchanged.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the weights; write nothing.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Where to plot the results as PNG; by default tuning.png in the bundle.")
    ] = None,
    beam_size: Annotated[int, typer.Option(help="Beam size while searching for weights.")] = 64,
    beam_sizes: Annotated[str, typer.Option(help="Beam sizes to try with the chosen weights.")] = "8,16,32,64,128,256",
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of 8 points around the best, after the sweeps.")] = 3,
    utterances: Annotated[
        int, typer.Option(min=0, help="Tune on at most this many utterances, drawn at random; 0: all.")
    ] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random points and utterances.")] = 0,
    device: options.Device = "cpu",
    threads: options.Threads = 0,
) -> None:
    """Choose the weight of a language model, the word bonus and the beam size, and write all into the bundle.

    For models of phones, and for models with label priors, the score of unknown words, the scale of the blank and the
    weight of the priors are chosen as well, all together.

    The log-probabilities are computed once. Each weight in turn is tried at several values, then points around the
    best. Of all points within one standard error of the best, the one nearest to the defaults is taken.
    """
    model = options.require_model(model)
    from asr.bundle.bundle import PICTURE
    from asr.bundle.runtime import make_runtime
    from asr.cli.progress import counted
    from asr.convert.opening import open_bundle
    from asr.cores import num_cores
    from asr.evaluation.surface import draw_surface, require_matplotlib
    from asr.evaluation.tune import Search
    from asr.evaluation.tune_bundle import (
        TuningOptions,
        cached_log_probs,
        install,
        refuse_test_set,
        target_folder,
        tune_bundle,
        tuning_decoder,
    )
    from asr.store.store import open_store
    from asr.transcription.inputs import make_folder

    bundle, store = open_bundle(model), open_store(data)
    refuse_test_set(store)
    workers = (threads or num_cores()) if device == "cpu" else 1
    sizes = options.numbers("--beam-sizes", beam_sizes, int, "whole numbers, for instance 8,32,128")
    tuning = TuningOptions(lm, Search(rounds=rounds, seed=seed), beam_size, tuple(sizes), workers, utterances)
    folder = None if dry_run else target_folder(bundle, output_dir)
    tuning_decoder(bundle, tuning)  # A bad language model ends the command before the work.
    if lm == "own":
        print(
            "asr: tuning the bundle's own language model; if it was estimated from this store's transcripts too, its "
            "weight will be too high",
            file=sys.stderr,
        )
    if picture is not None or folder is not None:
        require_matplotlib()
    if picture is not None:
        make_folder(picture.absolute().parent, "--picture")
    chosen = tuning.chosen(store)
    if len(chosen) < len(store):
        print(f"asr: tuning on {len(chosen)} of {len(store)} utterances, drawn by --seed", file=sys.stderr)
    with counted(len(chosen), "log-probs") as advance:
        log_probs = cached_log_probs(store, chosen, bundle, make_runtime(bundle, device, threads), advance)
    with counted(tuning.trials(bundle), "decoding") as advance:
        tuned = tune_bundle(store, bundle, log_probs, tuning, advance)
    _print(tuned)
    if folder is not None:
        for note in install(bundle, tuned, folder):
            print(f"asr: {note}", file=sys.stderr)
        print(
            f"wrote {folder}: {', '.join(tuned.decoding)}{' and the language model' if lm != 'own' else ''}",
            file=sys.stderr,
        )
        picture = picture or folder / PICTURE
    if picture is not None:
        draw_surface(tuned, picture)
        print(f"wrote {picture}", file=sys.stderr)


def _print(tuned: "TunedBundle") -> None:
    bootstrap = tuned.comparison.bootstrap()
    print(f"greedy, no LM          {tuned.before.words.kaldi_line()}")
    for trial in tuned.beams:
        print(f"beam {trial.beam_size:4} {trial.seconds:8.2f} s   {trial.counts.kaldi_line()}")
    print(
        f"{tuned.summary}, beam size {tuned.beam.beam_size}: "
        f"{len(tuned.weights.trials)} weights tried; against greedy "
        f"{100 * (tuned.comparison.difference or 0.0):+.2f} points, 95 % interval {100 * bootstrap.low:+.2f} to "
        f"{100 * bootstrap.high:+.2f}"
    )
