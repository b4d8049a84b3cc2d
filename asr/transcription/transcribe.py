"""Audio → transcript: load, cut, features, log-probabilities, decode."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioSource, load_audio
from asr.decoder import GreedyDecoder, Hypothesis
from asr.tokenizer import BLANK
from asr.transcription.bundle import Bundle
from asr.transcription.runtime import Runtime, make_runtime
from asr.transcription.segments import fill_dead_air, speech_spans
from asr.transcription.transcript import Segment, Transcript, Word

Decoder = Callable[[NDArray[Any]], Sequence[Hypothesis]]


class Transcriber:
    """Recognises speech with one model.

    Parameters
    ----------
    model : Bundle, path or str
        A bundle, its directory, or the name of one that ships in the package.
    device : str
        "cpu" runs ONNX Runtime; "cuda", "cuda:1", … run torch.
    threads : int
        Threads of the CPU; 0 leaves the number to ONNX Runtime.
    decoder : callable, optional
        ``(log_probs (T, V)) -> hypotheses, best first``; greedy by default.

    Raises
    ------
    UsageError
        If there is no such model or device.
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
        decoder: Decoder | None = None,
    ) -> None:
        self.bundle = model if isinstance(model, Bundle) else Bundle.load(model)
        self._log_mel = self.bundle.log_mel
        self._runtime: Runtime = make_runtime(self.bundle, device, threads)
        self._decoder = decoder or GreedyDecoder(
            self.bundle.tokenizer.tokens, blank=BLANK, frame_seconds=self.bundle.frame_seconds
        )

    def transcribe(self, source: AudioSource, source_rate: int | None = None) -> Transcript:
        """Return what is said in `source`.

        Parameters
        ----------
        source : path, bytes, binary file object, or ndarray
            As `asr.audio.load_audio` reads it.
        source_rate : int, optional
            The rate of an array in Hz.

        Raises
        ------
        AudioError
            If the source is not usable audio.
        """
        waveform = load_audio(source, self.bundle.features.sample_rate, source_rate=source_rate)
        segments = [
            self._segment(waveform.samples[first:end], first / waveform.sample_rate)
            for first, end in speech_spans(waveform.samples, waveform.sample_rate)
        ]
        return Transcript(tuple(segments), waveform.duration_seconds)

    def log_probs(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return natural log-probabilities ``(T', V)`` of samples ``(num_samples,)`` at the model's rate."""
        # Through float16, as a feature store keeps them: evaluation and transcription give the same words, where
        # transcription neither cuts the recording nor leaves silence out.
        features = self._log_mel(fill_dead_air(samples, self.bundle.features.sample_rate)).astype(np.float16)
        return self._runtime([features])[0]

    def _segment(self, samples: NDArray[np.float32], start: float) -> Segment:
        end = start + len(samples) / self.bundle.features.sample_rate
        best = self._decoder(self.log_probs(samples))[0]
        words = tuple(
            Word(word.text, start + word.start_seconds, min(end, start + word.end_seconds), word.confidence)
            for word in best.words
        )
        return Segment(start, end, best.text, words)
