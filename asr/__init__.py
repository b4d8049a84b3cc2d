"""Speech to text, from public corpora to words.

    corpus → audio → features → store → batches → model → log-probs → decoder → transcript → WER

Each arrow lives in the module of its name, and no module imports one that comes after it in the flow. The names
below are loaded when they are first used: ``import asr`` alone costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from asr.version import __version__ as __version__

if TYPE_CHECKING:
    from asr.audio import AudioStream, AudioWarning, Waveform, load_audio
    from asr.bundle.bundle import Bundle
    from asr.decoder import Word
    from asr.errors import AsrError
    from asr.features import LogMel, LogMelConfig
    from asr.transcription.decoding import DecodingOptions
    from asr.transcription.transcribe import Transcriber, load
    from asr.transcription.transcript import Segment, Transcript
    from asr.wer import ErrorCounts, character_errors, word_errors

_MODULES = {
    "AsrError": "errors",
    "AudioStream": "audio",
    "AudioWarning": "audio",
    "Bundle": "bundle.bundle",
    "DecodingOptions": "transcription.decoding",
    "ErrorCounts": "wer",
    "LogMel": "features",
    "LogMelConfig": "features",
    "Segment": "transcription.transcript",
    "Transcriber": "transcription.transcribe",
    "Transcript": "transcription.transcript",
    "Waveform": "audio",
    "Word": "decoder",
    "character_errors": "wer",
    "load": "transcription.transcribe",
    "load_audio": "audio",
    "word_errors": "wer",
}

__all__ = [
    "AsrError",
    "AudioStream",
    "AudioWarning",
    "Bundle",
    "DecodingOptions",
    "ErrorCounts",
    "LogMel",
    "LogMelConfig",
    "Segment",
    "Transcriber",
    "Transcript",
    "Waveform",
    "Word",
    "character_errors",
    "load",
    "load_audio",
    "word_errors",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
