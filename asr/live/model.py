"""A model that is loaded once, for any number of streams."""

import os
from copy import copy
from typing import Unpack

from asr.bundle.bundle import Bundle
from asr.bundle.front_end import LogMelFrontEnd
from asr.bundle.streaming_runtime import OnnxStreamingRuntime
from asr.convert.opening import open_bundle
from asr.errors import UsageError
from asr.live.endpoint import EndpointRules
from asr.live.network import StreamingNetwork
from asr.transcription.decoding import Decoder, DecodingKeywords, DecodingOptions, make_decoder

# With two directions each chunk also runs its context through the network, so longer chunks save work.
CHUNK_SECONDS = 0.16
CHUNK_SECONDS_BIDIRECTIONAL = 0.32
CONTEXT_SECONDS = 0.6


class LiveModel:
    """A model that is loaded once, for any number of streams.

    Parameters
    ----------
    model : Bundle, path or str
        A bundle that can stream, its directory, or the name of one that ships.
    chunk_seconds, context_seconds : float, optional
        How much goes through the network at once, and how much after it a bidirectional model also sees. Larger values
        are more accurate and delay the words.
    threads : int
        CPU threads; 0: one per core.
    endpoint : EndpointRules
    decoder : DecodingOptions or callable, optional
        Options of the decoder, or a decoder.
    **decoding
        Fields of `DecodingOptions`, instead of `decoder`.

    Raises
    ------
    UsageError
        If the model cannot stream (the message says why), or an option is out of its range.
    """

    def __init__(
        self,
        model: Bundle | str | os.PathLike[str],
        *,
        chunk_seconds: float | None = None,
        context_seconds: float = CONTEXT_SECONDS,
        threads: int = 1,
        endpoint: EndpointRules | None = None,
        decoder: DecodingOptions | Decoder | None = None,
        **decoding: Unpack[DecodingKeywords],
    ) -> None:
        self.bundle = open_bundle(model)
        runtime = OnnxStreamingRuntime(self.bundle, threads)
        front_end = self.bundle.front_end
        if not isinstance(front_end, LogMelFrontEnd):
            raise UsageError(f"model {self.bundle.name!r} takes the waveform; expected one that takes log-mel features")
        self.log_mel = front_end.log_mel
        self.frame_seconds = self.bundle.frame_seconds
        default = CHUNK_SECONDS_BIDIRECTIONAL if runtime.is_bidirectional else CHUNK_SECONDS
        chunk = self._frames("chunk_seconds", default if chunk_seconds is None else chunk_seconds)
        context = self._frames("context_seconds", context_seconds)
        self.network = StreamingNetwork(runtime, chunk, context)
        self.endpoint = endpoint or EndpointRules()
        if decoder is not None and decoding:
            raise UsageError(f"{', '.join(decoding)}: decoder was given too; give one or the other")
        if decoder is None or isinstance(decoder, DecodingOptions):
            decoder = make_decoder(self.bundle, decoder or DecodingOptions(**decoding))
        self.decoder: Decoder = decoder

    @property
    def latency_seconds(self) -> float:
        """Longest time from a sound to its log-probs, in seconds: a chunk, its context and the look-ahead."""
        frames = self.network.chunk_frames + self.network.context_frames + self.network.delay_frames
        return frames * self.frame_seconds + self.log_mel.config.window_seconds / 2

    def with_context(self, context_seconds: float) -> "LiveModel":
        """Return the model with another right context; all else is shared. Raises what the class raises."""
        result = copy(self)
        context = self._frames("context_seconds", context_seconds)
        result.network = StreamingNetwork(self.network.runtime, self.network.chunk_frames, context)
        return result

    def _frames(self, name: str, seconds: float) -> int:
        frames = round(seconds / self.frame_seconds)
        if frames < 1:
            raise UsageError(f"{name} is {seconds} s; expected at least one frame of the model, {self.frame_seconds} s")
        return frames
