"""Audio and its transcript → when each word was said."""

import numpy as np

from asr.audio import AudioSource, load_audio
from asr.decoder import align
from asr.errors import AudioError
from asr.tokenizer import BLANK
from asr.transcription.segments import speech_spans
from asr.transcription.transcribe import Transcriber
from asr.transcription.transcript import Segment, Transcript, Word


def align_audio(
    transcriber: Transcriber, source: AudioSource, text: str, *, source_rate: int | None = None
) -> Transcript:
    """Find when each word of a transcript was said.

    Long audio is cut for the acoustic model as for transcription, and aligned as a whole.

    Parameters
    ----------
    transcriber : Transcriber
        Its model's log-probabilities are aligned; its decoder is not used.
    source : path, bytes, binary file object, or ndarray
        As `asr.audio.load_audio` reads it.
    text : str
        What is said, all of it, normalised as the model's training text was.
    source_rate : int, optional
        The rate of an array in Hz.

    Returns
    -------
    Transcript
        One segment; times in seconds, monotone, and a confidence in 0..1 for every word.

    Raises
    ------
    AudioError
        If the source is not usable audio, or silent.
    DecodingError
        If the text has characters that the model does not know, or is too long for the audio.
    """
    bundle = transcriber.bundle
    waveform = load_audio(source, bundle.features.sample_rate, source_rate=source_rate)
    spans = speech_spans(waveform.samples, waveform.sample_rate)
    if not spans:
        raise AudioError("the recording is silent; expected one in which the text is said")
    log_probs = [transcriber.log_probs(waveform.samples[first:end]) for first, end in spans]
    # In frames, because every cut starts a new grid of frames.
    alignment = align(np.concatenate(log_probs), text, bundle.tokenizer.tokens, blank=BLANK, frame_seconds=1.0)
    begins, ends = np.array(spans).T / waveform.sample_rate
    first_frames = np.cumsum([0, *map(len, log_probs)])

    def seconds(frame: float, *, is_end: bool) -> float:
        # An end lies in the segment of the frame before it.
        piece = int(np.searchsorted(first_frames[1:-1], frame, side="left" if is_end else "right"))
        return float(min(ends[piece], begins[piece] + (frame - first_frames[piece]) * bundle.frame_seconds))

    words = tuple(
        Word(
            word.text,
            seconds(word.start_seconds, is_end=False),
            seconds(word.end_seconds, is_end=True),
            word.confidence,
        )
        for word in alignment.words
    )
    duration = waveform.duration_seconds
    return Transcript((Segment(0.0, duration, " ".join(word.text for word in words), words),), duration)
