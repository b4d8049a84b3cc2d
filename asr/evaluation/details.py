"""What a report shows of single utterances: a picture of the features, the times of the words, and the sound."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import load_audio
from asr.bundle.bundle import Bundle
from asr.bundle.runtime import Runtime
from asr.decoder import Word
from asr.errors import AsrError, DataError, DecodingError, UsageError
from asr.evaluation.results import Evaluation
from asr.interrupts import interrupts_wait
from asr.preparation.parsing import audio_in
from asr.store.checking import Store
from asr.store.source import Source
from asr.store.store import AudioStore
from asr.transcription.aligning import align_words

# A picture has no more columns than this: frames of long utterances are drawn together, the strongest of each.
MAX_COLUMNS = 1200
# Levels of grey: more would not be seen, and would compress worse.
LEVELS = 64
# Sound in a report is MP3 at this rate, which every browser plays, in about 4 KB a second.
SOUND_RATE_HZ = 16_000


@dataclass(frozen=True)
class Detail:
    """One utterance at close range.

    Parameters
    ----------
    index : int
        Its place in the evaluation.
    picture : ndarray, shape (n_mels, columns), uint8
        Levels 0 to `LEVELS` - 1; the highest band first.
    reference_words : tuple of Word
        The reference by forced alignment, times in seconds; empty where it cannot be aligned.
    sound : bytes
        MP3; empty where there is none.
    """

    index: int
    picture: NDArray[np.uint8]
    reference_words: tuple[Word, ...]
    sound: bytes


def worst(evaluation: Evaluation, count: int) -> list[int]:
    """Return the places of the `count` utterances with the most word errors, the worst first."""
    order = sorted(
        range(len(evaluation.utterances)),
        key=lambda index: (
            -evaluation.utterances[index].words.errors,
            -evaluation.utterances[index].characters.errors,
            index,
        ),
    )
    return order[:count]


class Details:
    """Makes details of a store's utterances.

    Parameters
    ----------
    store : FeatureStore or AudioStore
        That was evaluated.
    bundle : Bundle
    runtime : Runtime
    audio : Path, optional
        A folder of recordings, for a feature store, which has none itself.

    Raises
    ------
    UsageError
        If `audio` is not a folder.
    """

    def __init__(self, store: Store, bundle: Bundle, runtime: Runtime, audio: Path | None = None) -> None:
        self._store, self._bundle, self._runtime = store, bundle, runtime
        self._recordings = Recordings(audio) if audio is not None else None

    def __call__(self, index: int) -> Detail:
        """Return the details of utterance `index` of the store."""
        features = self._bundle.front_end.stored(self._store, index)
        return Detail(index, picture(features), self._align(features, self._store.texts[index]), self._sound(index))

    def _align(self, features: NDArray[Any], reference: str) -> tuple[Word, ...]:
        log_probs = self._runtime([features])[0]
        try:
            return align_words(log_probs, reference, self._bundle.tokenizer, self._bundle.frame_seconds)
        except (DecodingError, DataError):
            # Characters that the model cannot write, no characters, or more of them than frames.
            return ()

    def _sound(self, index: int) -> bytes:
        try:
            if isinstance(self._store, AudioStore):
                stored = self._store[index]
                return mp3(load_audio(stored.samples, SOUND_RATE_HZ, source_rate=stored.sample_rate).samples)
            if self._recordings is not None:
                seconds = float(self._store.durations_seconds[index])
                return self._recordings.read(self._store.ids[index], self._store.sources[index], seconds)
        except AsrError:
            # A report without a sound is better than none.
            pass
        return b""


class Recordings:
    """Finds the recordings of utterances in a folder, whatever their format.

    Raises
    ------
    UsageError
        If it is not a folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; expected one with the recordings of the test set")
        self._folder = folder
        self._stems: dict[str, list[Path]] = {}
        for path in audio_in(folder):
            self._stems.setdefault(path.stem, []).append(path)

    def find(self, id: str, source: str) -> tuple[Path, float] | None:
        """Return the file of an utterance and where in it the utterance begins, in seconds; None if there is none.

        It looks, in this order, for the store's `source` below the folder, for a file of its stem anywhere below, and
        for a file whose stem is `id` and which holds only this utterance. Joined recordings and those at another speed
        are not found.
        """
        parsed = Source.parse(source)
        if len(parsed.files) == 1 and parsed.speed == 1.0:
            path = self._folder / parsed.files[0]
            if path.is_file():
                return path, parsed.start_seconds
            candidates = self._stems.get(Path(parsed.files[0]).stem, [])
            if len(candidates) == 1:
                return candidates[0], parsed.start_seconds
        candidates = self._stems.get(id, [])
        return (candidates[0], 0.0) if len(candidates) == 1 else None

    def read(self, id: str, source: str, seconds: float) -> bytes:
        """Return `seconds` of the recording as MP3; empty if it is not found.

        Raises
        ------
        AsrError
            If it cannot be read.
        """
        found = self.find(id, source)
        if found is None:
            return b""
        path, start = found
        return mp3(load_audio(path, SOUND_RATE_HZ, start_seconds=start, end_seconds=start + seconds).samples)


def mp3(samples: NDArray[np.float32]) -> bytes:
    """Return samples ``(num_samples,)`` at `SOUND_RATE_HZ` as an MP3 file."""
    import soundfile

    buffer = io.BytesIO()
    with interrupts_wait():
        soundfile.write(buffer, np.clip(samples, -1, 1), SOUND_RATE_HZ, format="MP3")
    return buffer.getvalue()


def picture(features: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return features ``(T, F)`` as a picture ``(F, columns)`` uint8, the highest band first."""
    values = features.astype(np.float32)
    step = -(-len(values) // MAX_COLUMNS)
    starts = np.arange(0, len(values), step)
    pooled = np.maximum.reduceat(values, starts, axis=0)
    low, high = np.percentile(pooled, (1, 99.7))
    scaled = (pooled - low) / max(high - low, 1e-6) * (LEVELS - 1)
    levels: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, LEVELS - 1).astype(np.uint8).T[::-1]
    return levels


def without_sound(details: Sequence[Detail]) -> int:
    """Return how many of `details` have no sound."""
    return sum(not detail.sound for detail in details)
