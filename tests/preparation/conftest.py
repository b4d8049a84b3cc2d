"""A web server with archives."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Served:
    """A folder that is served, and how.

    Parameters
    ----------
    folder : Path
    address : str
    breaks_after : int
        Of bytes that an answer ends after; 0: it does not break off.
    ranges : list of str
        That were asked for and given.
    """

    folder: Path
    address: str = ""
    breaks_after: int = 0
    ranges: list[str] = field(default_factory=list)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives the rest of a file to a client that knows its version."""

    protocol_version = "HTTP/1.1"

    def __init__(self, served: Served, *arguments: object) -> None:
        self.served = served
        super().__init__(*arguments, directory=str(served.folder))

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, tag = path.read_bytes(), f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"'
        first = 0
        if self.headers["If-Range"] == tag:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.served.ranges.append(self.headers["Range"])
        self.send_response(206 if first else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        self.wfile.write(data[first:][: self.served.breaks_after or None])
        self.close_connection = True


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "served")
    served.folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, served)) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()
