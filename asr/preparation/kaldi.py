"""Rows out of Kaldi's data directories, whose ``wav.scp`` may name commands: their files are read, nothing is run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr.errors import DataError
from asr.preparation.parsing import read_lines

# Options that change the form of audio alone, with how many values each has.
KALDI_OPTIONS: dict[str, dict[str, int]] = {
    "sph2pipe": {"-f": 1, "-p": 0, "-c": 1, "-u": 0, "-a": 0, "-r": 0, "-w": 0},
    "sox": {"-t": 1, "-r": 1, "-b": 1, "-c": 1, "-e": 1, "-G": 0, "-R": 0, "-V": 0, "-V0": 0, "-V1": 0, "-q": 0,
            "-D": 0, "--norm": 0, "-v": 1, "-L": 0, "-2": 0, "-s": 0},
    "flac": {"-c": 0, "-d": 0, "-s": 0, "-dc": 0, "-cd": 0, "-dcs": 0, "-cds": 0, "-scd": 0, "-csd": 0, "-sdc": 0,
             "-dsc": 0, "--stdout": 0, "--decode": 0, "--silent": 0, "--totally-silent": 0},
    "ffmpeg": {"-i": 0, "-f": 1, "-ar": 1, "-ac": 1, "-acodec": 1, "-c:a": 1, "-codec:a": 1, "-loglevel": 1, "-v": 1,
               "-nostdin": 0, "-hide_banner": 0, "-y": 0, "-vn": 0, "-threads": 1, "-ab": 1, "-sample_fmt": 1},
    "cat": {},
}  # fmt: skip
KALDI_LEVELS = ("rate", "channels", "gain", "norm", "dither", "vol")


def _kaldi_place(folder: Path, place: str) -> str:
    """Return an absolute path: Kaldi's are relative to where its scripts run, above the data directory or far off."""
    found = [parent / place for parent in (folder, folder.parent, Path.cwd()) if (parent / place).exists()]
    return str((found[0] if found else folder / place).absolute())


def _kaldi(path: Path) -> dict[str, str]:
    pairs = (line.split(maxsplit=1) for line in read_lines(path))
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}


# wav.scp, text, utt2spk, segments:
# rec1 /corpus/rec1.wav
# utt1 so it is
# utt1 speaker1
# utt1 rec1 0.50 3.20
def kaldi_directory(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the utterances of a Kaldi data directory; of commands in ``wav.scp`` the file is read, nothing is run."""
    recordings: dict[str, dict[str, Any]] = {}
    for name, place in _kaldi(folder / "wav.scp").items():
        command = kaldi_command(place) if place.endswith("|") else {"audio": place}
        if isinstance(command, str):
            raise DataError(
                f"{folder / 'wav.scp'}: {name} is a command, {place[:60]!r}, {command}; run it once and name its "
                "output: nothing is run from data files"
            )
        recordings[name] = {**command, "audio": _kaldi_place(folder, command["audio"])}
    speakers = _kaldi(folder / "utt2spk") if (folder / "utt2spk").exists() else {}
    segments = _kaldi(folder / "segments") if (folder / "segments").exists() else None
    for line in read_lines(folder / "text"):
        name, _, text = line.replace("\t", " ").partition(" ")
        row: dict[str, Any] = {"id": name, "text": text, "speaker": speakers.get(name, "")}
        recording = name
        if segments is not None:
            try:
                recording, start, end = segments[name].split()
                row |= {"start": float(start), "duration": float(end) - float(start)}
            except (KeyError, ValueError):
                raise DataError(f"{folder / 'segments'}: has no '{name} RECORDING START END'") from None
        if recording not in recordings:
            raise DataError(f"{folder / 'wav.scp'}: has no {recording!r}, which text or segments name")
        yield {**row, **recordings[recording]}


# sph2pipe -f wav -p -c 1 /corpus/a.sph | sox -t wav - -r 8000 -t wav - |
def kaldi_command(text: str) -> dict[str, Any] | str:
    """Return the ``audio`` file that a command in ``wav.scp`` reads, and its ``channels`` (from 0) if it takes one.

    Known are ``sph2pipe``, ``sox``, ``flac``, ``ffmpeg`` and ``cat`` that change the format, the rate or the level, as
    reading the file does. Of others what is in the way is returned.
    """
    try:
        commands = [shlex.split(part) for part in text.rstrip("| ").split("|")]
    except ValueError as error:
        return f"that cannot be read ({error})"
    found: dict[str, Any] = {}
    for words in commands:
        program = Path(words[0]).name if words else ""
        if program not in KALDI_OPTIONS:
            return f"of a program other than {', '.join(KALDI_OPTIONS)}"
        files, words = [], words[1:]
        while words:
            word = words.pop(0)
            if word in KALDI_OPTIONS[program]:
                values = [words.pop(0) for _ in range(min(len(words), KALDI_OPTIONS[program][word]))]
                if word == "-c" and program == "sph2pipe":
                    found["channels"] = (int(values[0]) - 1,) if values and values[0] in ("1", "2") else ()
            elif word == "remix" and program == "sox" and len(words) == 1 and words[0].isdigit():
                found["channels"] = (int(words.pop(0)) - 1,)
            elif word in KALDI_LEVELS and program == "sox":
                words = [value for value in words if not re.fullmatch(r"-?[\d.]+[kK]?|-[a-zA-Z]+", value)]
            elif word.startswith("-") and word != "-":
                return f"with the option {word} of {program}, which changes the audio"
            else:
                files.append(word)
        inputs = [file for file in files if file not in ("-", "pipe:", "pipe:1", "pipe:0", "/dev/stdin", "/dev/stdout")]
        if len(inputs) > 1 or (inputs and "audio" in found):
            return f"with {inputs[min(1, len(inputs) - 1)]!r}, which changes the audio"
        if inputs:
            found["audio"] = inputs[0]
    return found if "audio" in found else "that names no file"
