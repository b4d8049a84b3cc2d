"""A small Hugging Face Hub on 127.0.0.1, for the real client: revisions, permissions, connections that break."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"


@dataclass
class Model:
    """A model: its branches and commits, each a mapping of names to contents."""

    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    card: dict[str, object] = field(default_factory=dict)
    # "", "private" (seen with the token alone) or "gated" (listed, but not given).
    access: str = ""

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit of these files alone; return its hash."""
        content = b"".join(name.encode() + data for name, data in sorted(files.items()))
        sha = hashlib.sha1(content + str(len(self.commits)).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        """Return the commit that a branch or a hash means."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub:
    """The hub's state: models by name, requests seen, and how many bytes of a file are sent before the line drops."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.requests: list[str] = []
        self.cut_after: dict[str, list[int]] = {}
        self.url = ""

    def add(self, repo: str, folder: Path, **card: object) -> Model:
        """Add a model of a folder's files."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        model = self.models.setdefault(repo, Model())
        model.card = card
        model.commit(files)
        return model

    @contextmanager
    def serving(self) -> Iterator["Hub"]:
        """Answer requests until the block ends."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
            self._tree(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*match.groups())
        else:
            self._error(404, "EntryNotFound")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401, "")
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted['organization']}/{wanted['name']}"
            # Older clients have the one, newer ones the other.
            is_private = wanted.get("private") or wanted.get("visibility") == "private"
            access = "private" if is_private else ""
            self.hub.models.setdefault(repo, Model(access=access)).commit({})
            self._json({"url": f"{self.hub.url}/{repo}", "name": repo})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for file in json.loads(body)["files"]]  # fmt: skip
            self._json({"files": files})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            self._commit(match[1], match[2], body)
        else:
            self._error(404, "EntryNotFound")

    def _commit(self, repo: str, branch: str, body: bytes) -> None:
        model = self.hub.models[repo]
        files = dict(model.commits[model.branches[branch]])
        for row in map(json.loads, body.splitlines()):
            value = row["value"]
            if row["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif row["key"] == "deletedFile":
                del files[value["path"]]
        sha = model.commit(files, branch)
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{sha}", "commitOid": sha})

    def _model(self, repo: str, revision: str, *, whole: bool) -> tuple[Model, str] | None:
        """Return a model and the commit, or None after an answer that says why not."""
        model = self.hub.models.get(repo)
        is_known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if model is None or (model.access == "private" and not is_known):
            self._error(404 if is_known else 401, "RepoNotFound")
        elif model.access == "gated" and whole and not is_known:
            self._error(401, "GatedRepo")
        elif model.access == "forbidden":
            self._error(403, "")
        elif (sha := model.find(revision)) is None:
            self._error(404, "RevisionNotFound")
        else:
            return model, sha
        return None

    def _info(self, repo: str, revision: str) -> None:
        if found := self._model(repo, revision, whole=False):
            model, sha = found
            files = [{"rfilename": name} for name in model.commits[sha]]
            self._json(
                {"id": repo, "sha": sha, "siblings": files, "cardData": model.card, "tags": [], "private": False}
            )

    def _tree(self, repo: str, revision: str) -> None:
        if found := self._model(repo, revision, whole=True):
            model, sha = found
            rows = [{"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in model.commits[sha].items()]  # fmt: skip
            self._json(rows)

    def _file(self, repo: str, revision: str, name: str) -> None:
        if not (found := self._model(repo, revision, whole=True)):
            return
        model, sha = found
        data = model.commits[sha].get(name)
        if data is None:
            self._error(404, "EntryNotFound")
            return
        first = 0
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(match[1])
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", sha)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        cuts = self.hub.cut_after.get(name)
        last = first + cuts.pop(0) if cuts else len(data)
        self.wfile.write(data[first:last])
        if last < len(data):
            self.close_connection = True

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
