"""URLs in the file: which are read, which are refused, and that no message repeats a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import Settings, settings_from
from pcorr_assets.errors import PcorrError


def settings(sample: dict[str, Any], pool: dict[str, Any] | None = None) -> Settings:
    samples: dict[str, Any] = {"web": {"reference_tokenizer": "org/name", **sample}}
    pools = {"crawl": {"sample": "web", "keep_ratio": 0.1, **pool}} if pool else {}
    return settings_from({"samples": samples, "pools": pools}, folder=Path("/project"))


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/pool/**/*.jsonl.gz",
        "s3://bucket/ä ö+%20#[?].jsonl",
        "gs://bucket/a*.parquet",
        "az://container/x.wet.gz",
        "hf://datasets/org/name@main/data/*.parquet",
        "https://example.org/a/x.jsonl?version=2",
    ],
)
def test_urls_are_kept_as_they_are(url: str) -> None:
    assert settings({"files": [url, "here.jsonl"]}).samples["web"].files == [
        url, "/project/here.jsonl"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://user:hunter2@bucket/x.jsonl", "with a user or a password in it"),
        ("https://hunter2@example.org/x.jsonl", "with a user or a password in it"),
        ("https://example.org/x.jsonl?X-Amz-Signature=hunter2", "is signed"),
        ("https://a.blob.core.windows.net/c/x.jsonl?sv=1&sig=hunter2", "is signed"),
        ("https://example.org/x.jsonl?access_token=hunter2", "has a key in it"),
        ("ftp://user:hunter2@example.org/x.jsonl", "begins with 'ftp://'"),
        ("https://example.org/*.jsonl", "which has no list of its files"),
        ("s3://bucket", "expected a bucket"),
        ("s3:///x.jsonl", "expected a bucket"),
    ],
)
@pytest.mark.parametrize("option", ["files", "saved", "unit_tokens", "matrix_csv", "dataset"])
def test_other_urls_are_refused_without_repeating_them(url: str, message: str, option: str) -> None:
    value: Any = {"bpb": url, "errors": "/x.csv"} if option == "matrix_csv" else url
    with pytest.raises(PcorrError) as caught:
        settings({option: value} if option != "unit_tokens" else {"files": "a.jsonl", option: url})
    assert "hunter2" not in str(caught.value)
    if option != "dataset":
        assert message in str(caught.value)


@pytest.mark.parametrize("place", ["home", "task_path"])
def test_a_password_where_no_url_belongs_is_not_repeated(place: str) -> None:
    url = "s3://user:hunter2@bucket/x"
    benchmark = {"metric": "acc", **({"task_path": url} if place == "task_path" else {})}
    data = {"benchmarks": {"sciq": benchmark}, **({"home": url} if place == "home" else {})}
    refused = "a path on this machine|a user or a password"
    with pytest.raises(PcorrError, match=refused) as caught:
        settings_from(data, folder=Path("/project"))
    assert "hunter2" not in str(caught.value)


def test_a_folder_of_tasks_lies_where_files_can_be_listed() -> None:
    def tasks(url: str) -> object:
        data = {"benchmarks": {"sciq": {"metric": "acc", "task_path": url}}}
        return settings_from(data, folder=Path("/project")).benchmarks["sciq"].task_path

    for scheme in ("s3", "gs", "az", "hf"):
        assert tasks(f"{scheme}://bucket/tasks/") == f"{scheme}://bucket/tasks"
    assert tasks("tasks") == Path("/project/tasks")
    with pytest.raises(PcorrError, match=r"no list of its files; .* that it was downloaded to"):
        tasks("https://example.org/tasks")


def test_options_of_a_store_hold_no_secret() -> None:
    files = "s3://bucket/x.jsonl"
    found = settings({"files": files, "storage": {"endpoint": "http://minio:9000", "region": "x"}})
    storage = found.samples["web"].storage
    assert (storage.endpoint, storage.region, storage.anonymous) == (
        "http://minio:9000",
        "x",
        False,
    )
    with pytest.raises(PcorrError, match="a user or a password in it") as caught:
        settings({"files": files, "storage": {"endpoint": "http://me:hunter2@minio:9000"}})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(PcorrError, match=r"storage\.secret_key: unknown key") as caught:
        settings({"files": files, "storage": {"secret_key": "hunter2"}})
    assert "hunter2" not in str(caught.value)


def test_selections_and_exports_are_put_where_one_can_write() -> None:
    for url in ("hf://datasets/org/name", "https://example.org/x", "/exports"):
        with pytest.raises(PcorrError, match=r"exports\.output: .*expected"):
            settings_from({"exports": {"output": url}}, folder=Path("/project"))
    pool = {"files": "x.jsonl", "output": "s3://bucket/selected/"}
    assert settings({"files": "a.jsonl"}, pool).pools["crawl"].output == "s3://bucket/selected"
    with pytest.raises(PcorrError, match="where nothing can be written"):
        settings({"files": "a.jsonl"}, {**pool, "output": "https://example.org/selected"})
    with pytest.raises(PcorrError, match="expected a URL"):
        settings({"files": "a.jsonl"}, {**pool, "output": "/selected"})
