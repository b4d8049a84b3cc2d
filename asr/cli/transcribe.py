"""``asr transcribe``."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.bundle.shipped import DEFAULT_MODEL, shipped_bundles
from asr.cli import options
from asr.errors import UsageError

if TYPE_CHECKING:
    from asr.cli.progress import JobProgress
    from asr.transcription.inputs import Outputs, Recording
    from asr.transcription.job import Result
    from asr.transcription.transcript import Transcript


@options.grouped
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Audio files, glob patterns, folders; - for the standard input."),
    ],
    model: options.Model = DEFAULT_MODEL,
    output_format: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", "--output-format", help="txt, json, srt, vtt, tsv, ctm, textgrid (several: txt,srt), all."
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(*options.OUT, help="Folder for the files <name>.<format>; created if missing."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", help="Search subfolders too.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip recordings whose output files all exist.")
    ] = False,
    *,
    running: options.Running,
    jobs: options.Jobs = 1,
    cluster: options.Cluster = "",
    decoding: options.Decoding,
    nbest: Annotated[int, typer.Option(min=1, help="Alternative transcripts of each segment, in JSON.")] = 1,
    channel: Annotated[
        str, typer.Option(help="The channel to transcribe, from 1; or each, separately. By default all are mixed.")
    ] = "",
    audio_track: Annotated[
        int | None, typer.Option(min=1, help="The audio track to transcribe, from 1, in a film with several.")
    ] = None,
    start: Annotated[float, typer.Option(min=0, help="Start at this point of each recording, in seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(min=0, help="Stop at this point of each recording, in seconds.")] = None,
    word_timestamps: Annotated[
        bool, typer.Option("--word-timestamps", help="Print a line for each word: start, end, confidence, word.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per file, with words and times.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")] = False,
) -> None:
    """Print the words of audio files, or write them as text, JSON, subtitles or time-marked words.

    asr transcribe recording.wav

    asr transcribe --output-dir subtitles --format srt,json recordings/

    The models that ship:

    MODELS

    Recordings may be of any length. wav, flac, ogg, mp3 and sph need nothing more; m4a, webm, films and the like
    need pip install 'ctc-asr[media]'. With several recordings, each printed line begins with its file's name; with
    --format or --output-dir, files are written and nothing is printed (in all formats, if none is given).

    A file that cannot be read is named on the error stream; the others are still transcribed, and the
    exit status is 1. Options for beam search, such as --lm and --hotword, switch it on.
    """
    from asr.audio import AudioPart
    from asr.cli.progress import JobProgress
    from asr.console import is_terminal
    from asr.transcription.inputs import STANDARD_INPUT, by_channel, find_recordings
    from asr.transcription.job import JobOptions, run_job

    running.check()
    if running.streaming and (jobs != 1 or nbest > 1):
        raise UsageError(
            "--streaming runs one recording after the other, and gives one transcript: leave out --jobs and --nbest"
        )
    outputs = _outputs(output_format, output_dir)
    _refuse_contradictions(outputs, skip_existing, {"--word-timestamps": word_timestamps, "--json": json_lines})
    if nbest > 1 and not (json_lines or (outputs and "json" in outputs.formats)):
        raise UsageError("--nbest is for JSON: give --json, or json among the --format")
    wanted = decoding.options(nbest)
    if end is not None and end <= start:
        raise UsageError(f"--end: got {end:g} s, and --start {start:g} s; expected an end after the start")
    part = AudioPart(STANDARD_INPUT, start, end, audio_track=audio_track - 1 if audio_track else None)
    job = JobOptions(model, running.device, running.threads, running.precision, wanted, jobs, part, cluster)
    if sys.stdout is None and not outputs:
        raise UsageError("the standard output is closed, so transcripts cannot be printed: give --output-dir")
    found = find_recordings(inputs, recursive=recursive)
    recordings = by_channel(found.recordings, channel)
    skipped = 0
    if outputs:
        outputs.prepare(recordings)
        left = [recording for recording in recordings if not (skip_existing and outputs.are_there(recording))]
        skipped, recordings = len(recordings) - len(left), left
    # Text that scrolls by on a terminal is progress enough, and a bar would run into it.
    is_bare = quiet or (outputs is None and is_terminal(sys.stdout))
    with JobProgress([recording.num_bytes for recording in recordings], quiet=is_bare) as progress:
        for message in found.notes:
            progress.message(f"asr: warning: {message}")
        for message in found.failures:
            progress.message(f"asr: {message}")
        if running.streaming:
            from asr.live.replay import Latency, stream_recordings

            latency = Latency()
            live = running.live_model(model, wanted)
            results = stream_recordings(live, recordings, part, latency, progress.update)
        else:
            results = run_job(recordings, job, in_order=outputs is None, progress=progress.update)
        show = functools.partial(_print, as_json=json_lines, named=len(recordings) > 1, with_words=word_timestamps)
        failed = sum(not _deliver(result, recordings[result.index], outputs, show, progress) for result in results)
    if running.streaming and not quiet:
        print("\n".join(f"asr: {line}" for line in latency.lines()), file=sys.stderr)
    if outputs and not quiet:
        _summarise(outputs, progress, {"written": len(recordings) - failed, "skipped": skipped, "failed": failed})
    elif failed and len(recordings) > 1:
        print(f"asr: {failed} of {len(recordings)} files failed", file=sys.stderr)
    if failed or found.failures:
        raise typer.Exit(1)


if transcribe.__doc__:
    transcribe.__doc__ = transcribe.__doc__.replace(
        "MODELS", "\n\n    ".join(f"{name}: {text}" for name, text in shipped_bundles().items())
    )


def _outputs(formats: list[str] | None, folder: Path | None) -> "Outputs | None":
    """Return where files are written, or None if transcripts are printed; as whisper, all formats if none is given."""
    if formats is None and folder is None:
        return None
    from asr.transcription.inputs import Outputs
    from asr.transcription.writers import ALL, parse_formats

    return Outputs(folder or Path(), parse_formats(formats or [ALL]))


def _refuse_contradictions(outputs: "Outputs | None", skip_existing: bool, printing: dict[str, bool]) -> None:
    given = [option for option, value in printing.items() if value]
    if outputs and given:
        raise UsageError(
            f"{', '.join(given)} is for what is printed, and --format and --output-dir write files: the formats "
            "json, ctm and textgrid have words and times"
        )
    if len(given) == 2:
        raise UsageError("--json has words and times: leave out --word-timestamps")
    if skip_existing and not outputs:
        raise UsageError("--skip-existing is for files: give --format or --output-dir")


def _deliver(
    result: "Result",
    recording: "Recording",
    outputs: "Outputs | None",
    show: Callable[["Recording", "Transcript"], None],
    progress: "JobProgress",
) -> bool:
    """Write or show a transcript, and name what is wrong; return whether there is a transcript and it was delivered."""
    if result.transcript is None:
        progress.message(f"asr: {result.error}")
        return False
    for warning in result.transcript.warnings:
        progress.message(f"asr: warning: {warning}")
    if outputs is None:
        show(recording, result.transcript)
        return True
    message = outputs.write(recording, result.transcript)
    if message:
        progress.message(f"asr: {message}")
    return not message


def _print(recording: "Recording", transcript: "Transcript", *, as_json: bool, named: bool, with_words: bool) -> None:
    if as_json:
        print_json({"file": recording.path, **transcript.to_dict()})
    else:
        print(f"{recording.title}: {transcript.text}" if named else transcript.text, flush=True)
    if with_words:
        _print_words(transcript)


def print_json(value: dict[str, Any]) -> None:
    """Print an object in one line, in ASCII where the output is not UTF-8: an escape of its own would be no JSON."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") == "utf8"
    print(json.dumps(value, ensure_ascii=not is_utf8), flush=True)


def _print_words(transcript: "Transcript") -> None:
    for word in transcript.words:
        print(f"{word.start_seconds:9.2f} {word.end_seconds:9.2f} {word.confidence:6.2f}  {word.text}", flush=True)


def _summarise(outputs: "Outputs", progress: "JobProgress", counts: dict[str, int]) -> None:
    found = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "written")
    minutes, seconds = divmod(round(progress.audio_seconds), 60)
    print(
        f"asr: {found}, in {outputs.folder}; {minutes // 60}:{minutes % 60:02}:{seconds:02} of audio, "
        f"{progress.speed:.0f} × real time",
        file=sys.stderr,
    )
