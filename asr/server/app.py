"""The application: its routes and sockets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asr.errors import UsageError
from asr.server.engine import ClientGone, Engine
from asr.server.errors import ApiError
from asr.server.forms import read_form
from asr.server.frame import CLIENT_GONE, Frame
from asr.server.jobs import Job
from asr.server.metrics import Metrics
from asr.server.options import ServerOptions
from asr.server.realtime import RealtimeSession
from asr.server.responses import make_response
from asr.server.vosk import VoskSession
from asr.server.wyoming import WyomingServer

PAGE = Path(__file__).parent / "page"
# OpenAI's limit of an event, in base64.
MAX_MESSAGE_BYTES = 20 * 1024 * 1024


def make_app(engine: Engine, wyoming: socket.socket | None = None) -> Starlette:
    """Return the ASGI application of an engine, which ends with it; `wyoming` is a socket for that protocol."""
    server = Server(engine)
    wyoming_server = WyomingServer(engine, wyoming) if wyoming else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if wyoming_server:
            await wyoming_server.start()
        server.ready = True
        yield
        server.ready = False
        if wyoming_server:
            await wyoming_server.close()
        await asyncio.get_running_loop().run_in_executor(None, engine.close)

    options = engine.options
    middleware = [Middleware(Frame, options=options, metrics=server.metrics)]
    if options.cors:
        # Outermost, so that pages can read errors, too.
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(options.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id"],
        )
        middleware.insert(0, cors)
    routes = [
        Route("/", server.page),
        Route("/page/{name}", server.page),
        Route("/healthz", server.health),
        Route("/readyz", server.readiness),
        Route("/metrics", server.figures),
        Route("/v1/models", server.models),
        Route("/v1/models/{name:path}", server.model),
        Route("/v1/audio/transcriptions", server.transcribe, methods=["POST"]),
        WebSocketRoute("/v1/realtime", server.realtime),
        WebSocketRoute("/", server.vosk),
    ]
    return Starlette(
        routes=routes, middleware=middleware, lifespan=lifespan, exception_handlers={HTTPException: _http_error}
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = {404: f"There is nothing at {request.url.path}.", 405: f"{request.method} is not for {request.url.path}."}
    return ApiError(error.status_code, message.get(error.status_code, error.detail)).response()


class Server:
    """The routes.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.options = engine.options
        self.metrics = Metrics(engine)
        self.started = int(time.time())
        self.ready = False

    async def health(self, _: Request) -> Response:
        """Answer that the process runs."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, _: Request) -> Response:
        """Answer whether a request would be accepted."""
        taken, count = self.engine.places.taken, self.engine.places.count
        is_ready = self.ready and taken < count
        return JSONResponse({"ready": is_ready, "places": count, "taken": taken}, 200 if is_ready else 503)

    async def figures(self, _: Request) -> Response:
        """Return Prometheus's text."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, request: Request) -> Response:
        """Return a file of the page; nothing but these is ever opened."""
        name = request.path_params.get("name", "index.html")
        if name not in {path.name for path in PAGE.iterdir()}:
            raise ApiError(404, f"{name!r} is no part of the page.")
        return FileResponse(PAGE / name, headers={"Cache-Control": "no-cache"})

    async def models(self, _: Request) -> Response:
        """List the models."""
        return JSONResponse({"object": "list", "data": [self._describe(name) for name in self.engine.models]})

    async def model(self, request: Request) -> Response:
        """Describe one model."""
        return JSONResponse(self._describe(self.engine.model(request.path_params["name"]).name))

    def _describe(self, name: str) -> dict[str, Any]:
        bundle = self.engine.models[name].bundle
        return {
            "id": name,
            "object": "model",
            "created": self.started,
            "owned_by": "ctc-asr",
            "x_streams": self.engine.models[name].can_stream,
            "x_description": bundle.description,
            "x_language": bundle.language,
        }

    async def transcribe(self, request: Request) -> Response:
        """Answer ``POST /v1/audio/transcriptions``."""
        with ExitStack() as stack:
            self.engine.places.take(stack)
            try:
                form = await read_form(request, self.options)
            except ClientDisconnect:
                return Response(status_code=CLIENT_GONE)
            stack.callback(form.file.file.close)
            model = self.engine.model(form.model)
            if not model.speaks(form.language):
                raise ApiError(
                    400,
                    f"language is {form.language!r}; model {model.name!r} knows {model.bundle.language!r}.",
                    param="language",
                )
            job = Job(self.engine, self.metrics, model, form)
            watcher = asyncio.create_task(job.watch(request))
            stack.callback(watcher.cancel)
            try:
                if form.stream:
                    first = await job.first_event()
                    # The place is given back after the last event, when this function has long returned.
                    return StreamingResponse(job.events(first, stack.pop_all()), media_type="text/event-stream")
                return make_response(await job.transcript(), form)
            except ClientGone:
                return Response(status_code=CLIENT_GONE)

    async def realtime(self, socket: WebSocket) -> None:
        """Serve ``WS /v1/realtime``."""
        await RealtimeSession(self.engine, socket).run()

    async def vosk(self, socket: WebSocket) -> None:
        """Serve ``WS /``."""
        await VoskSession(self.engine, socket).run()


def serve(options: ServerOptions, ready: Callable[[str], None] = lambda _address: None) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished, new ones refused.

    Parameters
    ----------
    options : ServerOptions
    ready : callable, optional
        Called with the server's URL before the first request, then with those of the ports for vosk and Wyoming.

    Raises
    ------
    UsageError, ModelError
        If a model does not exist or is damaged, or the address cannot be listened on.
    """
    import uvicorn

    with ExitStack() as stack:
        ports = {"http": options.port, "ws": options.vosk_port, "tcp": options.wyoming_port}
        sockets = {
            scheme: stack.enter_context(_listen(options.host, port))
            for scheme, port in ports.items()
            if port is not None
        }
        wyoming = sockets.get("tcp")
        app = make_app(Engine(options), wyoming)
        host = f"[{options.host}]" if ":" in options.host else options.host
        for scheme, listener in sockets.items():
            ready(f"{scheme}://{host}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="on", ws_max_size=MAX_MESSAGE_BYTES
        )
        # The vosk port serves the same application, whose WebSocket at / speaks that protocol.
        uvicorn.Server(config).run(sockets=[listener for listener in sockets.values() if listener is not wyoming])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port} ({error.strerror or error}); choose another --host or port"
        ) from None
    # Connections inherit it. asyncio sets it only on sockets whose protocol is stated, and without it each answer waits
    # for the client to acknowledge its headers: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
