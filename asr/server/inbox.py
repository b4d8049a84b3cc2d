"""Reads a WebSocket while earlier messages are being answered."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket

from asr.server.engine import ClientGone

# With more, reading stops, and the client has to wait.
MAX_WAITING_BYTES = 1 << 20


class Inbox:
    """Reads messages as they arrive, so that sound that has piled up is recognised in larger pieces.

    Parameters
    ----------
    socket : WebSocket
        Accepted.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._messages: deque[tuple[Any, float]] = deque()
        self._num_bytes = 0
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._messages)

    async def get(self, seconds: float) -> tuple[Any, float]:
        """Return the next message, as Starlette has it, and when it came (`time.perf_counter`).

        Raises
        ------
        TimeoutError
            If none comes in so many seconds.
        """
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: self._messages)
            message, came = self._messages.popleft()
            self._num_bytes -= _size(message)
            self._changed.notify_all()
            return message, came

    async def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine that answers the messages; it is cancelled as soon as the client goes.

        Raises
        ------
        ClientGone
            If the client goes before the work ends.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._reader}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def close(self) -> None:
        """End."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        while True:
            try:
                message = await self._socket.receive()
            except RuntimeError:
                # Closed from this side.
                return
            if message["type"] == "websocket.disconnect":
                return
            async with self._changed:
                self._messages.append((message, time.perf_counter()))
                self._num_bytes += _size(message)
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._num_bytes <= MAX_WAITING_BYTES)


def _size(message: Any) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
