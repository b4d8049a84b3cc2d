"""Models, and the threads that recognise with them: request → segments and transcript."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from asr.audio import Waveform
from asr.bundle.bundle import Bundle
from asr.bundle.runtime import make_runtime
from asr.convert.opening import open_bundle
from asr.cores import num_cores
from asr.errors import AsrError, AudioError, MissingExtraError, UsageError
from asr.live import Listeners, LiveModel
from asr.server.batching import BatchingRuntime, LiveBatches
from asr.server.decoders import Decoders
from asr.server.errors import ApiError, failure
from asr.server.options import OPENAI_MODELS, ServerOptions
from asr.transcription.decoding import Decoder, DecodingOptions
from asr.transcription.transcribe import Transcriber
from asr.transcription.transcript import Segment, Transcript

# Requests a core at a time: enough to fill the network's batches while others decode.
REQUESTS_PER_CORE = 4
# A live stream that is later than this is reported, at most once in so many seconds.
BEHIND_SECONDS, TELL_SECONDS = 1.0, 60.0

logger = logging.getLogger("asr.server")


class ClientGone(Exception):  # noqa: N818  # A condition, not a fault.
    """The client has gone."""


@dataclass(frozen=True)
class Request:
    """What a client asks for.

    Parameters
    ----------
    audio : binary file object or Waveform
        A file's `name` is used in messages, where there is one.
    decoding : DecodingOptions
    on_segment : callable
        Called with each segment as soon as it is recognised, in order, from another thread.
    """

    audio: BinaryIO | Waveform
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    on_segment: Callable[[Segment], None] = lambda _segment: None


class ServedModel:
    """A loaded model, which recognises many requests at a time.

    Parameters
    ----------
    name : str
    bundle : Bundle
    options : ServerOptions
    """

    def __init__(self, name: str, bundle: Bundle, options: ServerOptions) -> None:
        self.name, self.bundle = name, bundle
        # One thread a batch, and a batch a core: threads that share a batch wait for one another.
        self._workers = options.threads or num_cores()
        self.network = BatchingRuntime(make_runtime(bundle, threads=1, precision=options.precision), self._workers)
        self._transcriber = Transcriber(bundle, threads=1, runtime=self.network)
        self.decoder = Decoders(bundle)
        self._live: dict[float, list[LiveBatches]] = {}
        self._opening = threading.Lock()
        decoder, num_labels = self.decoder(DecodingOptions()), len(bundle.tokenizer)
        # Compiling its kernels, on a new machine, takes ten seconds: now rather than during the first request.
        decoder(np.full((1, num_labels), -np.log(num_labels), np.float32))
        self._live_model = self._load_live(decoder)

    def _load_live(self, decoder: Decoder) -> LiveModel | None:
        if self.bundle.model is None or self.bundle.model.why_not_streaming:
            return None
        try:
            return LiveModel(self.bundle, threads=1, decoder=decoder)
        except MissingExtraError as error:
            logger.warning("model %r recognises whole utterances only: %s", self.name, error)
            return None

    @property
    def can_stream(self) -> bool:
        """Whether it recognises speech while it is said."""
        return self._live_model is not None

    def speaks(self, language: str) -> bool:
        """Return whether the model knows a language, by its code; regions do not matter, and empty means any."""
        codes = [code.partition("-")[0].lower() for code in (language, self.bundle.language)]
        return not language or codes[0] == codes[1]

    def live(self, context_seconds: float) -> LiveBatches:
        """Return the batches with this right context that have the fewest streams, for a new stream to join.

        Raises
        ------
        UsageError
            If the model cannot stream.
        """
        model = self._live_model
        if model is None:
            raise UsageError(f"model {self.name!r} cannot stream")
        # With one direction there is no context, and all streams are alike.
        key = context_seconds if model.network.context_frames else 0.0
        with self._opening:
            if key not in self._live:
                seen = model.with_context(key) if key else model
                self._live[key] = [LiveBatches(Listeners(seen)) for _ in range(self._workers)]
            return min(self._live[key], key=lambda batches: len(batches.listeners))

    def close(self) -> None:
        """End, once all queued work is done."""
        self.network.close()
        for shared in self._live.values():
            for batches in shared:
                batches.close()

    def transcribe(self, request: Request, gone: threading.Event) -> Transcript:
        """Recognise a recording.

        Raises
        ------
        ClientGone
            Soon after `gone` is set.
        UsageError
            If the decoding options are not possible with this model.
        AudioError, MissingExtraError
            If the audio cannot be read.
        AsrError
            If the model fails.
        """

        def check(*_: object) -> None:
            if gone.is_set():
                raise ClientGone

        def heard(_: int, segment: Segment) -> None:
            check()
            request.on_segment(segment)

        transcriber = self._transcriber.with_decoder(self.decoder(request.decoding))
        with self.network.request():
            check()
            (result,) = transcriber.transcribe_many([request.audio], progress=check, on_segment=heard)
        if isinstance(result, AsrError):
            raise result
        return result


class Engine:
    """All models of a server, and the threads that serve requests.

    Parameters
    ----------
    options : ServerOptions

    Raises
    ------
    UsageError, ModelError
        If a model does not exist or is damaged.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        # Called for each piece of a live stream: its seconds, how long recognition took, and whether it held words.
        self.on_live: Callable[[float, float, bool], None] = lambda *_: None
        self._told = -TELL_SECONDS
        self.models = {name: ServedModel(name, open_bundle(bundle), options) for name, bundle in options.models.items()}
        self.places = Places(options.max_queue)
        self.streams = Places(options.max_streams)
        self._pool = ThreadPoolExecutor(REQUESTS_PER_CORE * num_cores(), thread_name_prefix="request")

    def model(self, name: str) -> ServedModel:
        """Return the model of that name; an empty one means the default.

        Raises
        ------
        ApiError
            404, if there is none.
        """
        if not name or (self.options.aliases and name in OPENAI_MODELS and name not in self.models):
            name = self.options.default_model
        if name not in self.models:
            raise ApiError(
                404,
                f"The model {name!r} does not exist; this server has {', '.join(map(repr, self.models))}.",
                param="model",
                code="model_not_found",
            )
        return self.models[name]

    async def run(self, model: ServedModel, request: Request, gone: threading.Event) -> Transcript:
        """Recognise in a thread of the pool.

        Raises
        ------
        ApiError
            400, if the audio or an option cannot be used; 500, if the fault is not the client's.
        ClientGone
            If `gone` was set.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, model.transcribe, request, gone)
        except ClientGone:
            raise
        except UsageError as error:
            raise ApiError(400, str(error)) from None
        except (AudioError, MissingExtraError) as error:
            raise ApiError(400, str(error), param="file", code="invalid_audio") from None
        except Exception as error:
            raise failure(error, f"model {model.name!r}") from None

    def note_live(self, audio_seconds: float, took: float, *, has_words: bool) -> None:
        """Count a piece of a live stream, and warn if the machine has fallen behind."""
        self.on_live(audio_seconds, took, has_words)
        now = time.monotonic()
        if took > max(BEHIND_SECONDS, audio_seconds) and now - self._told > TELL_SECONDS:
            self._told = now
            logger.warning(
                "%.1f s behind with %d live streams; words come late, but none is lost", took, self.streams.taken
            )

    def close(self) -> None:
        """End, once all accepted requests are done."""
        self._pool.shutdown()
        for model in self.models.values():
            model.close()


class Places:
    """A limited number of places for requests."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0

    def take(self, stack: ExitStack) -> None:
        """Take a place until `stack` closes.

        Raises
        ------
        ApiError
            429, if all are taken.
        """
        if self.taken >= self.count:
            raise ApiError(429, f"All {self.count} places are taken; try again later.", code="rate_limit_exceeded")
        self.taken += 1
        stack.callback(self._leave)

    def _leave(self) -> None:
        self.taken -= 1
