"""Audio → transcript."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioPart, AudioSource, Waveform
from asr.bundle.bundle import Bundle, Precision
from asr.bundle.runtime import Runtime, make_runtime
from asr.bundle.shipped import DEFAULT_MODEL
from asr.convert.opening import open_bundle
from asr.cores import num_cores
from asr.decoder import GreedyDecoder, Labels
from asr.errors import AsrError, DecodingError, UsageError, did_you_mean
from asr.tokenizer import BLANK
from asr.transcription.decoding import Decoder, DecodingKeywords, DecodingOptions, make_decoder
from asr.transcription.recognition import EndOfRecording, RecognisedPiece, Recogniser
from asr.transcription.stitching import Stitcher, Utterance
from asr.transcription.transcript import Alternative, Segment, Transcript

# Called with the index of a source, the share of it that is recognised, in 0..1, and how many seconds that is.
OnProgress = Callable[[int, float, float], None]


class Transcriber:
    """Recognises speech with one model; several threads may use it at a time.

    Parameters
    ----------
    model : Bundle, path or str
        A bundle, its directory, or the name of one that ships in the package.
    device : str
        "cpu" runs ONNX Runtime; "cuda", "cuda:1", … the GPU.
    threads : int
        Threads of the CPU; 0 means as many as there are cores.
    precision : {"float32", "int8"}
        int8 is faster on the CPU; LSTMs only.
    decoder : callable or DecodingOptions, optional
        ``(log_probs (T, V)) -> hypotheses, best first``, or the options to make one; by default greedy, or, for phones,
        a beam search.
    runtime : Runtime, optional
        Runs the network, instead of one made from `device`, `threads` and `precision`.

    Raises
    ------
    UsageError
        If there is no such model, device or precision.
    ModelError
        If the bundle is damaged.

    Examples
    --------
    >>> Transcriber("an4").transcribe("call.wav").text  # doctest: +SKIP
    'two five seven'
    """

    def __init__(
        self,
        model: Bundle | str | os.PathLike[str],
        *,
        device: str = "cpu",
        threads: int = 0,
        precision: Precision = "float32",
        decoder: Decoder | DecodingOptions | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.bundle = open_bundle(model)
        self._runtime: Runtime = runtime or make_runtime(self.bundle, device, threads, precision)
        self._threads = threads or num_cores()
        # What it is opened with again where it is unpickled.
        self._opened_with = None if runtime else (self.bundle, device, threads, precision, decoder)
        labels = Labels(self.bundle.tokenizer.tokens, BLANK)
        if decoder is None or isinstance(decoder, DecodingOptions):
            # Of phones, words come of a search by default.
            decoder = make_decoder(self.bundle, decoder or DecodingOptions())
        self._decoder = decoder
        frame_samples = self.bundle.frame_samples
        self._recogniser = Recogniser(
            self.bundle.front_end,
            self._runtime,
            lambda: Stitcher(labels, frame_samples, self.bundle.features.sample_rate),
            frame_samples,
            fills_dead_air=self.bundle.normalisation == "utterance",
            max_seconds=self.bundle.graph.max_seconds,
        )

    def with_decoder(self, decoder: Decoder) -> Self:
        """Return a recogniser with another decoder that shares this one's network."""
        other = copy(self)
        other._decoder = decoder
        other._opened_with = self._opened_with and (*self._opened_with[:-1], decoder)
        return other

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments with which the model was opened: the copy opens it again."""
        if self._opened_with is None:
            raise TypeError("a Transcriber that was given its runtime cannot be pickled: pickle its bundle")
        return _open, self._opened_with

    def transcribe(self, source: AudioSource | AudioPart, *, source_rate: int | None = None) -> Transcript:
        """Recognise one recording of any length, in bounded memory.

        Parameters
        ----------
        source : path, bytes, binary file object, Waveform, ndarray, or AudioPart
            As for `asr.load_audio`; an `AudioPart` selects a part, channels or a track.
        source_rate : int, optional
            The rate of an array in Hz.

        Raises
        ------
        AudioError
            If the source is not usable audio.
        MissingExtraError
            If its format needs PyAV and it is not installed.
        """
        (result,) = self.transcribe_many([source], source_rate=source_rate)
        if isinstance(result, AsrError):
            raise result
        return result

    def transcribe_many(
        self,
        sources: Iterable[AudioSource | AudioPart],
        *,
        source_rate: int | None = None,
        progress: OnProgress | None = None,
        on_segment: Callable[[int, Segment], None] | None = None,
    ) -> Iterator[Transcript | AsrError]:
        """Recognise recordings, batched together; yield for each its transcript, or the error that stopped it.

        Parameters
        ----------
        sources : iterable
            Each as for `transcribe`. They are read some minutes of audio ahead of the results.
        source_rate : int, optional
            The rate of arrays in Hz.
        progress : callable, optional
            ``(index of the source, fraction of it done, seconds of audio done)``.
        on_segment : callable, optional
            ``(index of the source, segment)``, as soon as each is recognised.

        Raises
        ------
        UsageError
            If `sources` is a single recording.
        """
        if isinstance(sources, str | bytes | os.PathLike | Waveform | np.ndarray | AudioPart):
            raise UsageError(f"sources is one {type(sources).__name__}; expected several, such as a list")
        segments: list[Segment] = []
        index, error = 0, None
        for window in self._recogniser.recognise(sources, source_rate):
            spoken = iter(self._decode([utterance for _, utterances in window for utterance in utterances]))
            for event, utterances in window:
                for result in (next(spoken) for _ in utterances):
                    if isinstance(result, AsrError):
                        error = error or result
                    elif result.words:
                        segments.append(result)
                        if on_segment:
                            on_segment(index, result)
                if isinstance(event, RecognisedPiece):
                    if progress and event.total_seconds:
                        seconds = event.piece.end / self.bundle.features.sample_rate
                        progress(index, min(1.0, seconds / event.total_seconds), seconds)
                    continue
                if progress:
                    progress(index, 1.0, event.duration_seconds)
                yield event.error or error or self._transcript(segments, event)
                segments, index, error = [], index + 1, None

    def log_probs(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return natural log-probabilities ``(T', V)`` of samples ``(num_samples,)`` at the model's rate, uncut."""
        return self._runtime([self._recogniser.features(samples)])[0]

    def utterances(
        self, source: AudioSource | AudioPart, *, source_rate: int | None = None
    ) -> tuple[list[Utterance], EndOfRecording]:
        """Return the utterances of a recording with their log-probabilities, as `transcribe` decodes them.

        Returns
        -------
        utterances : list of Utterance
        ending : EndOfRecording
            The duration of the recording, its warnings and its error.

        Raises
        ------
        AudioError
            If the source is not usable audio.
        """
        found: list[Utterance] = []
        ending = EndOfRecording(0.0, (), None)
        for window in self._recogniser.recognise([source], source_rate):
            for event, utterances in window:
                found += utterances
                if isinstance(event, EndOfRecording):
                    ending = event
        if ending.error is not None:
            raise ending.error
        return found, ending

    def _transcript(self, segments: list[Segment], ending: EndOfRecording) -> Transcript:
        return Transcript(tuple(segments), ending.duration_seconds, self.bundle.language, ending.warnings)

    def _decode(self, utterances: list[Utterance]) -> list[Segment | AsrError]:
        if self._threads == 1 or len(utterances) < 2 or isinstance(self._decoder, GreedyDecoder):
            return list(map(self._segment, utterances))
        # Beam search lets go of the interpreter's lock.
        with ThreadPoolExecutor(min(self._threads, len(utterances))) as pool:
            return list(pool.map(self._segment, utterances))

    def _segment(self, utterance: Utterance) -> Segment | AsrError:
        start, end = utterance.start_seconds, utterance.end_seconds
        try:
            best, *others = self._decoder(utterance.log_probs)
        except DecodingError as error:
            return error
        words = tuple(word.shifted(start, latest=end) for word in best.words)
        alternatives = tuple(Alternative(reading.text, reading.score) for reading in (best, *others) if others)
        return Segment(start, end, best.text, words, alternatives)


