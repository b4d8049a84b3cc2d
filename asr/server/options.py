"""Options of the server, checked."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from asr.bundle.bundle import Precision
from asr.errors import UsageError

# Names that clients have hard-coded; with `aliases` they all mean the default model.
OPENAI_MODELS = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-live-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-realtime-whisper",
)
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ServerOptions:
    """How a server runs.

    Parameters
    ----------
    models : dict of str to str
        Name → bundle (a directory, or the name of one that ships); the first is the default.
    host : str
    port : int
        0 takes a free one.
    api_keys : tuple of str
        Keys that clients give as ``Authorization: Bearer KEY``; none: no key is asked for.
    no_auth : bool
        Whether to listen on other addresses than this machine's own without a key.
    max_upload_mb : float
        Largest request in megabytes (10⁶ bytes).
    max_queue : int
        Requests uploading, waiting or running at a time; more are answered 429.
    max_streams : int
        Live clients at a time; more are refused.
    vosk_port, wyoming_port : int, optional
        Further ports: for clients of vosk-server, and for Home Assistant; 0 takes a free one.
    known_hosts : tuple of str
        Further host names of a server on a loopback address, as behind a proxy.
    cors : tuple of str
        Origins whose pages may call the server; ``*`` for any.
    aliases : bool
        Whether OpenAI's model names (``whisper-1``, …) mean the default model.
    precision : {"float32", "int8"}
    threads : int
        Threads of the CPU; 0: as many as there are cores.
    upload_seconds : float
        An upload is cut off if nothing arrives for so long.
    log_json : bool
        Whether to write an access log, one JSON object per line, on the error stream.

    Raises
    ------
    UsageError
        If a value is out of its range, or the address is open to others and no key is set.
    """

    models: dict[str, str]
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    no_auth: bool = False
    max_upload_mb: float = 25.0
    max_queue: int = 64
    max_streams: int = 100
    vosk_port: int | None = None
    wyoming_port: int | None = None
    known_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    aliases: bool = False
    precision: Precision = "float32"
    threads: int = 0
    upload_seconds: float = 30.0
    log_json: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("no model to serve; give one by --model")
        for port in (self.port, self.vosk_port, self.wyoming_port):
            if port is not None and not 0 <= port < 65536:
                raise UsageError(f"the port is {port}; expected 0 to 65535")
        for name in ("max_upload_mb", "max_queue", "max_streams", "upload_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name.replace('_', ' ')} is {getattr(self, name)}; expected a positive number")
        if not self.api_keys and not self.no_auth and not is_loopback(self.host):
            raise UsageError(
                f"host {self.host} can be reached from other machines, and no key is set: give --api-key-file, or "
                "--no-auth to let anybody in"
            )

        if self.wyoming_port is not None and self.api_keys and not self.no_auth and not is_loopback(self.host):
            raise UsageError(
                f"host {self.host} can be reached from other machines, and the Wyoming protocol knows no keys: leave "
                "out --wyoming-port, or give --no-auth to let anybody in there"
            )

    @property
    def default_model(self) -> str:
        """The name of the model that is meant where none is named."""
        return next(iter(self.models))

    @property
    def max_upload_bytes(self) -> int:
        """Largest body of a request."""
        return round(self.max_upload_mb * MEGABYTE)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can connect to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def read_keys(path: Path) -> tuple[str, ...]:
    """Return the keys in a file, one per line; lines that start with ``#`` are comments.

    Raises
    ------
    UsageError
        If the file cannot be read, or holds no key.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as a file of keys ({error})") from None
    keys = tuple(line for line in lines if line and not line.startswith("#"))
    if not keys:
        raise UsageError(f"{path}: holds no key; expected one per line")
    return keys


def parse_models(given: list[str]) -> dict[str, str]:
    """Return name → bundle for ``["an4", "calls=/models/calls"]``.

    Raises
    ------
    UsageError
        If two have the same name.
    """
    models: dict[str, str] = {}
    for text in given:
        name, is_named, bundle = text.partition("=")
        if not is_named:
            name, bundle = Path(text).name or text, text
        if not name or not bundle:
            raise UsageError(f"model {text!r}: expected BUNDLE or NAME=BUNDLE")
        if name in models:
            raise UsageError(f"two models are named {name!r}; name one of them otherwise, as in NAME={bundle}")
        models[name] = bundle
    return models
