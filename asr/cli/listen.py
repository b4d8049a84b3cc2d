"""``asr listen``."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asr.bundle.shipped import DEFAULT_MODEL
from asr.cli import options
from asr.cli.printers import JsonPrinter, PlainPrinter, Printer, TerminalPrinter
from asr.errors import AudioError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asr.live import Event, Listener, LiveModel
    from asr.live.microphone import Microphone
    from asr.live.pipe import Pipe
    from asr.live.saving import UtteranceFiles

STANDARD_INPUT = "-"
# So much of what a microphone gave, taken at once, is worth a word.
BEHIND_SECONDS = 1.0


@options.grouped
def listen(
    source: Annotated[str, typer.Argument(metavar="[-]", help="- for the standard input; else the microphone.")] = "",
    model: options.Model = DEFAULT_MODEL,
    device: Annotated[str, typer.Option(help="Number of the microphone, or part of its name.")] = "",
    devices: Annotated[bool, typer.Option("--devices", help="List the microphones, and exit.")] = False,
    rate: Annotated[int | None, typer.Option(help="Sample rate of raw samples on the standard input, in Hz.")] = None,
    format: Annotated[
        Literal["s16le", "s32le", "f32le"] | None,
        typer.Option(help="Format of raw samples on the standard input.", show_default="s16le"),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels of raw samples on the standard input.")] = 1,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write sound (wav) and transcript (json, srt) of each utterance.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
    pause: options.Pause = options.PAUSE_SECONDS,
    longest: options.Longest = options.LONGEST_SECONDS,
    chunk: options.Chunk = None,
    context: options.Context = options.CONTEXT_SECONDS,
    threads: options.Threads = 1,
    *,
    decoding: options.Decoding,
) -> None:
    """Print words while they are spoken, from the microphone or a pipe; stop with Ctrl-C.

    asr listen --model exp/digits_streaming/bundle

    ffmpeg -loglevel error -i radio.mp3 -f wav - | asr listen - --model exp/digits_streaming/bundle

    The microphone needs pip install 'ctc-asr[live]'. On a terminal, words that may still change are dimmed; elsewhere
    only final words are printed. Each utterance is one line.
    """
    if devices:
        _print_devices()
        return
    if source not in ("", STANDARD_INPUT):
        raise UsageError(f"got {source!r}; expected - or nothing: files are for asr transcribe --streaming")
    is_piped = source == STANDARD_INPUT
    if not is_piped and (rate is not None or format is not None or channels != 1):
        raise UsageError("--rate, --format and --channels are for raw samples on the standard input: give - too")
    if is_piped and device:
        raise UsageError("--device is for the microphone: leave it out, or leave out -")
    if is_piped and rate is None and (format is not None or channels != 1):
        raise UsageError("--rate is missing: raw samples do not state it (only a WAV header does)")
    loaded = options.live_model(model, decoding.options(), chunk, context, pause, longest, threads)
    if is_piped:
        _listen(loaded, _pipe(rate, format or "s16le", channels), save, as_json=as_json)
        return
    from asr.live.microphone import Microphone, find_device

    with Microphone(find_device(device)) as microphone:
        print(f"asr: listening to {microphone.device.name}; stop with Ctrl-C", file=sys.stderr)
        _listen(loaded, microphone, save, as_json=as_json)


def _pipe(rate: int | None, format: Literal["s16le", "s32le", "f32le"], channels: int) -> "Pipe":
    from asr.console import is_terminal
    from asr.live.pipe import Layout, Pipe

    if sys.stdin is None or is_terminal(sys.stdin):
        raise UsageError("the standard input is not a pipe; expected audio, as in: ffmpeg … -f wav - | asr listen -")
    return Pipe(sys.stdin.buffer, None if rate is None else Layout(rate, format, channels))


def _print_devices() -> None:
    from asr.console import printable
    from asr.live.microphone import input_devices

    found = input_devices()
    for device in found:
        mark = "*" if device.is_default else " "
        channels = f"{device.num_channels} channel{'s' if device.num_channels > 1 else ''}"
        print(f"{mark} {device.number:>3}  {printable(device.name)}  ({channels}, {device.sample_rate} Hz)")
    if not found:
        print("asr: no microphone was found", file=sys.stderr)


def _listen(model: "LiveModel", source: "Microphone | Pipe", folder: Path | None, *, as_json: bool) -> None:
    """Print the events of a source until it ends, or Ctrl-C ends it, with all that was said until then."""
    from asr.console import is_terminal
    from asr.live import Listener
    from asr.live.saving import UtteranceFiles

    if sys.stdout is None:
        raise UsageError("the standard output is closed, so words cannot be printed")
    listener = Listener(model, sample_rate=source.sample_rate)
    files = UtteranceFiles(folder, source.sample_rate) if folder else None
    printer: Printer = JsonPrinter() if as_json else TerminalPrinter() if is_terminal(sys.stdout) else PlainPrinter()
    failure: AudioError | None = None
    num_lost = 0
    with printer:
        try:
            for samples in until_interrupted(source):
                num_lost = _warn(source, len(samples), num_lost)
                _hear(listener, samples, files, printer)
        except AudioError as error:
            failure = error
        _show(listener.close(), files, printer)
    if failure is not None:
        raise failure


def _warn(source: "Microphone | Pipe", num_samples: int, was_lost: int) -> int:
    """Say that the machine is behind a microphone, or that sound was lost; return how often that has been the case."""
    from asr.live.microphone import Microphone

    if not isinstance(source, Microphone):
        return 0
    if (seconds := num_samples / source.sample_rate) > BEHIND_SECONDS:
        print(f"asr: {seconds:.1f} s behind; words come late, but none are lost", file=sys.stderr)
    if source.num_lost > was_lost:
        print("asr: the system has lost some sound: the machine is too busy", file=sys.stderr)
    return source.num_lost


def _hear(
    listener: "Listener", samples: "NDArray[np.float32]", files: "UtteranceFiles | None", printer: "Printer"
) -> None:
    if files:
        files.push(samples)
    _show(listener.push(samples), files, printer)
    if files:
        files.forget(listener.utterance_start)


def _show(events: "Sequence[Event]", files: "UtteranceFiles | None", printer: "Printer") -> None:
    from asr.live import EndOfUtterance

    printer.show(events)
    for event in events:
        if files and isinstance(event, EndOfUtterance):
            files.write(event)


@contextmanager
def _on_interrupt(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def until_interrupted(source: "Microphone | Pipe") -> "Iterator[NDArray[np.float32]]":
    """Yield what a source gives; Ctrl-C ends it, but not within what is done with a chunk: that is completed first."""
    is_waiting = is_ended = False

    def end(_signal: int, _frame: Any) -> None:
        nonlocal is_ended
        if is_waiting or is_ended:  # A second Ctrl-C does not wait.
            raise KeyboardInterrupt
        is_ended = True

    chunks = iter(source)
    with _on_interrupt(end):
        while not is_ended:
            try:
                is_waiting = True
                chunk = next(chunks, None)
                is_waiting = False
            except KeyboardInterrupt:
                return
            if chunk is None:
                return
            yield chunk
