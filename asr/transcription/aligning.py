"""Audio and its transcript → when each word was said."""

from collections.abc import Sequence

import numpy as np

from asr.audio import AudioPart, AudioSource
from asr.decoder import Word, align
from asr.errors import AudioError
from asr.tokenizer import BLANK
from asr.transcription.transcribe import Transcriber
from asr.transcription.transcript import Segment, Transcript

# Less confidence than this says that something else was said.
DOUBTFUL_CONFIDENCE = 0.001


def align_audio(
    transcriber: Transcriber, source: AudioSource | AudioPart, text: str, *, source_rate: int | None = None
) -> Transcript:
    """Find when each word of a transcript was said.

    Long audio is cut for the acoustic model as for transcription, and aligned as a whole.

    Parameters
    ----------
    transcriber : Transcriber
        Its model's log-probabilities are aligned; its decoder is not used.
    source : path, bytes, binary file object, ndarray, or AudioPart
        As `Transcriber.transcribe` takes it.
    text : str
        What is said, all of it, normalised as the model's training text was.
    source_rate : int, optional
        The rate of an array in Hz.

    Returns
    -------
    Transcript
        One segment; times in seconds, monotone, and a confidence in 0..1 for every word. Its warnings tell what is
        wrong with the audio, and that the text does not fit it.

    Raises
    ------
    AudioError
        If the source is not usable audio, or silent.
    DecodingError
        If the text has characters that the model does not know, or is too long for the audio.
    DataError
        If the model has subwords, and the text characters that are in none of them.
    """
    bundle = transcriber.bundle
    utterances, ending = transcriber.utterances(source, source_rate=source_rate)
    if not utterances:
        raise AudioError("the recording is silent; expected one in which the text is said")
    log_probs = np.concatenate([utterance.log_probs for utterance in utterances])
    # A text can be cut into subwords in several ways: that of the tokenizer is the one that the model has learned.
    transcript = text if bundle.tokenizer.kind == "characters" else bundle.tokenizer.encode(" ".join(text.split()))
    # In frames, because every utterance has a grid of frames of its own.
    alignment = align(log_probs, transcript, bundle.tokenizer.tokens, blank=BLANK, frame_seconds=1.0)
    first_frames = np.cumsum([0, *(len(utterance.log_probs) for utterance in utterances)])

    def seconds(frame: float, *, is_end: bool) -> float:
        # An end lies in the utterance of the frame before it.
        index = int(np.searchsorted(first_frames[1:-1], frame, side="left" if is_end else "right"))
        utterance = utterances[index]
        place = utterance.start_seconds + (frame - first_frames[index]) * bundle.frame_seconds
        return float(min(utterance.end_seconds, place))

    words = tuple(
        Word(
            word.text,
            seconds(word.start_seconds, is_end=False),
            seconds(word.end_seconds, is_end=True),
            word.confidence,
        )
        for word in alignment.words
    )
    end = utterances[-1].end_seconds
    segment = Segment(utterances[0].start_seconds, end, " ".join(word.text for word in words), words)
    return Transcript((segment,), ending.duration_seconds, bundle.language, (*ending.warnings, *_doubts(words)))


def _doubts(words: Sequence[Word]) -> list[str]:
    doubtful = [word for word in words if word.confidence < DOUBTFUL_CONFIDENCE]
    if not doubtful:
        return []
    shown = ", ".join(f"{word.text!r} at {word.start_seconds:.2f} s" for word in doubtful[:3])
    more = ", …" if len(doubtful) > 3 else ""
    return [
        f"{len(doubtful)} of {len(words)} words are hardly to be heard where they must be ({shown}{more}): is all "
        "of the text said in the audio, and nothing else?"
    ]
