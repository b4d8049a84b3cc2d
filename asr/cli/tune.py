"""``asr tune``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.transcribe import require_model

if TYPE_CHECKING:
    from asr.evaluation.tune_bundle import TunedBundle


def tune(
    data: Annotated[Path, typer.Option(help="A store held out from training: data/an4/dev. Never a test set.")],
    model: Annotated[str, typer.Option(help="A bundle's directory, or the name of a model that ships.")] = "",
    lm: Annotated[str, typer.Option(help="The n-gram model to weigh; the bundle's own if not given.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write a copy of the bundle here, not into the bundle.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the weights, and write no bundle.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="The surface as PNG; tuning.png in the bundle if not given.")
    ] = None,
    beam_size: Annotated[int, typer.Option(help="Beam of the search for the weights.")] = 64,
    beam_sizes: Annotated[str, typer.Option(help="Beams to try with the chosen weights.")] = "8,16,32,64,128,256",
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of 8 points around the best, after the grid.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of these points.")] = 0,
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")] = 0,
) -> None:
    """Choose a language model's weight, the word bonus and the beam, and write them into the bundle with the model.

    The log-probabilities are computed once; a grid of weights is tried on them, then points around the best. Of
    those that are as good as the best, within one standard error, the ones nearest to the defaults are taken.
    """
    model = require_model(model)
    from asr.bundle.bundle import PICTURE, Bundle
    from asr.bundle.runtime import make_runtime
    from asr.cli.progress import counted
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

    bundle, store = Bundle.load(model), open_store(data)
    refuse_test_set(store)
    workers = (threads or num_cores()) if device == "cpu" else 1
    options = TuningOptions(lm, Search(rounds=rounds, seed=seed), beam_size, _sizes(beam_sizes), workers)
    folder = None if dry_run else target_folder(bundle, out)
    tuning_decoder(bundle, options)  # So that a bad language model is told before the work.
    if not lm:
        print(
            "asr: the bundle's own language model is weighed; where it was estimated from transcripts of this store "
            "too, its weight comes out too heavy",
            file=sys.stderr,
        )
    if picture is not None or folder is not None:
        require_matplotlib()
    if picture is not None:
        make_folder(picture.absolute().parent, "--picture")
    chosen = options.chosen(store)
    with counted(len(chosen), "log-probs") as advance:
        log_probs = cached_log_probs(store, chosen, bundle, make_runtime(bundle, device, threads), advance)
    with counted(options.trials, "decoding") as advance:
        tuned = tune_bundle(store, bundle, log_probs, options, advance)
    _print(tuned)
    if folder is not None:
        for note in install(bundle, tuned, lm, folder):
            print(f"asr: {note}", file=sys.stderr)
        print(f"wrote {folder}: alpha, beta and beam size{' and the language model' if lm else ''}", file=sys.stderr)
        picture = picture or folder / PICTURE
    if picture is not None:
        draw_surface(tuned, picture)
        print(f"wrote {picture}", file=sys.stderr)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"got {text!r}; expected numbers with commas between, as 8,32,128") from None


def _print(tuned: "TunedBundle") -> None:
    bootstrap = tuned.comparison.bootstrap()
    print(f"greedy                 {tuned.before.words.kaldi_line()}")
    for trial in tuned.beams:
        print(f"beam {trial.beam_size:4} {trial.seconds:8.2f} s   {trial.counts.kaldi_line()}")
    print(
        f"alpha {tuned.weights.alpha:g}, beta {tuned.weights.beta:g}, beam size {tuned.beam.beam_size}: "
        f"{len(tuned.weights.trials)} weights tried; against greedy "
        f"{100 * (tuned.comparison.difference or 0.0):+.2f} points, 95 % interval {100 * bootstrap.low:+.2f} to "
        f"{100 * bootstrap.high:+.2f}"
    )
