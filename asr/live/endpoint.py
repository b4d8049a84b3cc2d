"""When an utterance ends: the rules of Kaldi's online decoder, with the names and defaults of sherpa-onnx."""

from dataclasses import dataclass, field
from typing import Literal

from asr.errors import UsageError

Reason = Literal["silence", "length", "flush"]


@dataclass(frozen=True)
class EndpointRule:
    """One rule: an utterance ends if all three conditions hold.

    Parameters
    ----------
    must_contain_nonsilence : bool
        Whether something must have been said.
    min_trailing_silence : float
        Seconds since something was said, or since the utterance began.
    min_utterance_length : float
        Seconds since the utterance began.

    Raises
    ------
    UsageError
        If a length is negative.
    """

    must_contain_nonsilence: bool
    min_trailing_silence: float
    min_utterance_length: float

    def __post_init__(self) -> None:
        for name in ("min_trailing_silence", "min_utterance_length"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"the endpoint rule's {name} is {getattr(self, name)}; expected 0 or more seconds")

    def holds(self, trailing_silence: float, length: float, *, has_speech: bool) -> bool:
        """Return whether the rule holds; times in seconds."""
        return (
            (has_speech or not self.must_contain_nonsilence)
            and trailing_silence >= self.min_trailing_silence
            and length >= self.min_utterance_length
        )


@dataclass(frozen=True)
class EndpointRules:
    """The rules; an utterance ends as soon as one holds. Silence is where the network's best label is the blank.

    Parameters
    ----------
    rule1, rule2, rule3 : EndpointRule
        For nothing said at all, for a pause after speech, and for speech without a pause.
    """

    rule1: EndpointRule = field(default_factory=lambda: EndpointRule(False, 2.4, 0.0))
    rule2: EndpointRule = field(default_factory=lambda: EndpointRule(True, 1.2, 0.0))
    rule3: EndpointRule = field(default_factory=lambda: EndpointRule(False, 0.0, 20.0))

    def ended(self, trailing_silence: float, length: float, *, has_speech: bool) -> Reason | None:
        """Return why the utterance has ended, or None if it goes on; times in seconds."""
        if any(rule.holds(trailing_silence, length, has_speech=has_speech) for rule in (self.rule1, self.rule2)):
            return "silence"
        if self.rule3.holds(trailing_silence, length, has_speech=has_speech):
            return "length"
        return None
