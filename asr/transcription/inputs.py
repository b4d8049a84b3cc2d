"""The inputs on the command line → the recordings to transcribe, and the files for their transcripts."""

import errno
import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr.audio import AUDIO_SUFFIXES, AudioStream
from asr.console import printable
from asr.errors import AsrError, UsageError
from asr.files import probe_folder, shortened, write_text
from asr.transcription.transcript import Transcript
from asr.transcription.writers import WRITERS

STANDARD_INPUT = "-"
# What is wrong with one output is then wrong with all that follow.
NO_SPACE = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EROFS])
# What a process that was killed leaves of a file that it was writing; see `asr.files.atomic_path`.
LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")


@dataclass(frozen=True)
class Recording:
    """One input.

    Parameters
    ----------
    path : str
        The file, or "-" for the standard input.
    folder : str
        Its folder below the one that was given, which its outputs repeat; empty for files that were named.
    channel : int
        The channel to transcribe, counted from 1; 0 for all of them, mixed.
    is_alone : bool
        Whether that is the only channel of the file that is transcribed.
    """

    path: str
    folder: str = ""
    channel: int = 0
    is_alone: bool = True

    @property
    def stem(self) -> str:
        """The name of its outputs, without their suffix."""
        stem = "stdin" if self.path == STANDARD_INPUT else Path(self.path).stem
        return stem if self.is_alone else f"{stem}-channel{self.channel}"

    @property
    def title(self) -> str:
        """What is printed before its words."""
        return printable(self.path) + ("" if self.is_alone else f" (channel {self.channel})")

    @property
    def num_bytes(self) -> int:
        """The file's size; 0 where it has none."""
        try:
            return 0 if self.path == STANDARD_INPUT else os.path.getsize(self.path)
        except (OSError, ValueError):
            return 0


