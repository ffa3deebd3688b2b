"""A web server on loopback with a folder of files, which is a hub of datasets as well.

Belongs here: files with ranges and versions, as web servers give them, and as much of the hub's
protocol as `hf://` needs. Does not belong here: LLMs (`pcorr_assets_tests.lm.hub_server`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

DATASET = "datasets/org/name"


@dataclass
class Web:
    """Its URL, its folder, how it answers, and the requests that came.

    `versions`: `ETag`, `Last-Modified`, or nothing. `ranges`: whether parts are given. `lengths`:
    whether it says how long a file is. `faults`: for each request to come its status, 0 for a
    connection that ends in the middle of the answer, or None for none. `made`: files that lie
    nowhere, with their size and what makes the bytes from one place to another.
    """

    url: str
    folder: Path
    versions: str = "ETag"
    ranges: bool = True
    lengths: bool = True
    token: str = ""
    faults: list[int | None] = field(default_factory=list)
    made: dict[str, tuple[int, Callable[[int, int], bytes]]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)


@contextmanager
def serve(folder: Path) -> Iterator[Web]:
    """Serve a folder on a free port of 127.0.0.1 for the length of the block."""
    web = Web("", folder)
    handler = type("Handler", (_Handler,), {"web": web})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.web.seen.append(f"{self.command} {self.path}")
        fault = self.web.faults.pop(0) if self.web.faults else None
        path = unquote(self.path.partition("?")[0]).strip("/")
        hub: dict[str, Callable[[str, bytes], None]] = {
            f"api/{DATASET}/tree/": self._tree,
            f"api/{DATASET}/paths-info/": self._paths_info,
            f"{DATASET}/resolve/": self._resolve,
        }
        if fault:
            self._send(b"", fault)
        elif self.web.token and f"Bearer {self.web.token}" != self.headers.get("Authorization"):
            self._send(b"", 401)
        elif path in (f"api/{DATASET}", f"api/{DATASET}/revision/main"):
            self._send_json({"id": "org/name", "sha": "0" * 40, "siblings": [], "private": False})
        elif path.startswith("api/"):
            for prefix, answer in hub.items():
                if path.startswith(prefix):
                    answer(path.removeprefix(prefix).partition("/")[2], body)
                    return
            self._send(b"", 404, {"X-Error-Code": "RepoNotFound"})
        elif path.startswith(f"{DATASET}/resolve/"):
            self._resolve(path.removeprefix(f"{DATASET}/resolve/").partition("/")[2], body, fault)
        else:
            self._file(path, fault)

    do_GET = do_HEAD = do_POST = _handle  # noqa: N815

    def _entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self.web.folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
        oid = hashlib.sha1(path.read_bytes()).hexdigest()
        return {"type": "file", "oid": oid, "size": path.stat().st_size, "path": name}

    def _tree(self, name: str, body: bytes) -> None:
        folder = self.web.folder / name
        if not folder.is_dir():
            self._send(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        is_deep = parse_qs(self.path.partition("?")[2]).get("recursive") == ["True"]
        found = sorted(folder.rglob("*") if is_deep else folder.iterdir())
        self._send_json([self._entry(path) for path in found])

    def _paths_info(self, name: str, body: bytes) -> None:
        text = body.decode()
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
        found = [self.web.folder / path for path in paths]
        self._send_json([self._entry(path) for path in found if path.exists()])

    def _resolve(self, name: str, body: bytes, fault: int | None = None) -> None:
        self._file(name, fault)

    def _file(self, name: str, fault: int | None) -> None:
        path = self.web.folder / name
        if name in self.web.made:
            self._made(*self.web.made[name])
            return
        if not path.is_file():
            self._send(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        content, status = path.read_bytes(), 200
        headers = {}
        if self.web.versions == "ETag":
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        elif self.web.versions:
            headers["Last-Modified"] = self.date_time_string(path.stat().st_mtime)
        asked = self.headers.get("Range", "")
        if asked and self.web.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            status, size = 206, len(content)
            headers["Content-Range"] = f"bytes {first}-{last or size - 1}/{size}"
            content = content[int(first) : int(last or size - 1) + 1]
        self._send(content, status, headers, is_cut=fault == 0)

    def _made(self, size: int, make: Callable[[int, int], bytes]) -> None:
        asked = self.headers.get("Range")
        first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), int(last or size - 1) + 1
        self.send_response(206 if asked else 200)
        self.send_header("ETag", '"made"')
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(make(start, end))

    def _send_json(self, value: object) -> None:
        self._send(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def _send(
        self,
        content: bytes,
        status: int,
        headers: dict[str, str] | None = None,
        *,
        is_cut: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.web.lengths:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        if is_cut:
            self.close_connection = True
