"""The settings of a transcription session of OpenAI's Realtime API (their reference of the GA version, 2026)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from asr.live import EndpointRule, EndpointRules
from asr.server.errors import ApiError
from asr.server.forms import MAX_KEYWORDS
from asr.server.streams import MAX_RATE, MIN_RATE, Delay, EarOptions

AudioKind = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
Eagerness = Literal["low", "medium", "high", "auto"]

LOGPROBS = "item.input_audio_transcription.logprobs"
# Our own: events with the likely text after the final words, which OpenAI's API does not have.
PARTIALS = "x_partials"

# Length of a pause that ends an utterance, for semantic_vad.
EAGERNESS_MS: dict[Eagerness, int] = {"low": 2000, "medium": 1000, "auto": 1000, "high": 500}
# An utterance without any pause ends here.
MAX_UTTERANCE_SECONDS = 30.0
PLAIN_RATE, TELEPHONE_RATE = 24_000, 8_000


@dataclass(frozen=True)
class TurnDetection:
    """How the server finds the ends of utterances."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    eagerness: Eagerness = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Return OpenAI's object."""
        if self.type == "semantic_vad":
            return {"type": self.type, "eagerness": self.eagerness}
        return {
            "type": self.type,
            "threshold": self.threshold,
            "prefix_padding_ms": self.prefix_padding_ms,
            "silence_duration_ms": self.silence_duration_ms,
        }

    @property
    def rules(self) -> EndpointRules:
        """The same for a listener."""
        milliseconds = self.silence_duration_ms if self.type == "server_vad" else EAGERNESS_MS[self.eagerness]
        seconds = milliseconds / 1000
        return EndpointRules(
            # This rule also holds after speech, and must not end an utterance sooner than asked.
            rule1=EndpointRule(False, max(seconds, EndpointRules().rule1.min_trailing_silence), 0.0),
            rule2=EndpointRule(True, seconds, 0.0),
            rule3=EndpointRule(False, 0.0, MAX_UTTERANCE_SECONDS),
        )


@dataclass(frozen=True)
class RealtimeSettings:
    """What ``session.update`` sets; the names are OpenAI's."""

    model: str = ""
    kind: AudioKind = "audio/pcm"
    rate: int = PLAIN_RATE
    language: str = ""
    keywords: tuple[str, ...] = ()
    delay: Delay = "medium"
    turn_detection: TurnDetection | None = TurnDetection()
    include: tuple[str, ...] = ()

    def ear(self) -> EarOptions:
        """Return how to listen."""
        turns = self.turn_detection
        return EarOptions(
            self.rate,
            self.keywords,
            self.delay,
            turns.rules if turns else None,
            turns.threshold if turns else 0.5,
            turns.prefix_padding_ms / 1000 if turns else 0.0,
        )

    def to_dict(self, name: str, expires_at: int) -> dict[str, Any]:
        """Return OpenAI's session object."""
        transcription = {
            "model": self.model,
            "language": self.language or None,
            "keywords": list(self.keywords),
            "delay": self.delay,
        }
        rate = {"rate": self.rate} if self.kind == "audio/pcm" else {}
        return {
            "id": name,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": {"type": self.kind, **rate},
                    "noise_reduction": None,
                    "transcription": transcription,
                    "turn_detection": self.turn_detection.to_dict() if self.turn_detection else None,
                }
            },
            "include": list(self.include),
            "expires_at": expires_at,
        }


def updated(settings: RealtimeSettings, session: object) -> RealtimeSettings:
    """Return the settings after an update that names only what changes.

    Raises
    ------
    ApiError
        400, naming the field that is wrong.
    """
    given = _object(session, "session")
    _choice(given, "type", ("transcription",), "session.type")
    sound = _object(_object(given.get("audio"), "session.audio").get("input"), "session.audio.input")
    path = "session.audio.input"
    changes: dict[str, Any] = {}
    if "include" in given:
        changes["include"] = _strings(given["include"], "session.include", (LOGPROBS, PARTIALS))
    if sound.get("format") is not None:
        changes |= _format(_object(sound["format"], f"{path}.format"), f"{path}.format")
    if sound.get("transcription") is not None:
        changes |= _transcription(_object(sound["transcription"], f"{path}.transcription"), f"{path}.transcription")
    if "turn_detection" in sound:
        turns = sound["turn_detection"]
        name = f"{path}.turn_detection"
        changes["turn_detection"] = None if turns is None else _turn_detection(_object(turns, name), name)
    return replace(settings, **changes)


def _format(given: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = _choice(given, "type", get_args(AudioKind), f"{path}.type") or "audio/pcm"
    default = PLAIN_RATE if kind == "audio/pcm" else TELEPHONE_RATE
    return {"kind": kind, "rate": int(_number(given, "rate", (MIN_RATE, MAX_RATE), default, path))}


def _transcription(given: Mapping[str, Any], path: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in ("model", "language"):
        if given.get(name) is not None:
            if not isinstance(given[name], str):
                raise _wrong(f"{path}.{name}", given[name], "text")
            changes[name] = given[name]
    if given.get("keywords") is not None:
        phrases = _strings(given["keywords"], f"{path}.keywords")
        if len(phrases) > MAX_KEYWORDS:
            raise _wrong(f"{path}.keywords", f"{len(phrases)} phrases", f"at most {MAX_KEYWORDS}")
        changes["keywords"] = tuple(" ".join(phrase.split()) for phrase in phrases if phrase.strip())
    if delay := _choice(given, "delay", get_args(Delay), f"{path}.delay"):
        changes["delay"] = delay
    return changes


def _turn_detection(given: Mapping[str, Any], path: str) -> TurnDetection:
    if given.get("idle_timeout_ms") is not None:
        raise _wrong(
            f"{path}.idle_timeout_ms", given["idle_timeout_ms"], "null: a transcription has no turns of its own"
        )
    return TurnDetection(
        cast("Any", _choice(given, "type", ("server_vad", "semantic_vad"), f"{path}.type") or "server_vad"),
        _number(given, "threshold", (0, 1), 0.5, path),
        int(_number(given, "prefix_padding_ms", (0, 5_000), 300, path)),
        int(_number(given, "silence_duration_ms", (40, 60_000), 500, path)),
        cast("Any", _choice(given, "eagerness", get_args(Eagerness), f"{path}.eagerness") or "auto"),
    )


def _object(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(path, value, "an object")
    return value


def _choice(given: Mapping[str, Any], name: str, known: tuple[str, ...], path: str) -> str | None:
    value = given.get(name)
    if value is not None and value not in known:
        raise _wrong(path, value, ", ".join(known))
    return cast("str | None", value)


def _strings(value: object, path: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _wrong(path, value, "a list of texts")
    if known and (unknown := [text for text in value if text not in known]):
        raise _wrong(path, unknown[0], ", ".join(known))
    return tuple(value)


def _number(given: Mapping[str, Any], name: str, bounds: tuple[float, float], default: float, path: str) -> float:
    value = given.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not bounds[0] <= value <= bounds[1]:
        raise _wrong(f"{path}.{name}", value, f"a number from {bounds[0]} to {bounds[1]}")
    return value


def _wrong(path: str, value: object, expected: str) -> ApiError:
    text = repr(value)
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    return ApiError(400, f"{path} is {shown}; expected {expected}.", param=path, code="invalid_value")
