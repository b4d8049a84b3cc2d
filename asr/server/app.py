"""The application: routes, and what every request passes through on its way to one."""

import asyncio
import hmac
import json
import logging
import socket
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from asr.errors import UsageError
from asr.server.engine import ClientGone, Engine, ServedModel
from asr.server.engine import Request as Work
from asr.server.errors import ApiError
from asr.server.forms import TranscriptionForm, read_form
from asr.server.metrics import Metrics
from asr.server.options import ServerOptions
from asr.server.realtime import RealtimeSession
from asr.server.responses import delta, done, make_response, server_sent
from asr.server.vosk import VoskSession
from asr.server.wyoming import WyomingServer
from asr.transcription.transcript import Segment, Transcript

logger = logging.getLogger("asr.server")

PAGE = Path(__file__).parent / "page"
# What the page needs, and nothing from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Answers 499, as nginx does, where nobody is left to read them.
CLIENT_GONE = 499
SWITCHING_PROTOCOLS = 101
# The WebSocket subprotocol by which OpenAI's clients in browsers give their key.
KEY_PROTOCOL = "openai-insecure-api-key."


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
    middleware = [Middleware(Frame, server=server)]
    if options.cors:
        # Outside the frame: a page may read errors, too.
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
    """What the routes do.

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
        """Say that the process runs."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, _: Request) -> Response:
        """Say whether a request would be taken."""
        taken, count = self.engine.places.taken, self.engine.places.count
        is_ready = self.ready and taken < count
        return JSONResponse({"ready": is_ready, "places": count, "taken": taken}, 200 if is_ready else 503)

    async def figures(self, _: Request) -> Response:
        """Return Prometheus's text."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, request: Request) -> Response:
        """Return the page, or a part of it: only files that are listed, whatever is asked for."""
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
            job = _Job(self, model, form)
            watcher = asyncio.create_task(job.watch(request))
            stack.callback(watcher.cancel)
            try:
                if form.stream:
                    first = await job.first_event()
                    # The answer goes on after this function ends: the place is given back with its last event.
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


class _Job:
    """A request that is being recognised."""

    def __init__(self, server: Server, model: ServedModel, form: TranscriptionForm) -> None:
        self._server, self._form = server, form
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
        self._task = asyncio.create_task(server.engine.run(model, work, self._gone))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Transcript]) -> None:
        self._segments.put_nowait(None)
        if not task.cancelled():
            # Where the client has gone nobody else asks for it, and asyncio would report that.
            task.exception()

    def _heard(self, segment: Segment) -> None:
        if not self._has_words:
            self._has_words = True
            self._server.metrics.first_words_seconds.observe(time.perf_counter() - self._started)
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
        metrics = self._server.metrics
        metrics.audio_seconds.inc(transcript.duration)
        metrics.work_seconds.inc(time.perf_counter() - self._started)
        return transcript

    async def first_event(self) -> Segment | None:
        """Return the first segment, or None at the end of a recording without words.

        Raises
        ------
        ApiError
            If there is an error before it, so that its status can still be sent.
        """
        segment = await self._segments.get()
        if segment is None:
            await self.transcript()
        return segment

    async def events(self, segment: Segment | None, stack: ExitStack) -> AsyncIterator[bytes]:
        """Yield server-sent events; an error after the first of them is an event, too."""
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
    """What a client sent, as a file without a name of its own: neither the client's nor the server's is shown."""

    name = "the upload"

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        # The loop has ended, and with it whoever would have listened.
        raise ClientGone from None


class Frame:
    """What every request passes through: its name, its key, its errors, the log and the figures."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self._app, self._server = app, server
        self._keys = [key.encode() for key in server.options.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_headers(request_id)]
            elif message["type"] == "websocket.accept":
                status = SWITCHING_PROTOCOLS
            await send(message)

        try:
            if scope["type"] == "websocket":
                self._check_origin(headers)
            self._check_key(scope, headers.get(b"authorization", b""))
            await self._app(scope, receive, send_framed)
        except ApiError as error:
            await error.response()(scope, receive, send_framed)
        except ClientDisconnect:
            status = CLIENT_GONE
        except Exception:
            logger.exception("request %s failed", request_id)
            if status or scope["type"] == "websocket":
                raise
            failure = ApiError(500, f"The server failed; its log names request {request_id}.", code="internal_error")
            await failure.response()(scope, receive, send_framed)
        finally:
            self._note(scope, status, time.perf_counter() - started, request_id)

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        """Refuse pages of other sites: browsers let them connect, and leave it to the server."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        known = self._server.options.cors
        if origin and origin.partition("://")[2] != host and origin not in known and "*" not in known:
            raise ApiError(403, f"Pages of {origin!r} may not connect; the server's option --cors lets them.")

    def _check_key(self, scope: Scope, given: bytes) -> None:
        is_open = scope["type"] == "http" and not scope["path"].startswith(("/v1/", "/metrics"))
        if not self._keys or is_open:
            return
        for protocol in scope.get("subprotocols", ()):
            # A page in a browser cannot set headers.
            if protocol.startswith(KEY_PROTOCOL):
                given = b"Bearer " + protocol.removeprefix(KEY_PROTOCOL).encode()
        scheme, _, key = given.partition(b" ")
        # Compared with all keys, each in constant time, so that the time tells nothing.
        matches = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(matches):
            problem = "Incorrect API key provided." if given else "You did not provide an API key."
            raise ApiError(401, f"{problem} Expected a header 'Authorization: Bearer KEY'.", code="invalid_api_key")

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("endpoint"), "__name__", "other")
        self._server.metrics.requests.labels(route, str(status)).inc()
        self._server.metrics.seconds.labels(route).observe(seconds)
        if self._server.options.log_json:
            row = {
                "time": round(time.time(), 3),
                "request": request_id,
                "method": scope.get("method", "WEBSOCKET"),
                "path": scope["path"],
                "status": status,
                "seconds": round(seconds, 4),
                "client": (scope.get("client") or ("",))[0],
            }
            print(json.dumps(row), file=sys.stderr, flush=True)


def _request_id(given: bytes) -> str:
    """Return the client's own name for the request if it is one, else a new one."""
    name = given.decode("ascii", "replace")
    return (
        name
        if name and len(name) <= 128 and name.replace("-", "").replace("_", "").isalnum()
        else f"req_{uuid.uuid4().hex}"
    )


def _headers(request_id: str) -> list[tuple[bytes, bytes]]:
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    ]


def serve(options: ServerOptions, ready: Callable[[str], None] = lambda address: None) -> None:
    """Serve until SIGINT or SIGTERM; what runs then is finished, what comes is refused.

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
        config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, lifespan="on")
        # The vosk port is another door to the same application, whose WebSocket at / speaks that protocol.
        uvicorn.Server(config).run(sockets=[listener for listener in sockets.values() if listener is not wyoming])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port} ({error.strerror or error}); choose another --host or port"
        ) from None
