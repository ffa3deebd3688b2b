"""A sample, a pool and its selection in an object store: as with local files, byte for byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import Pool, Storage, settings_from
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.training import build_filter
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.storage import remote
from pcorr_assets.storage.writing import put_folder
from pcorr_assets.text.chunked_dataset import chunk_sample
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.storage.conftest import BUCKET, SECRET
from pcorr_assets_tests.storage.proxy import Fault, Proxy

TARGET = "sailing_quiz"
FILES = {
    f"{folder}/part {number} ä+%20#.jsonl.gz": [
        {"id": f"{folder}{number}-{i}", "text": f"mast {i} rook {number}\n" * (i % 7), "tokens": i}
        for i in range(200)
    ]
    for folder in ("one", "two")
    for number in range(2)
}


@pytest.fixture
def trained(make_world: Callable[..., Any]) -> FilterFile:
    world = make_world()
    built = build_filter(world.warehouse, "texts", TARGET, world.selection)
    return FilterFile(built.path, built.sha256)


def packed(rows: list[dict[str, Any]]) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0)


def select(pool: Pool, home: Path, trained: FilterFile) -> dict[str, bytes]:
    """The files of a selection but its manifest, and the rows of the tables, by name."""
    warehouse = Warehouse(home)
    shards = list_shards("crawl", pool)
    for key in refresh_groups(warehouse, "crawl", pool).keys:
        group = read_group(warehouse, key, pool.storage)
        score_group(warehouse, group, pool, {TARGET: trained})
    groups = groups_of(warehouse, "crawl")
    selected = write_selected(warehouse, "crawl", pool, TARGET, shards, groups)
    found = {path.name: path.read_bytes() for path in selected.folder.iterdir()}
    found.pop("manifest.json")
    for key in groups:
        for where in (("pool_documents", key), ("pool_scores", key, TARGET)):
            found[" ".join(where)] = json.dumps(warehouse.read(*where).to_pylist()).encode()
    return found


def test_a_pool_in_a_store_gives_the_files_of_a_local_one(
    s3: Any, storage: Storage, proxy: Proxy, trained: FilterFile, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(remote.RemoteFile.open, "__defaults__", ("rb", 1000))
    for name, rows in FILES.items():
        path = tmp_path / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(rows))
        s3.put_object(Bucket=BUCKET, Key=f"pool/{name}", Body=packed(rows))
    common = {"sample": "texts", "token_count_column": "tokens", "keep_ratio": 0.4}
    common["format"] = "jsonl.zst"
    local = Pool.model_validate({**common, "files": [str(tmp_path / "pool/**/*.jsonl.gz")]})
    there = Pool.model_validate(
        {
            **common,
            "files": [f"s3://{BUCKET}/pool/**/*.jsonl.gz"],
            "storage": storage.model_dump(exclude_unset=True),
            "output": f"s3://{BUCKET}/selected",
        }
    )
    proxy.faults += [
        Fault("503", "/pool/one", times=2), Fault("drop", "/pool/two"),
        Fault("short", "part%201", times=2), Fault("503", "/selected", method="PUT"),
    ]  # fmt: skip
    expected = select(local, tmp_path / "local", trained)
    found = select(there, tmp_path / "remote", trained)
    assert found == expected
    assert sum(name.endswith(".zst") for name in expected) >= 2
    assert all(fault.hits for fault in proxy.faults)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="selected/")["Contents"]
    uploaded = {
        entry["Key"].rpartition("/")[2]: s3.get_object(Bucket=BUCKET, Key=entry["Key"])[
            "Body"
        ].read()
        for entry in listed
    }
    manifest = json.loads(uploaded.pop("manifest.json"))
    assert uploaded == {name: data for name, data in expected.items() if name.endswith(".zst")}
    assert {part["file"] for part in manifest["files"]} == set(uploaded)
    assert manifest["files"][0]["source"].startswith(f"s3://{BUCKET}/pool/one/part 0 ä+%20#")
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in everything
    assert SECRET not in json.dumps(manifest)


def test_the_manifest_comes_last_and_what_is_old_goes(
    s3: Any, storage: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    url = f"s3://{BUCKET}/out/crawl"
    for name in ("a", "b", "manifest.json"):
        (tmp_path / name).write_text(f"first {name}")
    put_folder(tmp_path, url, storage, last="manifest.json")
    (tmp_path / "b").unlink()
    (tmp_path / "c").write_text("second c")
    proxy.faults.append(Fault("503", "/out/crawl/c", times=10**6, method="PUT"))
    with pytest.raises(PcorrError, match=rf"{url}/c: .*tried"):
        put_folder(tmp_path, url, storage, last="manifest.json")
    assert keys(s3) == {"out/crawl/a", "out/crawl/b"}
    proxy.faults.clear()
    put_folder(tmp_path, url, storage, last="manifest.json")
    assert keys(s3) == {"out/crawl/a", "out/crawl/c", "out/crawl/manifest.json"}
    writes = [path for method, path in proxy.seen if method == "PUT"]
    assert writes[-1].startswith("/bucket/out/crawl/manifest.json")


def keys(s3: Any) -> set[str]:
    return {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


class Sink:
    """Keeps the rows of the chunks."""

    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}
        self.rows: list[Any] = []

    def write(self, data: Any) -> None:
        """Keep them."""
        self.rows += data.to_pylist()


def test_a_sample_in_a_store_gives_the_chunks_of_a_local_one(
    s3: Any, proxy: Proxy, tokenizer_folder: Path, tmp_path: Path
) -> None:
    rows = [{"id": str(i), "text": f"The quick brown fox {i}. " * 9} for i in range(60)]
    (tmp_path / "a.jsonl.gz").write_bytes(packed(rows))
    s3.put_object(Bucket=BUCKET, Key="texts/a.jsonl.gz", Body=packed(rows))
    common = {"reference_tokenizer": str(tokenizer_folder), "chunk_tokens": 8}
    settings = settings_from(
        {
            "samples": {
                "here": {"files": "a.jsonl.gz", **common},
                "there": {
                    "files": f"s3://{BUCKET}/texts/*.jsonl.gz",
                    "storage": {"endpoint": proxy.url},
                    **common,
                },
            }
        },
        folder=tmp_path,
    )
    sinks = {key: Sink() for key in settings.samples}
    for key, sample in settings.samples.items():
        chunk_sample("s", sample, sinks[key])
    assert sinks["there"].rows == sinks["here"].rows
    assert sinks["there"].metadata == sinks["here"].metadata
    assert len(sinks["here"].rows) > 60


def test_a_saved_folder_in_a_store(s3: Any, proxy: Proxy, tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([{"id": "a", "text": "mast"}]).save_to_disk(str(tmp_path / "saved"))
    for path in (tmp_path / "saved").iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"saved/{path.name}", Body=path.read_bytes())
    pool = Pool.model_validate(
        {"sample": "texts", "saved": f"s3://{BUCKET}/saved", "keep_ratio": 0.5,
         "storage": {"endpoint": proxy.url}}
    )  # fmt: skip
    (shard,) = list_shards("crawl", pool)
    assert (shard.first_row, shard.row_count) == (0, 1)
