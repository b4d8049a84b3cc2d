"""``asr transcribe``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.errors import AsrError, UsageError


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files: wav, flac, ogg, mp3, sph, …")],
    model: Annotated[str, typer.Option(help="A bundle's directory, or the name of a model that ships.")] = "",
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")] = 0,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a file, with words and times.")] = False,
) -> None:
    """Print the words of audio files; with several files, each line begins with its file's name.

    A file that cannot be read is named on the error stream, the others are transcribed all the same, and the
    exit status is 1.
    """
    transcriber_model = require_model(model)
    from asr.transcription.transcribe import Transcriber

    transcriber = Transcriber(transcriber_model, device=device, threads=threads)
    failed = 0
    for path in files:
        try:
            transcript = transcriber.transcribe(path)
        except AsrError as error:
            failed += 1
            print(f"asr: {error}", file=sys.stderr)
            continue
        if json_lines:
            print(json.dumps({"file": str(path), **transcript.to_dict()}, ensure_ascii=False), flush=True)
        else:
            print(f"{path}: {transcript.text}" if len(files) > 1 else transcript.text, flush=True)
    if failed:
        if len(files) > 1:
            print(f"asr: {failed} of {len(files)} files failed", file=sys.stderr)
        raise typer.Exit(1)


def require_model(model: str) -> str:
    """Return `model`, or refuse to guess one.

    Raises
    ------
    UsageError
        If it is empty; the message lists the models that ship and what each is for.
    """
    if not model:
        from asr.transcription.bundle import list_shipped

        raise UsageError(f"--model is missing: {list_shipped()}")
    return model
