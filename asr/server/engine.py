"""Models, and the threads that recognise with them: a request in, segments and a transcript out."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from asr.audio import Waveform
from asr.bundle.bundle import Bundle
from asr.bundle.runtime import make_runtime
from asr.cores import num_cores
from asr.errors import AsrError, MissingExtraError, UsageError
from asr.live import Listeners, LiveModel
from asr.live.model import CONTEXT_SECONDS
from asr.server.batching import BatchingRuntime, LiveBatches
from asr.server.errors import ApiError
from asr.server.options import OPENAI_MODELS, ServerOptions
from asr.transcription.decoding import Decoder, DecodingOptions, make_decoder
from asr.transcription.transcribe import Transcriber
from asr.transcription.transcript import Segment, Transcript

# Decoders that are kept for requests with the same options: a language model is not read for each request.
KEPT_DECODERS = 16
# Requests that are recognised at a time, for each core: enough that the network's batches are full while others decode.
REQUESTS_PER_CORE = 4

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
    on_segment: Callable[[Segment], None] = lambda segment: None


class ServedModel:
    """A model that is loaded once, and recognises for many requests at a time.

    Parameters
    ----------
    name : str
    bundle : Bundle
    options : ServerOptions
    """

    def __init__(self, name: str, bundle: Bundle, options: ServerOptions) -> None:
        self.name, self.bundle = name, bundle
        runtime = make_runtime(bundle, threads=options.threads, precision=options.precision)
        self.network = BatchingRuntime(runtime)
        self._transcriber = Transcriber(bundle, threads=1, runtime=self.network)
        self._make_decoder = lru_cache(KEPT_DECODERS)(lambda decoding: make_decoder(bundle, decoding))
        # Decoders are made one at a time: two requests at once would both read a language model.
        self._making = threading.Lock()
        self.decoder(DecodingOptions())
        self._live: dict[float, LiveBatches] = {}
        self._threads = options.threads
        self.can_stream = bundle.model is not None and not bundle.model.why_not_streaming
        if self.can_stream:
            try:
                self.live(CONTEXT_SECONDS)
            except MissingExtraError as error:
                self.can_stream = False
                logger.warning("model %r hears utterances as a whole: %s", name, error)

    def speaks(self, language: str) -> bool:
        """Return whether the model's language is this one, by its code, in whatever region; empty means any."""
        codes = [code.partition("-")[0].lower() for code in (language, self.bundle.language)]
        return not language or codes[0] == codes[1]

    def decoder(self, decoding: DecodingOptions) -> Decoder:
        """Return the decoder of these options.

        Raises
        ------
        UsageError, DecodingError
            If the model cannot be decoded so.
        """
        with self._making:
            return self._make_decoder(decoding)

    def live(self, context_seconds: float) -> LiveBatches:
        """Return what streams share that see so much of what follows.

        Raises
        ------
        UsageError
            If the model cannot stream.
        """
        # In one direction nothing that follows is seen: all streams are of one kind.
        sees_ahead = self.bundle.model is not None and self.bundle.model.bidirectional
        key = context_seconds if sees_ahead else CONTEXT_SECONDS
        with self._making:
            if key not in self._live:
                model = LiveModel(self.bundle, context_seconds=key, threads=self._threads)
                self._live[key] = LiveBatches(Listeners(model))
            return self._live[key]

    def close(self) -> None:
        """End, once all that was brought has run."""
        self.network.close()
        for batches in self._live.values():
            batches.close()

    def transcribe(self, request: Request, gone: threading.Event) -> Transcript:
        """Recognise a recording.

        Raises
        ------
        ClientGone
            Soon after `gone` is set.
        AsrError
            If the audio cannot be read, or cannot be decoded as asked.
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
        self.models = {name: ServedModel(name, Bundle.load(bundle), options) for name, bundle in options.models.items()}
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
            400, if the audio or an option cannot be used.
        ClientGone
            If `gone` was set.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, model.transcribe, request, gone)
        except UsageError as error:
            raise ApiError(400, str(error)) from None
        except AsrError as error:
            raise ApiError(400, str(error), param="file", code="invalid_audio") from None

    def close(self) -> None:
        """End, once all that was accepted is done."""
        self._pool.shutdown()
        for model in self.models.values():
            model.close()


class Places:
    """Places for requests; one that finds none is to be refused."""

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
