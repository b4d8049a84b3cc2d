"""``asr evaluate``."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import options
from asr.errors import UsageError
from asr.version import __version__

if TYPE_CHECKING:
    from asr.bundle.bundle import Bundle
    from asr.evaluation.details import Details
    from asr.evaluation.report import Heading
    from asr.evaluation.results import Evaluation
    from asr.store.checking import Store


@options.grouped
def evaluate(
    data: Annotated[Path, typer.Option(help="A store, of features or audio: data/an4/test.")],
    model: options.Model = "",
    output_dir: Annotated[
        Path | None, typer.Option(*options.OUT, help="Write hypotheses, trn files, results and a report here.")
    ] = None,
    audio: Annotated[Path | None, typer.Option(help="A folder of recordings to play in the report.")] = None,
    details: Annotated[int, typer.Option(min=0, help="Number of worst utterances shown in detail.")] = 100,
    show: Annotated[bool, typer.Option(help="Also print each utterance's reference and hypothesis.")] = False,
    normalise: Annotated[
        str, typer.Option(help="How to normalise both texts before scoring: none, english, whisper or open-asr.")
    ] = "none",
    *,
    running: options.Running,
    align_with: Annotated[
        str,
        typer.Option(help="With --streaming: the model that aligns the words in time.", show_default="--model"),
    ] = "",
    cluster: options.Cluster = "",
    decoding: options.Decoding,
) -> None:
    """Recognise a prepared test set and print its error rates.

    Prints Kaldi's %WER and %CER lines, confidence intervals, sclite's table, and errors by length.

    With --output-dir it also writes hypotheses.jsonl (NeMo's fields), ref.trn and hyp.trn (sclite's), results.json,
    and report.html: one searchable file with the errors aligned, and spectrogram and sound of the worst utterances.

    With --normalise both texts are normalised before scoring: to lower case without punctuation (english), by
    Whisper's English normaliser (whisper), or as on the Open ASR leaderboard (open-asr). With open-asr and
    --output-dir, it also writes the JSONL file that the leaderboard's scripts score. whisper and open-asr need
    pip install 'ctc-asr[score]'.

    With --streaming each utterance is recognised as a stream, as in asr listen, and the latency is reported.
    """
    model = options.require_model(model)
    running.check()
    if align_with and not running.streaming:
        raise UsageError("--align-with is for --streaming: give it too, or leave it out")
    if running.streaming and cluster:
        raise UsageError("--streaming runs one utterance after the other on this machine: leave out --cluster")
    if audio is not None and output_dir is None:
        raise UsageError("--audio is for the report, which needs --output-dir: give it too")
    from asr.bundle.runtime import make_runtime
    from asr.cli.progress import counted
    from asr.convert.opening import open_bundle
    from asr.evaluation.conventions import normaliser, rescored, write_leaderboard
    from asr.evaluation.details import Details
    from asr.evaluation.evaluate import ClusterJob, evaluate_on_cluster
    from asr.evaluation.evaluate import evaluate as evaluate_store
    from asr.evaluation.report import Heading
    from asr.store.store import open_store
    from asr.transcription.decoding import describe, make_decoder
    from asr.transcription.inputs import make_folder

    normaliser(normalise)  # An unknown name ends the command before the work.
    bundle, store = open_bundle(model), open_store(data)
    wanted, compute = decoding.options(), (running.device, running.threads, running.precision)
    decoder, runtime = make_decoder(bundle, wanted), make_runtime(bundle, *compute)
    # Before the work: a folder that is missing, or cannot be written to, must not cost a whole evaluation.
    close_range = Details(store, bundle, runtime, audio)
    if output_dir is not None:
        make_folder(output_dir, "--output-dir")
    latency: list[str] = []
    with counted(len(store), "evaluating") as advance:
        if running.streaming:
            from asr.evaluation.streaming import evaluate_streaming

            live = running.live_model(model, wanted)
            aligner = open_bundle(align_with) if align_with else bundle
            aligning = make_runtime(aligner, *compute) if align_with else runtime
            result, figures = evaluate_streaming(store, live, aligner, aligning, advance)
            latency = [*figures.lines(), f"(word times are those of an alignment by {aligner.name})"]
        elif cluster:
            job = ClusterJob(cluster, data, model, wanted, *compute)
            result = evaluate_on_cluster(store, bundle, job, advance)
        else:
            result = evaluate_store(store, bundle, runtime, decoder, advance)
    raw = result
    if normalise == "none":
        _warn_of_unwritable(store, bundle)
    else:
        result = rescored(raw, normalise)
    description = describe(bundle, wanted) + (", streaming" if running.streaming else "")
    description += f", scored as {normalise}" if normalise != "none" else ""
    _print(result, description, show=show)
    if latency:
        print("\n" + "\n".join(latency))
    if output_dir is not None:
        facts = {
            "model": f"{bundle.name} ({bundle.directory})",
            "decoder": description,
            "scoring": normalise,
            "data": f"{store.corpus} {store.version}, {store.split} ({data})",
            "runtime": f"ctc-asr {__version__}, {running.device}, {running.precision}"
            + (", on a cluster" if cluster else ""),
        }
        heading = Heading(f"{bundle.name} on {store.corpus}, {store.split}", tuple(facts.items()))
        if normalise == "open-asr":
            path = write_leaderboard(raw, output_dir, bundle.name, store.corpus, store.split)
            print(f"wrote {path}, for the Open ASR leaderboard's scripts", file=sys.stderr)
        _write(output_dir, result, heading, close_range, details)


def _warn_of_unwritable(store: "Store", bundle: "Bundle") -> None:
    from asr.store.checking import unwritable

    if bundle.tokenizer.kind == "phones":
        lacking = [text for text in store.texts if bundle.tokenizer.unknown(text)]
        if lacking:
            print(
                f"asr: {len(lacking)} of {len(store)} references hold words that the model's lexicon lacks, such as "
                f"{', '.join(bundle.tokenizer.unknown(lacking[0])[:10])}; each counts as an error",
                file=sys.stderr,
            )
        return
    count, characters = unwritable(store, bundle.tokenizer.tokens[1:])
    if count:
        print(
            f"asr: {count} of {len(store)} references hold characters that the model cannot write: {characters!r}; "
            "each counts as an error",
            file=sys.stderr,
        )


def _print(result: "Evaluation", description: str, *, show: bool) -> None:
    from asr.evaluation.figures import SHOWN_SPEAKERS, groups_table, timing_line
    from asr.evaluation.sclite import sclite_table

    if show:
        for utterance in result.utterances:
            print(f"{utterance.id}\n  ref: {utterance.reference}\n  hyp: {utterance.hypothesis}")
    (low, high), by_speaker = result.interval(), result.interval_by_speaker()
    wrong, count = result.wrong_sentences, len(result.utterances)
    print(result.words.kaldi_line("WER"))
    print(result.characters.kaldi_line("CER"))
    print(f"%SER {100 * wrong / count:.2f} [ {wrong} / {count} ]")
    interval = f"95 % interval of the WER {100 * low:.2f}–{100 * high:.2f} %"
    if by_speaker is not None:
        interval += f", by speaker {100 * by_speaker[0]:.2f}–{100 * by_speaker[1]:.2f} %"
    print(f"{description}, {count} utterances, {interval}")
    print(timing_line(result))
    print(f"\n{sclite_table(result, SHOWN_SPEAKERS)}")
    print(f"\n{groups_table('words in reference', result.by_words())}")


def _write(out: Path, result: "Evaluation", heading: "Heading", close_range: "Details", details: int) -> None:
    from asr.evaluation.details import without_sound, worst
    from asr.evaluation.figures import to_dict
    from asr.evaluation.hypotheses import write_hypotheses
    from asr.evaluation.report import write_report
    from asr.files import write_text

    write_hypotheses(result, out)
    write_text(
        out / "results.json",
        json.dumps({**dict(heading.facts), **to_dict(result)}, indent=1, ensure_ascii=False) + "\n",
    )
    chosen = [close_range(index) for index in worst(result, details)]
    write_report(out / "report.html", heading, result, chosen)
    silent = without_sound(chosen)
    if silent:
        print(
            f"asr: {silent} of {len(chosen)} utterances in the report have no recording to play: prepare the store "
            "with --store audio, or give the folder of recordings with --audio DIR",
            file=sys.stderr,
        )
    size = (out / "report.html").stat().st_size / 1e6
    print(
        f"wrote {out}: hypotheses.jsonl, ref.trn, hyp.trn, results.json, report.html ({size:.1f} MB)", file=sys.stderr
    )
