"""A transcript in the shapes of OpenAI's API (their reference of the audio endpoints, 2026)."""

import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from asr.decoder import Word
from asr.decoder.hypothesis import text_of
from asr.server.forms import TranscriptionForm
from asr.transcription.transcript import Segment, Transcript
from asr.transcription.writers import to_srt, to_vtt

# A confidence of 0 has no logarithm that JSON could hold.
MIN_CONFIDENCE = 1e-6
LANGUAGES = {
    "ar": "arabic", "cs": "czech", "de": "german", "el": "greek", "en": "english", "es": "spanish", "fa": "persian",
    "fi": "finnish", "fr": "french", "he": "hebrew", "hi": "hindi", "hu": "hungarian", "it": "italian",
    "ja": "japanese", "ko": "korean", "nl": "dutch", "pl": "polish", "pt": "portuguese", "ru": "russian",
    "sv": "swedish", "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip


def make_response(transcript: Transcript, form: TranscriptionForm) -> Response:
    """Return the answer in the format that the form asks for."""
    match form.response_format:
        case "text":
            return PlainTextResponse(transcript.text + "\n")
        case "srt":
            return PlainTextResponse(to_srt(transcript, ""), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse(to_vtt(transcript, ""), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(verbose(transcript, form.timestamp_granularities))
        case "json":
            return JSONResponse(plain(transcript, with_logprobs=form.logprobs, with_alternatives=form.x_nbest > 1))


def plain(transcript: Transcript, *, with_logprobs: bool, with_alternatives: bool) -> dict[str, Any]:
    """Return ``{"text", "usage"}``, and log-probs or alternatives if the form asks for them."""
    answer: dict[str, Any] = {"text": transcript.text}
    if with_logprobs:
        answer["logprobs"] = logprobs(transcript.words)
    if with_alternatives:
        answer["x_alternatives"] = [
            [{"text": other.text, "score": round(other.score, 3)} for other in segment.alternatives]
            for segment in transcript.segments
        ]
    if transcript.warnings:
        answer["x_warnings"] = list(transcript.warnings)
    return {**answer, "usage": usage(transcript)}


def verbose(transcript: Transcript, granularities: Sequence[str]) -> dict[str, Any]:
    """Return whisper's fields; ``words`` stands beside the segments, not in them."""
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": LANGUAGES.get(transcript.language, transcript.language or "unknown"),
        "duration": round(transcript.duration, 3),
        "text": transcript.text,
    }
    if "segment" in granularities:
        answer["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        answer["words"] = [_word(word) for word in transcript.words]
    if transcript.warnings:
        answer["x_warnings"] = list(transcript.warnings)
    return {**answer, "usage": usage(transcript)}


def logprobs(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Return each word as a token, with the natural logarithm of its confidence."""
    rows = []
    for number, word in enumerate(words):
        token = text_of([word], continues=number > 0)
        rows.append({"token": token, "bytes": list(token.encode()), "logprob": _log(word.confidence)})
    return rows


def usage(transcript: Transcript) -> dict[str, Any]:
    """Return what was used: seconds of audio."""
    return {"type": "duration", "seconds": round(transcript.duration, 3)}


def server_sent(event: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def delta(segment: Segment, *, is_first: bool, with_logprobs: bool) -> dict[str, Any]:
    """Return the event for new text, which is final."""
    event: dict[str, Any] = {
        "type": "transcript.text.delta",
        "delta": text_of([segment], continues=not is_first),
    }
    if with_logprobs:
        event["logprobs"] = logprobs(segment.words)
    return event


def done(transcript: Transcript, *, with_logprobs: bool) -> dict[str, Any]:
    """Return the last event."""
    event: dict[str, Any] = {"type": "transcript.text.done", "text": transcript.text}
    if with_logprobs:
        event["logprobs"] = logprobs(transcript.words)
    return event


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    text = segment.text.encode()
    scores = [_log(word.confidence) for word in segment.words]
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(scores) / len(scores), 4),
        "compression_ratio": round(len(text) / len(zlib.compress(text)), 3),
        # The probability that none of its words is right.
        "no_speech_prob": round(math.prod(1.0 - word.confidence for word in segment.words), 4),
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_seconds, 3),
        "end": round(word.end_seconds, 3),
        "x_confidence": round(word.confidence, 4),
    }


def _log(confidence: float) -> float:
    return round(math.log(max(confidence, MIN_CONFIDENCE)), 4)