@dataclass(frozen=True)
class Outputs:
    """Where transcripts are written: a file for each of `formats` in `folder`."""

    folder: Path
    formats: tuple[str, ...]

    def paths(self, recording: Recording) -> dict[str, Path]:
        """Return format → file."""
        folder = self.folder / recording.folder
        return {name: folder / f"{recording.stem}.{name}" for name in self.formats}

    def are_there(self, recording: Recording) -> bool:
        """Tell whether all of a recording's files exist."""
        return all(path.is_file() for path in self.paths(recording).values())

    def write(self, recording: Recording, transcript: Transcript) -> str:
        """Write a recording's files, each whole or not at all; return the error if one cannot be written, else "".

        Raises
        ------
        AsrError
            If there is no space left, so that no other recording's files can be written.
        """
        for name, path in self.paths(recording).items():
            # A file's name need not be UTF-8, and stands in what is written.
            text = WRITERS[name](transcript, recording.stem).encode("utf-8", "backslashreplace").decode()
            try:
                write_text(path, text)
            except OSError as error:
                message = f"{recording.path}: {path} cannot be written ({error.strerror or error})"
                if error.errno in NO_SPACE:
                    raise AsrError(f"{message}; make room, and resume with --skip-existing") from None
                return message
        return ""

    def prepare(self, recordings: Sequence[Recording]) -> None:
        """Create the folder, refuse what would fail later, and remove what a killed job left.

        Raises
        ------
        UsageError
            If two recordings have the same output files, one of them would be overwritten by a transcript, or the
            folder cannot be made or written to.
        """
        self._spare(recordings)
        owners: dict[Path, list[str]] = defaultdict(list)
        for recording in recordings:
            owners[self.folder / recording.folder / recording.stem].append(recording.path)
        clashes = [
            f"{printable(' and '.join(paths))} → {printable(path)}.*"
            for path, paths in owners.items()
            if len(paths) > 1
        ]
        if clashes:
            more = f"; and {len(clashes) - 5} more" if len(clashes) > 5 else ""
            raise UsageError(
                f"inputs with the same name would overwrite each other's transcripts: {'; '.join(clashes[:5])}{more}: "
                "rename them, or transcribe them into different folders (--output-dir)"
            )
        make_folder(self.folder, "--output-dir")
        names = {shortened(path.name) for recording in recordings for path in self.paths(recording).values()}
        for folder in {self.folder / recording.folder for recording in recordings}:
            if folder.is_dir():
                for path in folder.iterdir():
                    if (left := LEFTOVER.fullmatch(path.name)) and left[1] in names:
                        path.unlink(missing_ok=True)

    def _spare(self, recordings: Sequence[Recording]) -> None:
        """Refuse outputs that are inputs, under whatever name."""
        inputs = {identity for recording in recordings if (identity := _identity(Path(recording.path)))}
        for recording in recordings:
            for path in self.paths(recording).values():
                if _identity(path) in inputs:
                    raise UsageError(
                        f"{printable(recording.path)}: its transcript would overwrite the input {printable(path)}; "
                        "give another folder with --output-dir, or other formats with --format"
                    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what is the same for all names of a file; None where there is no file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def make_folder(folder: Path, option: str) -> None:
    """Create the folder that `option` gives, before any work whose result could not be written there.

    Raises
    ------
    UsageError
        If it cannot be made or written to.
    """
    try:
        probe_folder(folder)
    except OSError as error:
        reason = "is a file" if isinstance(error, FileExistsError) else error.strerror or error
        raise UsageError(
            f"the output folder {folder} cannot be written to ({reason}); give another with {option}"
        ) from None


@dataclass
class Found:
    """The recordings that inputs name.

    Parameters
    ----------
    recordings : list of Recording
        Each once, in their order.
    failures : list of str
        Inputs that could not be searched, and why.
    notes : list of str
        Inputs that were skipped, and why.
    """

    recordings: list[Recording] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_recordings(given: Iterable[str], *, recursive: bool = False) -> Found:
    """Return the recordings that files, glob patterns, folders and "-" name.

    Parameters
    ----------
    given : iterable of str
        Patterns are for shells that do not expand them. Files that do not exist are kept, and names with brackets
        that no file fits: reading them fails, and says so.
    recursive : bool
        Whether folders are searched with all that is below them, except links to folders.

    Raises
    ------
    UsageError
        If a folder holds no audio files, or nothing fits a pattern with ``*`` or ``?``.
    """
    found = Found()
    for text in given:
        _expand(text, recursive, found)
    once = {os.path.normpath(recording.path): recording for recording in reversed(found.recordings)}
    found.recordings = list(once.values())[::-1]
    return found


def _expand(text: str, recursive: bool, found: Found) -> None:
    if os.path.isdir(text):
        _search(text, recursive, found)
        return
    if text != STANDARD_INPUT and not os.path.lexists(text) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if not matches and not set("*?").isdisjoint(text):
            raise UsageError(f"no file fits {text!r}; expected at least one")
        for match in matches:
            _expand(match, recursive, found)
        if matches:
            return
    found.recordings.append(Recording(text))


def _search(folder: str, recursive: bool, found: Found) -> None:
    known = len(found.recordings), len(found.failures), len(found.notes)

    def cannot_search(error: OSError) -> None:
        found.failures.append(f"{printable(error.filename)}: cannot be searched ({error.strerror or error})")

    for parent, folders, names in os.walk(folder, onerror=cannot_search):
        visible = sorted(name for name in folders if not name.startswith("."))
        for name in visible if recursive else []:
            if os.path.islink(path := os.path.join(parent, name)):
                found.notes.append(
                    f"{printable(path)}: is a link to a folder, and was not searched; name it to search it"
                )
        folders[:] = visible if recursive else []
        below = os.path.relpath(parent, folder)
        for name in sorted(names):
            # Other systems leave hidden companions beside audio files, by the same suffix.
            if Path(name).suffix.lower() not in AUDIO_SUFFIXES or name.startswith("."):
                continue
            path = os.path.join(parent, name)
            if os.path.exists(path) and not os.path.isfile(path):
                # Reading a pipe that nobody writes to would never end.
                found.notes.append(f"{printable(path)}: is not a regular file, and was skipped; name it to read it")
                continue
            found.recordings.append(Recording(path, "" if below == os.curdir else below))
    if known == (len(found.recordings), len(found.failures), len(found.notes)):
        hint = "" if recursive else "; --recursive also searches the folders below it"
        raise UsageError(f"the folder {folder} holds no audio files (*.wav, *.flac, *.mp3, …){hint}")


def by_channel(recordings: Iterable[Recording], channel: str) -> list[Recording]:
    """Return recordings with the channel to transcribe, or each channel as a recording of its own.

    Parameters
    ----------
    recordings : iterable of Recording
    channel : str
        A number from 1, ``each``, or empty: all channels are mixed.

    Raises
    ------
    UsageError
        If it is something else, or ``each`` of a source that can be read only once.
    """
    if not channel:
        return list(recordings)
    if channel != "each":
        if not (channel.isascii() and channel.isdigit() and int(channel)):
            raise UsageError(f"--channel: got {channel!r}; expected a number from 1, or each")
        return [replace(recording, channel=int(channel)) for recording in recordings]
    return [single for recording in recordings for single in _channels(recording)]


def _channels(recording: Recording) -> list[Recording]:
    if recording.path == STANDARD_INPUT or (os.path.exists(recording.path) and not os.path.isfile(recording.path)):
        raise UsageError(f"--channel each reads a file once for each channel: expected a file, not {recording.path}")
    try:
        with AudioStream(recording.path, 16_000) as audio:
            count = audio.num_channels
    except AsrError:
        # Told when its turn comes.
        return [recording]
    return [replace(recording, channel=number, is_alone=count == 1) for number in range(1, count + 1)]
