"""Pools of very many small files: listing them, and putting them into groups.

Belongs here: a server of the S3 protocol that makes up its listing, and as many files on a disk.
Does not belong here: printing.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from filters import _measure

FILES = 100_000

GROUP = """
import json, os, resource, sys, time
from pathlib import Path
from pcorr_assets.config import Pool
from pcorr_assets.filters.groups import refresh_groups
from pcorr_assets.warehouse import Warehouse
import duckdb, pyarrow
home, files, endpoint = sys.argv[1:]
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")
storage = {"endpoint": endpoint} if endpoint else {}
pool = Pool.model_validate({"sample": "s", "files": [files], "keep_ratio": 0.5, "storage": storage})
seconds = []
for _ in range(2):
    start = time.perf_counter()
    groups = refresh_groups(Warehouse(Path(home)), "crawl", pool).keys
    seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": seconds[0], "again": seconds[1], "groups": len(groups),
                  "mib": peak_mib()}))
"""

GLOB = """
import json, os, sys, time
_, files, endpoint = sys.argv[1:]
os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")
import fsspec, glob
start = time.perf_counter()
if endpoint:
    found = fsspec.filesystem("s3", endpoint_url=endpoint).glob(files)
else:
    found = sorted(glob.glob(files, recursive=True))
print(json.dumps({"seconds": time.perf_counter() - start, "files": len(found), "mib": peak_mib()}))
"""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the data to a few seconds."""
    count = 3_000 if quick else FILES
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as name, _listing(count) as endpoint:
        folder = Path(name)
        for number in range(count):
            path = folder / "pool" / f"{number // 1000:04d}" / f"{number:07d}.jsonl"
            if number % 1000 == 0:
                path.parent.mkdir(parents=True)
            os.close(os.open(path, os.O_CREAT))
        return [
            _row(folder, "objects of a store", "s3://bucket/pool/**/*.jsonl", endpoint, count),
            _row(folder, "files of a disk", str(folder / "pool/**/*.jsonl"), "", count),
        ]


def _row(folder: Path, what: str, files: str, endpoint: str, count: int) -> dict[str, Any]:
    other = _measure(GLOB, "", files, endpoint)
    ours = _measure(GROUP, str(folder / f"home{len(endpoint)}"), files, endpoint)
    assert other["files"] == count
    return {
        "name": f"{count:,} {what}, listed and put into groups",
        "ours_seconds": ours["seconds"],
        "other": "fsspec's glob alone" if endpoint else "glob alone",
        "other_seconds": other["seconds"],
        "ratio": other["seconds"] / ours["seconds"],
        "note": (
            f"{ours['groups']:.0f} groups; looked at again in {ours['again']:.1f} s; "
            f"peak {ours['mib']:.0f} MiB against {other['mib']:.0f}"
        ),
    }


@contextmanager
def _listing(count: int) -> Iterator[str]:
    """The address of a server, a process of its own, that lists so many objects."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=_serve, args=(count, there), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        server.terminate()
        server.join()


def _serve(count: int, port: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

        def do_GET(self) -> None:
            query = {key: found[0] for key, found in parse_qs(urlsplit(self.path).query).items()}
            body = _page(query, count).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def _page(query: dict[str, str], count: int) -> str:
    start = int(query.get("continuation-token", "0"))
    end = min(start + int(query.get("max-keys", "1000")), count)
    entries = "".join(
        f"<Contents><Key>pool/{n // 1000:04d}/{n:07d}.jsonl</Key><Size>{n % 5000}</Size>"
        f"<ETag>&quot;{n:032x}&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "</Contents>"
        for n in range(start, end)
    )
    more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
    return (
        '<?xml version="1.0"?><ListBucketResult><Name>bucket</Name>'
        f"<KeyCount>{end - start}</KeyCount><IsTruncated>{str(end < count).lower()}</IsTruncated>"
        f"{more}{entries}</ListBucketResult>"
    )
