"""Live recognition: a stream of samples → events.

samples → features → network, chunk by chunk → log-probs → decoder → Partial, Stable, EndOfUtterance
"""

from asr.live.endpoint import EndpointRule, EndpointRules
from asr.live.events import EndOfUtterance, Event, Partial, Stable, transcript_of
from asr.live.listener import Listener, Listeners, listen
from asr.live.model import LiveModel

__all__ = [
    "EndOfUtterance",
    "EndpointRule",
    "EndpointRules",
    "Event",
    "Listener",
    "Listeners",
    "LiveModel",
    "Partial",
    "Stable",
    "listen",
    "transcript_of",
]
