"""A loopback server that speaks as much of the hub's protocol as publishing needs.

Belongs here: making repositories, uploading through LFS, commits, and reading what arrived.
Does not belong here: LLMs (`pcorr_assets_tests.lm.hub_server`), data sets that are only read
(`web_server`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_of-the-tests-only"
# Binary files go through LFS.
REGULAR = (".md", ".json", ".csv", ".jsonl")


@dataclass
class Hub:
    """Repositories below `folder`, one folder each: `models/org/name`, `datasets/org/name`.

    `private` says what was made private, `uploads` which objects were put, `requests` every
    method and path. `drops`: so many uploads of objects are refused.
    """

    url: str
    folder: Path
    private: dict[str, bool] = field(default_factory=dict)
    commits: dict[str, list[str]] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    drops: int = 0

    def repository(self, name: str) -> Path:
        """The folder of `models/org/name` or `datasets/org/name`."""
        return self.folder / name

    def files(self, name: str) -> dict[str, bytes]:
        """What arrived, by name."""
        folder = self.repository(name)
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }


@contextmanager
def serve(folder: Path) -> Iterator[Hub]:
    """An empty hub on a free port of 127.0.0.1 for the length of the block."""
    hub = Hub("", folder)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path.partition("?")[0]).strip("/")
        self.hub.requests.append(f"{self.command} {path}")
        parts = path.split("/")
        writes = self.command in ("POST", "PUT") and parts[0] != "objects"
        if writes and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(b"", 401)
        elif path == "api/validate-yaml":
            self._validate(json.loads(body))
        elif path == "api/repos/create":
            self._create(json.loads(body))
        elif parts[0] == "objects":
            self._object(parts[1], body)
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif parts[0] == "api":
            self._api("/".join(parts[1:4]), parts[4:], body)
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            parts = parts[1:] if parts[0] == "datasets" else parts
            # org/name/resolve/revision/file
            self._file(f"{kind}/{parts[0]}/{parts[1]}", "/".join(parts[4:]))

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

    def _validate(self, asked: dict[str, Any]) -> None:
        import yaml

        assert asked["repoType"] in ("model", "dataset")
        header = yaml.safe_load(asked["content"].split("---\n")[1])
        errors = [] if isinstance(header, dict) else [{"message": "no header"}]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create(self, asked: dict[str, Any]) -> None:
        kind = "datasets" if asked.get("type") == "dataset" else "models"
        name = f"{kind}/{asked['organization']}/{asked['name']}"
        folder = self.hub.repository(name)
        if folder.is_dir():
            self._json({"error": "it is there already"}, 409)
            return
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.bin filter=lfs\n")
        self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.hub.commits[name] = [hashlib.sha1(name.encode()).hexdigest()]
        self._json({"url": f"{self.hub.url}/{name.removeprefix('models/')}"})

    def _batch(self, asked: dict[str, Any]) -> None:
        found = []
        for one in asked["objects"]:
            place = self.hub.folder / "objects" / one["oid"]
            href = f"{self.hub.url}/objects/{one['oid']}"
            actions = {} if place.is_file() else {"actions": {"upload": {"href": href}}}
            found.append({"oid": one["oid"], "size": one["size"], **actions})
        answer = {"transfer": "basic", "objects": found}
        self._json(answer, kind="application/vnd.git-lfs+json")

    def _object(self, oid: str, body: bytes) -> None:
        if self.hub.drops:
            self.hub.drops -= 1
            self._send(b"", 400)
            return
        assert hashlib.sha256(body).hexdigest() == oid
        place = self.hub.folder / "objects" / oid
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(body)
        self.hub.uploads.append(oid)
        self._send(b"", 200)

    def _api(self, name: str, rest: list[str], body: bytes) -> None:
        folder = self.hub.repository(name)
        if not folder.is_dir():
            self._send(b"", 404, {"X-Error-Code": "RepoNotFound"})
        elif rest[:1] == ["preupload"]:
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "regular" if one["path"].endswith(REGULAR) else "lfs",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif rest[:1] == ["commit"]:
            self._commit(name, [json.loads(line) for line in body.splitlines()])
        elif rest[:1] == ["paths-info"]:
            from urllib.parse import parse_qs

            text = body.decode()
            asked = json.loads(text)["paths"] if text[:1] == "{" else parse_qs(text)["paths"]
            self._json([self._entry(folder, path) for path in asked if (folder / path).is_file()])
        elif rest[:1] == ["tree"]:
            self._json([self._entry(folder, path) for path in self.hub.files(name)])
        else:
            siblings = [{"rfilename": path} for path in self.hub.files(name)]
            sha = self.hub.commits[name][-1]
            about = {"id": name.partition("/")[2], "sha": sha, "siblings": siblings}
            self._json({**about, "private": self.hub.private[name]})

    def _entry(self, folder: Path, name: str) -> dict[str, Any]:
        content = (folder / name).read_bytes()
        oid = hashlib.sha1(content).hexdigest()
        return {"type": "file", "oid": oid, "size": len(content), "path": name}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        folder, head = self.hub.repository(name), lines[0]["value"]
        if head.get("parentCommit", self.hub.commits[name][-1]) != self.hub.commits[name][-1]:
            self._json({"error": "the branch moved"}, 412)
            return
        for line in lines[1:]:
            place = folder / line["value"]["path"]
            if line["key"] == "deletedFile":
                place.unlink()
            elif line["key"] == "lfsFile":
                shutil.copyfile(self.hub.folder / "objects" / line["value"]["oid"], place)
            else:
                place.write_bytes(base64.b64decode(line["value"]["content"]))
        commit = hashlib.sha1(repr((self.hub.commits[name], lines)).encode()).hexdigest()
        self.hub.commits[name].append(commit)
        url = f"{self.hub.url}/{name.removeprefix('models/')}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _file(self, name: str, file: str) -> None:
        path = self.hub.repository(name) / file
        if not path.is_file():
            self._send(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        content, status = path.read_bytes(), 200
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": self.hub.commits[name][-1]}
        asked = self.headers.get("Range", "")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            status, end = 206, min(int(last or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
            content = content[int(first) : end + 1]
        self._send(content, status, headers)

    def _json(self, value: object, status: int = 200, kind: str = "application/json") -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": kind})

    def _send(self, content: bytes, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
