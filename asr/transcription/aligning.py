"""Audio and its transcript → when each word was said."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from asr.audio import AudioPart, AudioSource
from asr.decoder import Labels, Word, align
from asr.decoder.hypothesis import text_of
from asr.errors import AudioError
from asr.tokenizer import BLANK, PhoneTokenizer, Tokenizer
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
        The complete transcript, normalised like the model's training text.
    source_rate : int, optional
        The rate of an array in Hz.

    Returns
    -------
    Transcript
        One segment; times in seconds, monotone, and a confidence in 0..1 for every word. Its warnings say what is
        wrong with the audio, or that the text does not fit it.

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
        raise AudioError("the recording is silent; expected one that contains the text")
    log_probs = np.concatenate([utterance.log_probs for utterance in utterances])
    # In frames, because every utterance has a grid of frames of its own.
    aligned = align_words(log_probs, text, bundle.tokenizer, frame_seconds=1.0)
    first_frames = np.cumsum([0, *(len(utterance.log_probs) for utterance in utterances)])

    def seconds(frame: float, *, is_end: bool) -> float:
        # An end lies in the utterance of the frame before it.
        index = int(np.searchsorted(first_frames[1:-1], frame, side="left" if is_end else "right"))
        utterance = utterances[index]
        place = utterance.start_seconds + (frame - first_frames[index]) * bundle.frame_seconds
        return float(min(utterance.end_seconds, place))

    words = tuple(
        replace(
            word,
            start_seconds=seconds(word.start_seconds, is_end=False),
            end_seconds=seconds(word.end_seconds, is_end=True),
        )
        for word in aligned
    )
    end = utterances[-1].end_seconds
    segment = Segment(utterances[0].start_seconds, end, text_of(words), words)
    return Transcript((segment,), ending.duration_seconds, bundle.language, (*ending.warnings, *_doubts(words)))


def align_words(
    log_probs: NDArray[np.float32], text: str, tokenizer: Tokenizer, frame_seconds: float
) -> tuple[Word, ...]:
    """Return the words of a text with their times; of several pronunciations, the one that fits best.

    Raises
    ------
    DecodingError, DataError
        If the text has what the tokenizer cannot encode, or is too long for the frames.
    """
    labels = Labels(tokenizer.tokens, BLANK)
    if tokenizer.kind == "characters":
        return align(log_probs, text, labels, frame_seconds=frame_seconds).words
    if not isinstance(tokenizer, PhoneTokenizer):
        # A text can be cut into subwords in several ways: that of the tokenizer is the one that the model has learned.
        return align(log_probs, tokenizer.encode(" ".join(text.split())), labels, frame_seconds=frame_seconds).words
    from asr.lexicon.choosing import choose

    words = text.split()
    tokenizer.encode(text)  # Names a word that the lexicon lacks.
    alternatives = [[tokenizer.ids(said.phones) for said in tokenizer.lexicon[word]] for word in words]
    chosen = choose(log_probs, alternatives, BLANK, tokenizer.between)
    said = [known[which] for known, which in zip(alternatives, chosen, strict=True)]
    ids = [*said[0], *(label for phones in said[1:] for label in (*tokenizer.between, *phones))] if said else []
    tokens = iter(align(log_probs, ids, labels, frame_seconds=frame_seconds).tokens)
    aligned = []
    for number, (word, phones) in enumerate(zip(words, said, strict=True)):
        skipped = len(tokenizer.between) if number else 0
        own = list(itertools.islice(tokens, skipped, skipped + len(phones)))
        confidence = math.exp(math.fsum(math.log(max(token.confidence, 1e-300)) for token in own) / len(own))
        aligned.append(Word(word, own[0].start_seconds, own[-1].end_seconds, confidence))
    return tuple(aligned)


def _doubts(words: Sequence[Word]) -> list[str]:
    doubtful = [word for word in words if word.confidence < DOUBTFUL_CONFIDENCE]
    if not doubtful:
        return []
    shown = ", ".join(f"{word.text!r} at {word.start_seconds:.2f} s" for word in doubtful[:3])
    more = ", …" if len(doubtful) > 3 else ""
    return [
        f"{len(doubtful)} of {len(words)} words can hardly be heard where they should be ({shown}{more}): is all "
        "of the text said in the audio, and nothing else?"
    ]
