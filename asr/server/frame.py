"""Middleware: request names, keys, hosts and origins, errors, log and figures."""

import hmac
import json
import logging
import sys
import time
import uuid

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asr.server.errors import ApiError
from asr.server.metrics import Metrics
from asr.server.options import ServerOptions, is_loopback

logger = logging.getLogger("asr.server")

# What the page needs; nothing from other sites.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "media-src 'self' blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# nginx's status for a client that has gone.
CLIENT_GONE = 499
SWITCHING_PROTOCOLS = 101
# The WebSocket subprotocol by which OpenAI's clients in browsers give their key.
KEY_PROTOCOL = "openai-insecure-api-key."


class Frame:
    """Names requests, checks keys, hosts and origins, turns exceptions into answers, and keeps log and figures.

    Parameters
    ----------
    app : ASGI application
    options : ServerOptions
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, options: ServerOptions, metrics: Metrics) -> None:
        self._app, self._options, self._metrics = app, options, metrics
        self._keys = [key.encode() for key in options.api_keys]

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
            self._check_host(headers)
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

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse requests by other host names: a site's name may be made to mean this machine (DNS rebinding)."""
        options = self._options
        if self._keys or not is_loopback(options.host):
            # Other sites' pages know no key; and without keys other machines may ask anyway.
            return
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if host and not is_loopback(name) and name.lower() not in options.known_hosts:
            raise ApiError(
                421,
                f"This server does not answer to {name!r}; the option --known-host adds a name, as for a proxy.",
                code="unknown_host",
            )

    def _check_origin(self, headers: dict[bytes, bytes]) -> None:
        """Refuse WebSockets of other sites' pages, which browsers leave to the server."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        known = self._options.cors
        if origin and origin.partition("://")[2] != host and origin not in known and "*" not in known:
            raise ApiError(403, f"Pages of {origin!r} may not connect; the server's option --cors allows them.")

    def _check_key(self, scope: Scope, given: bytes) -> None:
        is_open = scope["type"] == "http" and not scope["path"].startswith(("/v1/", "/metrics"))
        if not self._keys or is_open:
            return
        for protocol in scope.get("subprotocols", ()):
            # A page cannot set a WebSocket's headers.
            if protocol.startswith(KEY_PROTOCOL):
                given = b"Bearer " + protocol.removeprefix(KEY_PROTOCOL).encode()
        scheme, _, key = given.partition(b" ")
        # With all keys, each in constant time, so that timing reveals nothing.
        matches = [hmac.compare_digest(key.strip(), known) for known in self._keys]
        if scheme.lower() != b"bearer" or not any(matches):
            problem = "Incorrect API key provided." if given else "You did not provide an API key."
            raise ApiError(401, f"{problem} Expected a header 'Authorization: Bearer KEY'.", code="invalid_api_key")

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("endpoint"), "__name__", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if self._options.log_json:
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
