"""Files put into a store: whole or absent, whatever happens, and exports among them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pcorr_assets.config import Settings, Storage, settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.steps.matrices import build_matrix
from pcorr_assets.steps.sharing import share_database, share_published
from pcorr_assets.storage import writing
from pcorr_assets.storage.faults import ATTEMPTS
from pcorr_assets.storage.writing import put_file
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.storage.conftest import BUCKET
from pcorr_assets_tests.storage.proxy import Fault, Proxy

# The smallest that S3 takes for all parts but the last.
PART = 5 << 20
URL = f"s3://{BUCKET}/big ä+%.bin"


@pytest.fixture
def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of three parts, the last of which is short."""
    monkeypatch.setattr(writing, "PART_BYTES", PART)
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(1 << 16) * (2 * PART // (1 << 16)) + b"end")
    return path


def open_uploads(s3: Any) -> list[dict[str, Any]]:
    return s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])


def keys(s3: Any) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def test_parts_are_tried_again_one_by_one(
    s3: Any, storage: Storage, proxy: Proxy, big: Path
) -> None:
    proxy.faults += [
        Fault("503", "partNumber=2", times=2, method="PUT"),
        Fault("drop", "partNumber=3", method="PUT"),
        Fault("503", "uploadId", method="POST"),
    ]
    put_file(big, URL, storage)
    assert all(fault.hits == fault.times for fault in proxy.faults)
    key = URL.removeprefix(f"s3://{BUCKET}/")
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == big.read_bytes()
    assert open_uploads(s3) == []
    sent = [path.partition("partNumber=")[2][:1] for method, path in proxy.seen if method == "PUT"]
    assert sent == ["1", "2", "2", "2", "3", "3"]


@pytest.mark.parametrize("part", ["partNumber=2", "uploadId"])
def test_a_failed_upload_leaves_neither_an_object_nor_parts(
    s3: Any, storage: Storage, proxy: Proxy, big: Path, part: str
) -> None:
    method = "PUT" if "part" in part else "POST"
    proxy.faults.append(Fault("503", part, times=10**6, method=method))
    with pytest.raises(PcorrError, match=rf"\(tried {ATTEMPTS} times\)"):
        put_file(big, URL, storage)
    assert keys(s3) == set()
    assert open_uploads(s3) == []
    old = b"what was there before"
    s3.put_object(Bucket=BUCKET, Key="big ä+%.bin", Body=old)
    with pytest.raises(PcorrError):
        put_file(big, URL, storage)
    assert s3.get_object(Bucket=BUCKET, Key="big ä+%.bin")["Body"].read() == old


def test_a_terminated_upload_is_aborted(
    s3: Any, storage: Storage, proxy: Proxy, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster ends a run by an exception that is none of those that code handles."""
    real, calls = writing.retried, []

    def ended(what: str, call: Any) -> Any:
        calls.append(what)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(what, call)

    monkeypatch.setattr(writing, "retried", ended)
    with pytest.raises(KeyboardInterrupt):
        put_file(big, URL, storage)
    assert keys(s3) == set()
    assert open_uploads(s3) == []


def test_what_a_killed_upload_left_open_the_next_one_aborts(
    s3: Any, storage: Storage, proxy: Proxy, big: Path
) -> None:
    other = s3.create_multipart_upload(Bucket=BUCKET, Key="big ä+%.bin.other")["UploadId"]
    code = """
        import sys
        from pathlib import Path
        from pcorr_assets.config import Storage
        from pcorr_assets.storage import writing
        writing.PART_BYTES = int(sys.argv[3])
        writing.put_file(Path(sys.argv[1]), sys.argv[2], Storage(endpoint=sys.argv[4]))
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(big), URL, str(PART), proxy.url]
    )
    killed = Fault("before", "partNumber=2", method="PUT", act=child.kill)
    proxy.faults.append(killed)
    assert child.wait(timeout=60) == -signal.SIGKILL
    assert keys(s3) == set()
    assert len(open_uploads(s3)) == 2
    put_file(big, URL, storage)
    assert keys(s3) == {"big ä+%.bin"}
    assert [one["UploadId"] for one in open_uploads(s3)] == [other]


