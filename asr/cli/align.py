"""``asr align``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from asr.cli import options
from asr.errors import DataError


def align(
    audio: Annotated[Path, typer.Argument(help="An audio file: wav, flac, ogg, mp3, sph, …")],
    text: Annotated[
        Path,
        typer.Argument(help="A file with the complete, normalised transcript, also compressed; - for stdin."),
    ],
    model: options.Model = "",
    device: options.Device = "cpu",
    threads: options.Threads = 0,
    as_json: options.AsJson = False,
) -> None:
    """Find when each word of a known transcript was said.

    Prints one line per word: start and end in seconds, confidence from 0 to 1, word; separated by tabs.
    """
    from asr.cli.transcribe import print_json
    from asr.console import printable

    model = options.require_model(model)
    transcript_text = read_text(text)
    from asr.transcription.aligning import align_audio
    from asr.transcription.transcribe import Transcriber

    transcript = align_audio(Transcriber(model, device=device, threads=threads), audio, transcript_text)
    if as_json:
        print_json({"file": str(audio), **transcript.to_dict()})
    else:
        for word in transcript.words:
            print(f"{word.start_seconds:.3f}\t{word.end_seconds:.3f}\t{word.confidence:.4f}\t{word.text}")
    # Last, where a screenful of words does not hide them.
    sys.stdout.flush()
    for warning in transcript.warnings:
        print(f"asr: warning: {printable(warning)}", file=sys.stderr)


def read_text(path: Path) -> str:
    """Return a file's text, or that of the standard input for ``-``, plain or packed (see `asr.files.unpacked`).

    Raises
    ------
    DataError
        If the file does not exist, is damaged, or is not UTF-8.
    """
    from asr import files

    if str(path) == "-" and sys.stdin is None:
        raise DataError("the standard input is closed, so the text cannot be read from it; give a file")
    name = "the standard input" if str(path) == "-" else str(path)
    try:
        return files.read_text(sys.stdin.buffer if str(path) == "-" else path)
    except OSError as error:
        raise DataError(
            f"cannot read {name}: {error.strerror or error}; TEXT is a file, or - for words on the standard input"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 (byte {error.start}); convert it, for instance with iconv") from None
