"""Read a store: memory-mapped Arrow shards, each opened when one of its utterances is first asked for."""

import hashlib
import io
import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from asr.errors import DataError
from asr.settings import to_dict
from asr.store.columns import Strings, chunk_of, read_arrow
from asr.store.layout import FILTERBANK, INDEX, Kind, StoreHeader, file_checksum, read_header
from asr.store.remote import Place, locate

U = TypeVar("U")


@dataclass(frozen=True)
class StoredUtterance:
    """An utterance of a feature store.

    Parameters
    ----------
    id : str
    features : ndarray, shape (num_frames, n_mels), float16
        A read-only view of the memory-mapped file.
    text : str
        Normalised transcript.
    speaker : str
        Empty if unknown.
    duration_seconds : float
    source : str
        The recordings, and how they were changed: see `asr.store.source.Source`.
    """

    id: str
    features: NDArray[np.float16]
    text: str
    speaker: str
    duration_seconds: float
    source: str


@dataclass(frozen=True)
class StoredAudio:
    """An utterance, or a noise, of an audio store; as `StoredUtterance`, with waveforms instead of features.

    Parameters
    ----------
    samples : ndarray, shape (num_samples,), int16
        A read-only view of the memory-mapped file; full scale is 32,768.
    sample_rate : int
        In Hz.
    """

    id: str
    samples: NDArray[np.int16]
    sample_rate: int
    text: str
    speaker: str
    duration_seconds: float
    source: str

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The samples ``(num_samples,)`` in [-1, 1]."""
        return self.samples * np.float32(1 / 32_768)


class _Store(Sequence[U], Generic[U]):
    """What feature and audio stores have in common."""

    kind: Kind

    def __init__(self, place: Place, header: StoreHeader, index: Any) -> None:
        self.path = place.folder
        self._place = place
        self.config = header.features
        self.corpus, self.version, self.split = header.corpus, header.version, header.split
        self.header = header
        self.parts: tuple[_Store[U], ...] = (self,)
        self._index = index
        self._places = [place] * len(header.shards)
        self._ends = np.cumsum([shard.utterances for shard in header.shards], dtype=np.int64).tolist()
        self._shards: dict[int, tuple[list[int], list[Payload]]] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the store of one split in folder `path`, or at an address: see `asr.store.remote`.

        Only its index is mapped; shards follow as they are needed.

        Raises
        ------
        DataError
            If it is missing or incomplete, its index does not fit, or it holds the other kind of data.
        MissingExtraError
            If pyarrow is not installed.
        """
        place = locate(path)
        return cls._open(place, read_header(place.folder))

    @classmethod
    def _open(cls, place: Place, header: StoreHeader) -> Self:
        folder = place.folder
        if header.kind != cls.kind:
            other = {"features": "FeatureStore", "audio": "AudioStore"}[header.kind]
            raise DataError(f"{folder}: holds {header.kind}; expected {cls.kind}: open it with {other}.open")
        try:
            index = read_arrow(folder / INDEX)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{folder / INDEX}: cannot be read ({error}): prepare the corpus again with --force"
            ) from None
        if len(index) != header.utterances:
            raise DataError(
                f"{folder / INDEX}: lists {len(index)} utterances; store.json says {header.utterances}: "
                "the folder mixes two preparations: prepare the corpus again with --force"
            )
        return cls(place, header, index)

    @classmethod
    def join(cls, stores: Sequence[Self]) -> Self:
        """Return one store with the utterances of `stores`, in their order; nothing is read or copied.

        Their features must be the same (`asr.store.checking.check_same_features`). Path and header are those of the
        first, which says nothing of the others but their shards; `parts` has all of them.
        """
        if len(stores) == 1:
            return stores[0]
        import pyarrow as pa

        first = stores[0]
        shards = [shard for store in stores for shard in store.header.shards]
        index = pa.concat_tables([store._index for store in stores], promote_options="default")
        joined = cls(first._place, replace(first.header, utterances=len(index), shards=tuple(shards)), index)
        joined.parts = tuple(stores)
        joined.corpus = ", ".join(dict.fromkeys(store.corpus for store in stores))
        joined._places = [place for store in stores for place in store._places]
        return joined

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @cached_property
    def num_frames(self) -> NDArray[np.int32]:
        """Feature frames of each utterance, ``(N,)`` int32 (in an audio store: that the configuration would give)."""
        frames: NDArray[np.int32] = self._index.column("num_frames").to_numpy()
        return frames

    @cached_property
    def durations_seconds(self) -> NDArray[np.float64]:
        """Duration of each utterance, ``(N,)`` float64."""
        seconds: NDArray[np.float64] = self._index.column("duration_seconds").to_numpy()
        return seconds

    @property
    def hours(self) -> float:
        """Audio in hours."""
        return float(self.durations_seconds.sum() / 3600)

    @cached_property
    def ids(self) -> Strings:
        """Id of each utterance."""
        return self._strings("id")

    @cached_property
    def texts(self) -> Strings:
        """Transcript of each utterance."""
        return self._strings("text")

    @cached_property
    def speakers(self) -> Strings:
        """Speaker of each utterance; empty if unknown."""
        return self._strings("speaker")

    def _strings(self, name: str) -> Strings:
        return Strings(self._index, name, [part.path / INDEX for part in self.parts])

    @cached_property
    def disagreements(self) -> NDArray[np.float32]:
        """How much the machines that wrote each transcript differ, ``(N,)`` float32; 0 for people's transcripts."""
        if "disagreement" not in self._index.column_names:
            return np.zeros(len(self), dtype=np.float32)
        # Of joined stores, some may not have it: there it is not a number.
        values: NDArray[np.float32] = self._index.column("disagreement").to_numpy()
        return np.nan_to_num(values, nan=0.0)

    @cached_property
    def sources(self) -> Strings:
        """Source of each utterance, see `StoredUtterance`."""
        return self._strings("source")

    @overload
    def __getitem__(self, index: int) -> U: ...
    @overload
    def __getitem__(self, index: slice) -> list[U]: ...
    def __getitem__(self, index: int | slice) -> U | list[U]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, row = chunk_of(self._ends, index, len(self))
        ends, payloads = self._shard(number)
        batch, row = chunk_of(ends, row, ends[-1])
        facts = {
            "id": self.ids[index],
            "text": self.texts[index],
            "speaker": self.speakers[index],
            "duration_seconds": float(self.durations_seconds[index]),
            "source": self.sources[index],
        }
        return self._utterance(payloads[batch][row], facts)

    @abstractmethod
    def _utterance(self, payload: NDArray[Any], facts: dict[str, Any]) -> U: ...

    @staticmethod
    @abstractmethod
    def _payload(batch: Any) -> "Payload": ...

    @property
    def identity(self) -> list[Any]:
        """What identifies the content, for JSON: feature settings and checksums of the shards."""
        if len(self.parts) > 1:
            return [part.identity for part in self.parts]
        shards: list[Any] = [to_dict(self.config), [asdict(shard) for shard in self.header.shards]]
        # It stands in the index alone.
        if self.disagreements.any():
            shards.append(hashlib.sha256(self.disagreements.tobytes()).hexdigest())
        return shards

    @cached_property
    def filterbank(self) -> NDArray[np.float32]:
        """The mel filters of the features, ``(n_mels, window_samples // 2 + 1)`` float32."""
        path = self.path / FILTERBANK
        try:
            filters: NDArray[np.float32] = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        # NumPy evaluates the header of a damaged file, and raises whatever that does.
        except Exception as error:
            raise DataError(f"{path}: cannot be read ({error}): prepare the corpus again with --force") from None
        return filters

    def verify(self) -> None:
        """Read every shard and compare its checksum.

        Raises
        ------
        DataError
            If one is missing or its content has changed.
        """
        for place, shard in zip(self._places, self.header.shards, strict=True):
            path = place.shard(shard)
            if not path.exists():
                raise DataError(f"{path}: is missing: run the preparation again with --force")
            if file_checksum(path) != shard.sha256:
                raise DataError(
                    f"{path}: its checksum has changed since it was written: run the preparation again with --force"
                )

    def _shard(self, number: int) -> tuple[list[int], list["Payload"]]:
        """Return the row at which each record batch of a shard ends, and their payloads; the index has all else."""
        if number not in self._shards:
            path = self._places[number].shard(self.header.shards[number])
            try:
                batches = read_arrow(path).to_batches()
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: cannot be read ({error}): prepare the corpus again with --force") from None
            ends = np.cumsum([len(batch) for batch in batches]).tolist()
            self._shards[number] = ends, [self._payload(batch) for batch in batches]
        return self._shards[number]