def test_who_may_not_list_uploads_may_still_write(
    s3: Any, storage: Storage, proxy: Proxy, big: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults += [
        Fault("403", "?uploads", times=10**6),
        Fault("503", "partNumber=2", times=10**6, method="PUT"),
        Fault("403", "uploadId", times=10**6, method="DELETE"),
    ]
    with pytest.raises(PcorrError, match="Please reduce"), caplog.at_level(logging.WARNING):
        put_file(big, URL, storage)
    assert "the upload could not be aborted" in caplog.text
    del proxy.faults[1:]
    put_file(big, URL, storage)
    assert keys(s3) == {"big ä+%.bin"}


@pytest.fixture
def shared(tmp_path: Path, storage: Storage) -> Settings:
    """An imported matrix whose exports go to the store."""
    names = [f"\"('fam{n}', 'fam{n}/llm')\"" for n in range(4)]
    rows = [f"page-{n}," + ",".join(f"{1 + n / 8 + m}" for m in range(4)) for n in range(5)]
    for name, first, lines in (("bpb", "id", rows), ("errors", "benchmark", ["good,1,2,3,4"])):
        text = "\n".join([f"{first},{','.join(names)}", *lines])
        (tmp_path / f"{name}.csv").write_text(f"{text}\n")
    settings = settings_from(
        {
            "home": "home",
            "samples": {"published": {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv"}}},
            "targets": {"good": {"benchmarks": ["good"]}},
            "exports": {
                "output": f"s3://{BUCKET}/exports",
                "storage": storage.model_dump(exclude_unset=True),
            },
        },
        folder=tmp_path,
    )
    build_matrix(Warehouse(settings.home), settings, "published", [])
    return settings


def test_exports_are_put_into_the_store(s3: Any, shared: Settings, tmp_path: Path) -> None:
    found = share_database(shared)
    assert found.place == f"s3://{BUCKET}/exports/pcorr_export.duckdb"
    local = shared.home / "exports" / "pcorr_export.duckdb"
    body = s3.get_object(Bucket=BUCKET, Key="exports/pcorr_export.duckdb")["Body"].read()
    assert body == local.read_bytes()
    s3.put_object(Bucket=BUCKET, Key="exports/published/published/mine.txt", Body=b"mine")
    stale = "exports/published/published/unit_tokens_by_page.csv"
    s3.put_object(Bucket=BUCKET, Key=stale, Body=b"of another time")
    matrix = share_published(shared, "published")
    folder = shared.home / "exports" / "published" / "published"
    for name in ("bpb_by_page.csv", "benchmark_errors.csv"):
        key = f"exports/published/published/{name}"
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == (folder / name).read_bytes()
        assert f"s3://{BUCKET}/{key}" in matrix.places
    assert "exports/published/published/mine.txt" in keys(s3)
    assert stale not in keys(s3)


def test_an_export_to_a_url_leaves_nothing_here(s3: Any, shared: Settings, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/given/away.duckdb"
    for _ in range(2):  # an older export is replaced
        assert share_database(shared, url).place == url
    (tmp_path / "got.duckdb").write_bytes(
        s3.get_object(Bucket=BUCKET, Key="given/away.duckdb")["Body"].read()
    )
    with duckdb.connect(str(tmp_path / "got.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM bpb_matrix").fetchone() == (20,)
    matrix = share_published(shared, "published", f"s3://{BUCKET}/given/wide", format="parquet")
    assert keys(s3) == {
        "given/away.duckdb", "given/wide/bpb_by_page.parquet",
        "given/wide/benchmark_errors.parquet", "given/wide/README.md",
    }  # fmt: skip
    assert {*matrix.places, url} == {f"s3://{BUCKET}/{key}" for key in keys(s3)}
    assert list((shared.home / "exports").iterdir()) == []


def test_an_export_replaces_nothing_else_in_a_store(s3: Any, shared: Settings) -> None:
    key, letter = "exports/pcorr_export.duckdb", b"a letter " * 999
    s3.put_object(Bucket=BUCKET, Key=key, Body=letter)
    with pytest.raises(PcorrError, match=r"s3://.* cannot be read as an exported database"):
        share_database(shared)
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == letter
    for url in ("https://example.org/x.duckdb", "s3://me:hunter2@bucket/x", "ftp://x/y"):
        with pytest.raises(PcorrError, match="cannot be put there") as caught:
            share_database(shared, url)
        assert "hunter2" not in str(caught.value)
    tokens = f"s3://{BUCKET}/a/unit_tokens_by_page.csv"
    sample = shared.samples["published"].model_copy(update={"unit_tokens": tokens})
    own = shared.model_copy(update={"samples": {"published": sample}})
    with pytest.raises(PcorrError, match=r"would replace s3://.*unit_tokens_by_page\.csv"):
        share_published(own, "published", f"s3://{BUCKET}/a")
