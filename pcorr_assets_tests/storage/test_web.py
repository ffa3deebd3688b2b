"""Files of web servers and of the hub: read as those of a disk, and what goes wrong there."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from pcorr_assets.config import Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage import faults, remote
from pcorr_assets.storage.faults import ATTEMPTS, ChangedError
from pcorr_assets.storage.folders import fetched_folder
from pcorr_assets.text.files import expand_globs, iter_file
from pcorr_assets_tests.storage.web_server import DATASET, Web, serve

ROWS = [{"id": f"p{i}", "text": f"Page {i} é " * 40} for i in range(1000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server of files that are read in many blocks; waits between attempts are short."""
    monkeypatch.setattr(faults, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(remote.RemoteFile.open, "__defaults__", ("rb", 1 << 16))
    monkeypatch.setenv("HF_TOKEN", "a-token-of-the-environment")
    (tmp_path / "files").mkdir()
    with serve(tmp_path / "files") as web:
        yield web


def put(web: Web, name: str, body: bytes = LINES) -> Path:
    path = web.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def rows_of(url: str, storage: Storage | None = None) -> list[dict[str, str]]:
    (path,) = expand_globs([url], storage or Storage())
    return [row for rows in iter_file(path) for row in rows]


def test_files_of_a_web_server_are_read(web: Web) -> None:
    put(web, "a/x y+.jsonl.gz", gzip.compress(LINES, compresslevel=1))
    put(web, "plain.jsonl")
    assert rows_of(f"{web.url}/a/x%20y+.jsonl.gz") == ROWS
    assert rows_of(f"{web.url}/plain.jsonl?version=2") == ROWS


def test_faults_of_a_web_server_that_pass_leave_no_trace(web: Web) -> None:
    put(web, "plain.jsonl")
    web.faults += [503, 503, None, None, None, None, 0, 429, None, None, 500, 0]
    assert rows_of(f"{web.url}/plain.jsonl") == ROWS
    assert web.faults == []


@pytest.mark.parametrize(
    ("status", "message", "requests"),
    [
        (404, "there is no such object", 1),
        (403, r"no permission .*403", 1),
        (401, r"no permission .*401", 1),
        (503, rf"cannot be read or written \(tried {ATTEMPTS} times\).*503", ATTEMPTS),
    ],
)
def test_what_a_web_server_refuses_is_said(
    web: Web, status: int, message: str, requests: int
) -> None:
    put(web, "plain.jsonl")
    web.faults += [status] * 99
    with pytest.raises(PcorrError, match=message):
        rows_of(f"{web.url}/plain.jsonl")
    # Each time with HEAD, then with GET.
    assert len(web.seen) == 2 * requests


def test_a_web_server_that_is_not_there_is_said(web: Web) -> None:
    with pytest.raises(PcorrError, match=rf"cannot be reached \(tried {ATTEMPTS} times\)"):
        rows_of("http://127.0.0.1:9/plain.jsonl")


@pytest.mark.parametrize("versions", ["ETag", "Last-Modified"])
def test_a_file_of_a_web_server_that_changes_is_noticed(web: Web, versions: str) -> None:
    web.versions = versions
    put(web, "plain.jsonl")
    (path,) = expand_globs([f"{web.url}/plain.jsonl"], Storage())
    assert isinstance(path, remote.RemoteFile)
    with path.open() as file:
        file.read(100)
        os.utime(put(web, "plain.jsonl", LINES.replace(b"Page", b"page")), (1, 1))
        with pytest.raises(ChangedError, match="the object changed while it was read"):
            file.read()


def test_a_server_without_parts_or_lengths_is_refused(web: Web) -> None:
    put(web, "plain.jsonl")
    put(web, "small.jsonl", LINES.splitlines(keepends=True)[0])
    web.ranges = False
    with pytest.raises(PcorrError, match=r"no parts of files .*download it and name its path"):
        rows_of(f"{web.url}/plain.jsonl")
    assert rows_of(f"{web.url}/small.jsonl") == ROWS[:1]
    web.lengths = False
    with pytest.raises(PcorrError, match="does not say how long it is"):
        rows_of(f"{web.url}/small.jsonl")


def test_a_file_of_50_gb_is_read_in_the_memory_of_some_blocks(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'{"id": "p", "text": "' + b"x" * 1000 + b'"}\n'
    size = (50 << 30) // len(line) * len(line)

    def make(start: int, end: int) -> bytes:
        first = start % len(line)
        return (line * ((end - start) // len(line) + 2))[first : first + end - start]

    web.made["huge.jsonl"] = (size, make)
    monkeypatch.setattr(remote.RemoteFile.open, "__defaults__", ("rb", 1 << 20))
    (path,) = expand_globs([f"{web.url}/huge.jsonl"], Storage())
    assert isinstance(path, remote.RemoteFile)
    batches = iter_file(path)
    next(batches)
    tracemalloc.start()
    read = sum(len(rows) for rows in islice(batches, 30)) * len(line)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Blocks and rows of a batch; those of the server, which runs in this process, among them.
    assert read > 25 << 20
    assert peak < 16 << 20
    with path.open() as file:
        file.seek(size - 3 * len(line))
        assert file.read() == 3 * line


def test_files_of_the_hub_are_listed_and_read(web: Web) -> None:
    hub = Storage(endpoint=web.url)
    names = ["data/a ä.jsonl", "data/b+.jsonl.gz", "data/deep/c.jsonl"]
    for name in names:
        put(web, name, gzip.compress(LINES) if name.endswith(".gz") else LINES)
    put(web, "readme.md", b"words")
    for revision in ("", "@main"):
        found = expand_globs([f"hf://{DATASET}{revision}/data/**/*.jsonl*"], hub)
        assert [str(path) for path in found] == [
            f"hf://{DATASET}{revision}/{name}" for name in names
        ]
        assert [sum(len(rows) for rows in iter_file(path)) for path in found] == [1000] * 3
    web.faults += [None, None, None, None, 0]
    assert rows_of(f"hf://{DATASET}/data/a ä.jsonl", hub) == ROWS
    # What is new is seen, by the same process.
    put(web, "data/d.jsonl", b"")
    assert len(expand_globs([f"hf://{DATASET}/data/*.jsonl"], hub)) == 2
    with pytest.raises(PcorrError, match="no object matches"):
        expand_globs([f"hf://{DATASET}/data/*.parquet"], hub)
    for url in (f"hf://{DATASET}/gone.jsonl", "hf://datasets/org/other/x.jsonl",
                "hf://datasets/org/other/*.jsonl"):  # fmt: skip
        with pytest.raises(PcorrError, match="there is no such object"):
            expand_globs([url], hub)


def test_a_file_of_the_hub_that_changes_is_noticed(web: Web) -> None:
    hub = Storage(endpoint=web.url)
    put(web, "x.jsonl")
    (path,) = expand_globs([f"hf://{DATASET}/x.jsonl"], hub)
    assert isinstance(path, remote.RemoteFile)
    with path.open() as file:
        file.read(100)
        put(web, "x.jsonl", LINES.replace(b"Page", b"page"))
        with pytest.raises(ChangedError, match="the object changed while it was read"):
            file.read()


def test_a_repository_that_needs_a_login(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    put(web, "x.jsonl")
    web.token = "a-token-of-the-environment"
    url = f"hf://{DATASET}/x.jsonl"
    assert rows_of(url, Storage(endpoint=web.url)) == ROWS
    with pytest.raises(PcorrError, match=r"HF_TOKEN") as caught:
        rows_of(url, Storage(endpoint=web.url, anonymous=True))
    assert web.token not in str(caught.value)


def test_a_folder_of_tasks_on_the_hub(web: Web, tmp_path: Path) -> None:
    put(web, "tasks/a.yaml", b"task: a")
    put(web, "tasks/deep/code.py", b"x = 1")
    found = fetched_folder(
        f"hf://{DATASET}/tasks", Storage(endpoint=web.url), tmp_path / "cache", refresh=True
    )
    files = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    assert files == {"a.yaml", "deep/code.py"}
