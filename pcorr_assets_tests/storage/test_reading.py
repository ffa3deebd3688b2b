"""Objects of a store: listed, read, and what becomes of every fault on the way."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage import listing, remote
from pcorr_assets.storage.faults import ATTEMPTS, ChangedError
from pcorr_assets.storage.filesystems import filesystem_of, options_of
from pcorr_assets.storage.remote import RemoteFile, stamp_of
from pcorr_assets.text.files import expand_globs, iter_file
from pcorr_assets_tests.storage.conftest import BUCKET, SECRET
from pcorr_assets_tests.storage.proxy import Fault, Proxy

ROWS = [{"id": f"p{i}", "text": f"Page {i} é " * 40} for i in range(3000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
NAMES = ["ä ö/x+%41y.jsonl", "q/what?#1 & more.jsonl", "q/[1]*.jsonl", "plain.jsonl"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a megabyte has many blocks."""
    monkeypatch.setattr(remote.RemoteFile.open, "__defaults__", ("rb", 1 << 16))


def put(s3: Any, key: str, body: bytes = LINES) -> str:
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def rows_of(url: str, storage: Storage) -> list[dict[str, Any]]:
    (path,) = expand_globs([url], storage)
    return [row for rows in iter_file(path) for row in rows]


def test_names_of_every_kind_are_listed_and_read(s3: Any, storage: Storage) -> None:
    for name in [*NAMES, ".hidden.jsonl", "q/deep/er.jsonl", "other.txt", "folder/"]:
        put(s3, f"pool/{name}", b'{"text": "x"}')
    found = expand_globs([f"s3://{BUCKET}/pool/**/*.jsonl"], storage)
    expected = sorted([*NAMES, "q/deep/er.jsonl"], key=lambda name: name.split("/"))
    assert [str(path) for path in found] == [f"s3://{BUCKET}/pool/{name}" for name in expected]
    assert [rows for path in found for rows in iter_file(path)] == [[{"text": "x"}]] * 5
    one = [str(path) for path in expand_globs([f"s3://{BUCKET}/pool/q/what[?]#*.jsonl"], storage)]
    assert one == [f"s3://{BUCKET}/pool/q/what?#1 & more.jsonl"]
    literal = f"s3://{BUCKET}/pool/plain.jsonl"
    assert [str(path) for path in expand_globs([literal, literal], storage)] == [literal]


def test_patterns_match_what_they_match_on_a_disk(
    s3: Any, storage: Storage, tmp_path: Path
) -> None:
    for name in ("a.jsonl", "b/a.jsonl", "b/c/a.jsonl", "b/.d/a.jsonl", "b/.e.jsonl", "bb/x.jsonl"):
        put(s3, f"pool/{name}", b"{}")
        (tmp_path / "pool" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pool" / name).write_text("{}")
    for pattern in ("*.jsonl", "**/*.jsonl", "*/a.jsonl", "**/a.jsonl", "b*/?.jsonl", "b/**",
                    "b/.*/a.jsonl", "**/[a-c]/*.jsonl"):  # fmt: skip
        here = expand_globs([tmp_path / "pool" / pattern])
        there = expand_globs([f"s3://{BUCKET}/pool/{pattern}"], storage)
        assert [str(path).split("/pool/")[1] for path in there] == [
            str(path).split("/pool/")[1] for path in here
        ], pattern


def test_a_listing_of_many_pages_streams(
    s3: Any, storage: Storage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE_KEYS", 4)
    for number in range(11):
        put(s3, f"many/{number:04d} +.jsonl", b"")
    pattern = f"s3://{BUCKET}/many/*.jsonl"
    first = next(iter(listing.iter_objects(pattern, storage)))
    assert str(first) == f"s3://{BUCKET}/many/0000 +.jsonl"
    assert sum("list-type=2" in path for _, path in proxy.seen) == 1
    proxy.seen.clear()
    proxy.faults.append(Fault("503", "continuation-token"))
    found = listing.find_objects(pattern, storage)
    assert len(found) == 11
    assert found[10].known == stamp_of(found[10])
    assert sum("list-type=2" in path for _, path in proxy.seen) == 4


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("x.jsonl.gz", kind) for kind in ("503", "drop", "short", "stall")),
        *((name, kind) for name in ("x.parquet", "x.arrow") for kind in ("drop", "short")),
    ],
)
def test_faults_that_pass_leave_no_trace(
    s3: Any, storage: Storage, proxy: Proxy, name: str, kind: str, tmp_path: Path
) -> None:
    url = put(s3, name, content_of(name, tmp_path))
    proxy.faults.append(Fault(kind, name, times=2 if kind != "stall" else 1))
    assert rows_of(url, storage) == ROWS
    assert proxy.faults[0].hits == proxy.faults[0].times


def content_of(name: str, folder: Path) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(LINES, compresslevel=1)
    path, table = folder / name, pa.Table.from_pylist(ROWS)
    if name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=700)
    else:
        with path.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    return path.read_bytes()


def test_throttling_that_does_not_end_is_said(s3: Any, storage: Storage, proxy: Proxy) -> None:
    url = put(s3, "x.jsonl")
    proxy.faults.append(Fault("503", "x.jsonl", times=10**6))
    with pytest.raises(
        PcorrError, match=rf"{url}: .*\(tried {ATTEMPTS} times\): .*(SlowDown|reduce your)"
    ):
        rows_of(url, storage)
    assert proxy.faults[0].hits == ATTEMPTS