@dataclass(frozen=True)
class Payload:
    """The features or samples of a record batch, as views of the mapped file: row r is between two offsets."""

    offsets: NDArray[np.int32]
    values: NDArray[Any]

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class FeatureStore(_Store[StoredUtterance]):
    """Log-mel features and transcripts of one split of a corpus; a sequence of `StoredUtterance`.

    Attributes
    ----------
    config : LogMelConfig
        What the features are.
    corpus, version, split : str
    header : StoreHeader
        All of ``store.json``: licence, shards with checksums, totals.
    """

    kind = "features"

    @staticmethod
    def _payload(batch: Any) -> Payload:
        column = batch.column("features")
        frames = column.values
        # The values buffer without the list's own offset: a view of the mapped file.
        values = frames.values.to_numpy(zero_copy_only=True).reshape(-1, frames.type.list_size)
        return Payload(column.offsets.to_numpy(), values[frames.offset :])

    def _utterance(self, payload: NDArray[Any], facts: dict[str, Any]) -> StoredUtterance:
        return StoredUtterance(features=payload, **facts)


class AudioStore(_Store[StoredAudio]):
    """Waveforms with transcripts (or none: noise, impulse responses); a sequence of `StoredAudio`."""

    kind = "audio"

    @staticmethod
    def _payload(batch: Any) -> Payload:
        column = batch.column("samples")
        return Payload(column.offsets.to_numpy(), column.values.to_numpy(zero_copy_only=True))

    def _utterance(self, payload: NDArray[Any], facts: dict[str, Any]) -> StoredAudio:
        return StoredAudio(samples=payload, sample_rate=self.config.sample_rate, **facts)


def open_store(path: str | os.PathLike[str]) -> FeatureStore | AudioStore:
    """Open a store of either kind, in a folder or at an address. Raises as `FeatureStore.open`."""
    place = locate(path)
    header = read_header(place.folder)
    return FeatureStore._open(place, header) if header.kind == "features" else AudioStore._open(place, header)
