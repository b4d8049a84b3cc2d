"""A request for a transcript while it is recognised; it is given up if its client goes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from starlette.requests import Request

from asr.server.engine import ClientGone, Engine, ServedModel
from asr.server.engine import Request as Work
from asr.server.errors import ApiError
from asr.server.forms import TranscriptionForm
from asr.server.metrics import Metrics
from asr.server.responses import delta, done, server_sent
from asr.transcription.transcript import Segment, Transcript


class Job:
    """A request that is being recognised.

    Parameters
    ----------
    engine : Engine
    metrics : Metrics
    model : ServedModel
    form : TranscriptionForm
    """

    def __init__(self, engine: Engine, metrics: Metrics, model: ServedModel, form: TranscriptionForm) -> None:
        self._metrics, self._form = metrics, form
        self._gone = threading.Event()
        self._segments: asyncio.Queue[Segment | None] = asyncio.Queue()
        self._started = time.perf_counter()
        self._has_words = False
        loop = asyncio.get_running_loop()
        alphabet = frozenset(model.bundle.tokenizer.alphabet)
        work = Work(
            cast("BinaryIO", _Upload(form.file.file)),
            form.decoding(alphabet),
            lambda segment: _call(loop, self._heard, segment),
        )
        self._task = asyncio.create_task(engine.run(model, work, self._gone))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Transcript]) -> None:
        self._segments.put_nowait(None)
        if not task.cancelled():
            # If the client has gone nobody retrieves it, which asyncio would report.
            task.exception()

    def _heard(self, segment: Segment) -> None:
        if not self._has_words:
            self._has_words = True
            self._metrics.first_words_seconds.observe(time.perf_counter() - self._started)
        self._segments.put_nowait(segment)

    async def watch(self, request: Request) -> None:
        """Wait until the client hangs up, and give up the work."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._gone.set()

    async def transcript(self) -> Transcript:
        """Return the whole transcript."""
        try:
            transcript = await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self._gone.set()
            raise
        self._metrics.audio_seconds.inc(transcript.duration)
        self._metrics.work_seconds.inc(time.perf_counter() - self._started)
        return transcript

    async def first_event(self) -> Segment | None:
        """Return the first segment, or None at the end of a recording without words.

        Raises
        ------
        ApiError
            If there is an error before it, while its status can still be sent.
        """
        segment = await self._segments.get()
        if segment is None:
            await self.transcript()
        return segment

    async def events(self, segment: Segment | None, stack: ExitStack) -> AsyncIterator[bytes]:
        """Yield server-sent events; a later error is an event, too."""
        logprobs = self._form.logprobs
        with stack:
            try:
                is_first = True
                while segment is not None:
                    yield server_sent(delta(segment, is_first=is_first, with_logprobs=logprobs))
                    is_first = False
                    segment = await self._segments.get()
                yield server_sent(done(await self.transcript(), with_logprobs=logprobs))
                yield b"data: [DONE]\n\n"
            except ApiError as error:
                yield server_sent(error.to_dict())
            except ClientGone:
                return
            finally:
                self._gone.set()


class _Upload:
    """An upload as a file whose name, in messages, is neither the client's nor the server's."""

    name = "the upload"

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        # The loop has ended, and the client with it.
        raise ClientGone from None
