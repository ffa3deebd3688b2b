"""A proxy on loopback that injects faults between a client and a server of the S3 protocol.

Belongs here: forwarding requests, and spoiling those that a test names. Does not belong here:
what has to become of them (the tests).
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWERS = {
    "503": b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request '
    b"rate.</Message></Error>",
    "403": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message>'
    b"</Error>",
}


@dataclass
class Fault:
    """What happens to requests of a method for paths that contain `part`, the next `times`.

    `kind`: `503`, `403`; `drop` (half of the body, then the connection ends; no answer at all
    where it has no body); `short` (a whole answer of half the body); `stall` (headers, then nothing
    until the test ends); `before` (`act` runs, then the request goes on).
    """

    kind: str
    part: str
    times: int = 1
    method: str = "GET"
    act: Callable[[], object] | None = None
    hits: int = 0


@dataclass
class Proxy:
    """The proxy's URL, the faults to come, and the requests that came."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if it has one."""
        self.seen.append((method, path))
        for fault in self.faults:
            if fault.method == method and fault.part in path and fault.hits < fault.times:
                fault.hits += 1
                return fault
        return None


def start_proxy(host: str, port: int) -> tuple[Proxy, ThreadingHTTPServer]:
    """A proxy in front of that server; `shutdown` and `server_close` end it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

        def handle_any(self) -> None:
            fault = proxy.take(self.command, self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if fault is not None and fault.kind in ANSWERS:
                headers = [("Content-Type", "application/xml")]
                self.answer(int(fault.kind), headers, ANSWERS[fault.kind])
                return
            if fault is not None and fault.act is not None:
                fault.act()
            connection = http.client.HTTPConnection(host, port, timeout=20)
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            headers = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "date", "server")
            ]
            connection.close()
            if fault is not None and fault.kind == "drop" and not content:
                self.close_connection = True
                return
            self.answer(response.status, headers, content, fault)

        def answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            content: bytes,
            fault: Fault | None = None,
        ) -> None:
            kind = fault.kind if fault is not None else ""
            sent = content[: len(content) // 2] if kind in ("drop", "short") else content
            stated = len(sent) if kind == "short" else len(content)
            self.send_response(status)
            for name, value in headers:
                if name.lower() != "content-length":
                    self.send_header(name, value)
            if self.command == "HEAD":
                stated = int(dict(headers).get("Content-Length", stated))
            self.send_header("Content-Length", str(stated))
            self.end_headers()
            if kind == "stall":
                self.wfile.flush()
                proxy.released.wait(30)
                self.close_connection = True
                return
            if self.command != "HEAD":
                self.wfile.write(sent)
            if kind == "drop":
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    # Asked often whether it shall end: every test has a proxy of its own.
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return proxy, server