def test_an_object_that_changes_or_goes_is_noticed(s3: Any, storage: Storage, proxy: Proxy) -> None:
    url = put(s3, "x.jsonl")
    other = LINES.replace(b"Page", b"Seite")
    for replaced in (other, LINES.replace(b"Page", b"page")):
        put(s3, "x.jsonl")
        batches = iter_file(expand_globs([url], storage)[0])
        next(batches)
        put(s3, "x.jsonl", replaced)
        with pytest.raises(ChangedError, match=rf"{url}: the object changed while it was read"):
            list(batches)
    put(s3, "x.jsonl")
    batches = iter_file(expand_globs([url], storage)[0])
    next(batches)
    s3.delete_object(Bucket=BUCKET, Key="x.jsonl")
    with pytest.raises(PcorrError, match=r"no such object .* not removed meanwhile"):
        list(batches)


def test_an_object_that_changed_since_it_was_listed_is_noticed(s3: Any, storage: Storage) -> None:
    put(s3, "a/x.jsonl")
    (path,) = expand_globs([f"s3://{BUCKET}/a/*.jsonl"], storage)
    put(s3, "a/x.jsonl", LINES[:1000])
    with pytest.raises(ChangedError, match="changed"):
        list(iter_file(path))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"s3://{BUCKET}/nothing/*.jsonl", r"no object matches .*check bucket and prefix"),
        (f"s3://{BUCKET}/nothing.jsonl", "there is no such object or bucket"),
        ("s3://gone/x*.jsonl", r"no such object or bucket .*bucket does not exist"),
        (f"s3://{BUCKET}/folder", "there is no such object|it is a folder"),
    ],
)
def test_what_is_not_there_is_said(s3: Any, storage: Storage, url: str, message: str) -> None:
    put(s3, "folder/x.jsonl")
    with pytest.raises(PcorrError, match=message):
        expand_globs([url], storage)


@pytest.mark.parametrize(
    ("method", "part"), [("GET", "list-type=2"), ("HEAD", "a/x"), ("GET", "a/x")]
)
def test_no_permission_is_said_at_once(
    s3: Any, storage: Storage, proxy: Proxy, method: str, part: str
) -> None:
    put(s3, "a/x.jsonl")
    proxy.faults.append(Fault("403", part, times=10**6, method=method))
    with pytest.raises(PcorrError, match=r"no permission .*AWS_ACCESS_KEY_ID.*anonymous: true"):
        rows_of(f"s3://{BUCKET}/a/*.jsonl", storage)
    assert proxy.faults[0].hits == 1


def test_an_object_with_the_wrong_ending_is_refused(s3: Any, storage: Storage) -> None:
    url = put(s3, "x.jsonl", gzip.compress(LINES))
    with pytest.raises(PcorrError, match="the ending says plain jsonl, but the content is gzip"):
        rows_of(url, storage)
    cut = put(s3, "cut.jsonl.gz", gzip.compress(LINES)[:-100])
    with pytest.raises(PcorrError, match=r"cut\.jsonl\.gz: .* truncated"):
        rows_of(cut, storage)


def test_a_wrong_endpoint_and_missing_credentials_are_said(
    s3: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nobody = Storage(endpoint="http://127.0.0.1:9")
    with pytest.raises(
        PcorrError, match=r"the service cannot be reached \(tried 6 times\)"
    ) as caught:
        expand_globs([f"s3://{BUCKET}/x*.jsonl"], nobody)
    assert SECRET not in str(caught.value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PcorrError, match=r"no credentials .*AWS_ACCESS_KEY_ID.*anonymous: true"):
        expand_globs([f"s3://{BUCKET}/x*.jsonl"], Storage(endpoint=proxy.url, region="us-east-1"))
    s3.put_object(Bucket=BUCKET, Key="public.jsonl", Body=b'{"text": "x"}', ACL="public-read")
    open_to_all = Storage(endpoint=proxy.url, region="us-east-1", anonymous=True)
    assert rows_of(f"s3://{BUCKET}/public.jsonl", open_to_all) == [{"text": "x"}]


def test_secrets_are_in_no_message_and_no_log(
    s3: Any, storage: Storage, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    url = put(s3, "x.jsonl")
    proxy.faults.append(Fault("drop", "x.jsonl", times=10**6))
    with caplog.at_level(logging.INFO), pytest.raises(PcorrError) as caught:
        rows_of(url, storage)
    assert caught.value.__cause__ is None
    for text in (str(caught.value), caplog.text, repr(storage), repr(RemoteFile(url, storage))):
        assert SECRET not in text
    assert "tried again in" in caplog.text


def test_the_endpoint_of_azure_is_a_host_that_is_spoken_to_by_https() -> None:
    stated = Storage(endpoint="https://blobs.example.org:10000/", account="corpus")
    options = options_of("az://bucket/file", stated)
    assert options == {
        "account_name": "corpus", "account_host": "blobs.example.org:10000", "anon": False,
    }  # fmt: skip
    with pytest.raises(PcorrError, match=r"over https only.*AZURE_STORAGE_CONNECTION_STRING"):
        filesystem_of("az://bucket/file", Storage(endpoint="http://127.0.0.1:10000"))