def _open(bundle: Bundle, device: str, threads: int, precision: Precision, decoder: Any) -> Transcriber:
    return Transcriber(bundle, device=device, threads=threads, precision=precision, decoder=decoder)


def load(
    model: str | os.PathLike[str] | Bundle = DEFAULT_MODEL,
    *,
    device: str = "cpu",
    threads: int = 0,
    precision: Precision = "float32",
    **decoding: Unpack[DecodingKeywords],
) -> Transcriber:
    """Open a model for recognising speech.

    Parameters
    ----------
    model : path or str
        A bundle's directory, or the name of one that ships in the package.
    device : str
        "cpu" runs ONNX Runtime; "cuda", "cuda:1", … the GPU.
    threads : int
        Threads of the CPU; 0 means as many as there are cores.
    precision : {"float32", "int8"}
        int8 is faster on the CPU; LSTMs only.
    **decoding
        The fields of `DecodingOptions`, such as ``beam_size=100, hotwords=["fort worth"]``.

    Raises
    ------
    UsageError
        If there is no such model, device, precision or option, or options contradict each other.
    ModelError
        If the bundle is damaged.
    DecodingError
        If the language model or the lexicon cannot be read, or does not fit the model's alphabet.

    Examples
    --------
    >>> asr.load("an4").transcribe("call.wav").text  # doctest: +SKIP
    'two five seven'
    """
    known = DecodingKeywords.__annotations__
    for name in decoding:
        if name not in known:
            raise UsageError(f"unknown option {name!r}{did_you_mean(name, known)}; expected one of {', '.join(known)}")
    return Transcriber(model, device=device, threads=threads, precision=precision, decoder=DecodingOptions(**decoding))
