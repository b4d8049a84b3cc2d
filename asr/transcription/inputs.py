"""What the command line names → the recordings to transcribe, and where their transcripts go."""

import errno
import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AsrError, UsageError
from asr.files import probe_folder, write_text
from asr.transcription.transcript import Transcript
from asr.transcription.writers import WRITERS

STANDARD_INPUT = "-"
# What a folder is searched for; a file that is named is read whatever its name.
AUDIO_SUFFIXES = frozenset(
    [
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".mpga", ".oga", ".ogg", ".opus", ".rf64", ".snd"),
        *(".sph", ".w64", ".wav", ".wave"),
        *(".3gp", ".aac", ".amr", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".weba", ".webm", ".wma"),
    ]
)
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
        Where it lies below the folder that was given, which its outputs repeat; empty for files that were named.
    """

    path: str
    folder: str = ""

    @property
    def stem(self) -> str:
        """The name of its outputs, without their suffix."""
        return "stdin" if self.path == STANDARD_INPUT else Path(self.path).stem

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
        """Write a recording's files, each whole or not at all; return what is wrong if one cannot be, else "".

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
                    raise AsrError(f"{message}; make room, and go on by --skip-existing") from None
                return message
        return ""

    def prepare(self, recordings: Sequence[Recording]) -> None:
        """Make the folder, and refuse what would go wrong later; remove what a killed job left.

        Raises
        ------
        UsageError
            If two recordings have the same output files, or the folder cannot be made or written to.
        """
        owners: dict[Path, list[str]] = defaultdict(list)
        for recording in recordings:
            owners[self.folder / recording.folder / recording.stem].append(recording.path)
        clashes = [f"{' and '.join(paths)} → {path}.*" for path, paths in owners.items() if len(paths) > 1]
        if clashes:
            more = f"; and {len(clashes) - 5} more" if len(clashes) > 5 else ""
            raise UsageError(
                f"inputs with the same name would overwrite each other's transcripts: {'; '.join(clashes[:5])}{more}: "
                "rename them, or transcribe them into different folders (--output-dir)"
            )
        make_folder(self.folder, "--output-dir")
        names = {path.name for recording in recordings for path in self.paths(recording).values()}
        for folder in {self.folder / recording.folder for recording in recordings}:
            if folder.is_dir():
                for path in folder.iterdir():
                    if (left := LEFTOVER.fullmatch(path.name)) and left[1] in names:
                        path.unlink(missing_ok=True)


def make_folder(folder: Path, option: str) -> None:
    """Make the folder that `option` gives, before any work is done for what cannot be written there.

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
            f"the output folder {folder} cannot be written to ({reason}); give another by {option}"
        ) from None


def find_recordings(given: Iterable[str], *, recursive: bool = False) -> list[Recording]:
    """Return the recordings that files, glob patterns, folders and "-" name, each once, in their order.

    Parameters
    ----------
    given : iterable of str
        Patterns are for shells that do not expand them. Files that do not exist are kept: reading them fails, and
        says so.
    recursive : bool
        Whether folders are searched with all that is below them.

    Raises
    ------
    UsageError
        If a folder holds no audio files, or nothing fits a pattern.
    """
    found: dict[str, Recording] = {}
    for text in given:
        for recording in _expand(text, recursive):
            found.setdefault(os.path.normpath(recording.path), recording)
    return list(found.values())


def _expand(text: str, recursive: bool) -> list[Recording]:
    if text == STANDARD_INPUT or os.path.isfile(text):
        return [Recording(text)]
    if os.path.isdir(text):
        return _in_folder(text, recursive)
    if not os.path.lexists(text) and glob.has_magic(text):
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise UsageError(f"no file fits {text!r}; expected at least one")
        return [recording for match in matches for recording in _expand(match, recursive)]
    return [Recording(text)]


def _in_folder(folder: str, recursive: bool) -> list[Recording]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        below = os.path.relpath(parent, folder)
        for name in sorted(names):
            # Other systems leave hidden companions beside audio files, by the same suffix.
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                found.append(Recording(os.path.join(parent, name), "" if below == os.curdir else below))
    if not found:
        hint = "" if recursive else "; --recursive searches the folders below it too"
        raise UsageError(f"the folder {folder} holds no audio files (*.wav, *.flac, *.mp3, …){hint}")
    return found
