"""A loopback server that speaks as much of the hub's protocol as loading an LLM needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Repository:
    """One repository: a folder for each commit, names of commits, and how it misbehaves.

    `drops`: so many downloads of the weights end in the middle of the file.
    """

    commits: dict[str, Path]
    revisions: dict[str, str]
    status: int = 200
    error_code: str = ""
    drops: int = 0


@dataclass
class Hub:
    """Repositories by name, and every request that came (method and path)."""

    url: str
    repositories: dict[str, Repository]
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve(repositories: dict[str, Repository]) -> Iterator[Hub]:
    """Serve them on a free port of 127.0.0.1 for the length of the block."""
    hub = Hub("", repositories)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _answer(self, *, body: bool) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        name, rest = "/".join(parts[:2]), parts[2:]
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._refuse(404, "RepoNotFound")
        elif repository.status != 200 and not is_api:
            self._refuse(repository.status, repository.error_code)
        elif repository.status != 200 and not repository.error_code:
            self._refuse(repository.status, "")
        else:
            revision = rest[1] if len(rest) > 1 else "main"
            commit = repository.revisions.get(revision, revision)
            if commit not in repository.commits:
                self._refuse(404, "RevisionNotFound")
            elif is_api:
                self._describe(name, repository.commits[commit], commit, body)
            else:
                self._send_file(repository, commit, "/".join(rest[2:]), body)

    def _describe(self, name: str, folder: Path, commit: str, body: bool) -> None:
        sizes = "blobs=" in self.path
        files: list[dict[str, str | int]] = [
            {
                "rfilename": path.relative_to(folder).as_posix(),
                **({"size": path.stat().st_size} if sizes else {}),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        text = json.dumps({"id": name, "sha": commit, "siblings": files, "private": False})
        self._send(text.encode(), {"Content-Type": "application/json"}, body)

    def _send_file(self, repository: Repository, commit: str, file: str, body: bool) -> None:
        path = repository.commits[commit] / file
        if not path.is_file():
            self._refuse(404, "EntryNotFound")
            return
        content = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        if body and repository.drops and file.endswith(".safetensors"):
            repository.drops -= 1
            self._head(200, {**headers, "Content-Length": str(len(content))})
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self._send(content, headers, body)

    def _send(self, content: bytes, headers: dict[str, str], body: bool) -> None:
        self._head(200, {**headers, "Content-Length": str(len(content))})
        if body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        headers = {"Content-Length": "0"}
        if code:
            headers["X-Error-Code"] = code
        self._head(status, headers)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
