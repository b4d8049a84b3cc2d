"""``asr transcribe``."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.errors import AsrError, UsageError


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Audio files: wav, flac, ogg, mp3, sph, …", readable=False)],
    model: Annotated[str, typer.Option(help="A bundle's directory, or the name of a model that ships.")] = "",
    device: Annotated[str, typer.Option(help='"cpu" (ONNX Runtime), or "cuda" (torch).')] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as many as there are cores.")] = 0,
    beam_size: Annotated[int, typer.Option(help="1: greedy. More: beam search, with the model's own n-grams.")] = 1,
    lm: Annotated[str, typer.Option(help="Another n-gram model (ARPA) for the beam search, or none.")] = "",
    alpha: Annotated[float | None, typer.Option(help="Weight of the n-gram model.")] = None,
    beta: Annotated[float | None, typer.Option(help="Bonus for each word.")] = None,
    word_timestamps: Annotated[bool, typer.Option(help="A line for each word: start, end, confidence, word.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a file, with words and times.")] = False,
) -> None:
    """Print the words of audio files; with several files, each line begins with its file's name.

    A file that cannot be read is named on the error stream, the others are transcribed all the same, and the
    exit status is 1.
    """
    name = require_model(model)
    from asr.transcription.bundle import Bundle
    from asr.transcription.decoding import DecodingOptions, make_decoder
    from asr.transcription.transcribe import Transcriber

    options = DecodingOptions(beam_size, lm, alpha, beta)
    bundle = Bundle.load(name)
    transcriber = Transcriber(bundle, device=device, threads=threads, decoder=make_decoder(bundle, options))
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
        if word_timestamps and not json_lines:
            for word in transcript.words:
                print(f"{word.start:9.2f} {word.end:9.2f} {word.confidence:6.2f}  {word.text}", flush=True)
    if failed:
        if len(files) > 1:
            print(f"asr: {failed} of {len(files)} files failed", file=sys.stderr)
        raise typer.Exit(1)


def require_model(model: str, option: str = "--model") -> str:
    """Return `model`, or refuse to guess one; `option` is how it is given.

    Raises
    ------
    UsageError
        If it is empty; the message lists the models that ship and what each is for.
    """
    if not model:
        from asr.transcription.bundle import list_shipped

        raise UsageError(f"{option} is missing: {list_shipped()}")
    return model
