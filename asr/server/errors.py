"""Errors in OpenAI's shape: a status, and ``{"error": {message, type, param, code}}``."""

import logging
import uuid
from typing import Any

from starlette.responses import JSONResponse

logger = logging.getLogger("asr.server")

# When a client should try again if the queue is full, in seconds.
RETRY_SECONDS = 1

# OpenAI's `type` by status; all others are invalid_request_error.
TYPES = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error"}


class ApiError(Exception):
    """An error to answer with.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        For people.
    param : str, optional
        The field that is wrong.
    code : str, optional
        For programs.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the answer."""
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """Return the answer."""
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = str(RETRY_SECONDS)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.to_dict(), self.status, headers)


def failure(error: BaseException, of: str) -> ApiError:
    """Log an error of the server, and return an answer that shows nothing of it."""
    name = uuid.uuid4().hex[:12]
    logger.error("failure %s of %s", name, of, exc_info=error)
    return ApiError(500, f"The server failed; its log says why, at failure {name}.", code="internal_error")
