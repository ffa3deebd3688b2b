"""The whole chain through Dagster with everything in an object store, as with local files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import Settings, settings_from
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.filters.groups import groups_of
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.defs.conftest import instance, materialise  # noqa: F401
from pcorr_assets_tests.defs.text_world import configuration, write_world
from pcorr_assets_tests.storage.conftest import BUCKET, SECRET
from pcorr_assets_tests.storage.proxy import Fault, Proxy

PAIR = {"sample": "web", "target": "colour"}
CHOSEN = {"pool": "crawl", "target": "colour"}
# Rows that do not say where something lies, or when it was made.
TABLES = (
    "chunks", "bpb_matrix", "error_vectors", "estimates", "sampling_distributions",
    "pool_documents", "pool_scores", "selections",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """The files of the world, whose sample is a folder that `datasets` saved."""
    import datasets

    folder = tmp_path / "world"
    write_world(folder)
    rows = [json.loads(line) for line in (folder / "texts.jsonl").open(encoding="utf-8")]
    datasets.Dataset.from_list(rows).save_to_disk(str(folder / "saved"))
    return folder


def configured(world: Path, home: Path, place: str, storage: dict[str, Any]) -> dict[str, Any]:
    """The configuration with sample, pool and tasks below `place`."""
    found = configuration(world, home)
    found["llms"] = found["llms"][:3]
    found["samples"]["web"].pop("files")
    found["samples"]["web"] |= {"saved": f"{place}/saved", **storage}
    files = {"files": [f"{place}/pool-*.jsonl"], "format": "jsonl.zst", "keep_ratio": 0.8}
    found["pools"]["crawl"] = {"sample": "web", **files, **storage}
    found["benchmarks"]["colours"] |= {"task_path": f"{place}/tasks", **storage}
    return found


def upload(s3: Any, world: Path) -> None:
    for path in world.rglob("*"):
        if path.is_file() and "zoo" not in path.parts:
            body = path.read_bytes()
            if path.suffix == ".yaml":
                body = body.replace(str(world).encode(), f"s3://{BUCKET}/world".encode())
            key = f"world/{path.relative_to(world).as_posix()}"
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def run_all(settings: Settings, dagster: dg.DagsterInstance, run: Callable[..., Any]) -> None:
    """Materialise everything from the pages to the selected documents."""

    def materialised(assets: list[str], partition: str | dict[str, str] | None) -> Any:
        key = dg.MultiPartitionKey(partition) if isinstance(partition, dict) else partition
        result = run(settings, assets, key)
        assert result.success, assets
        return result

    register_llms(dagster, settings)
    register_pool_groups(dagster, settings)
    materialised(["chunked_dataset"], "web")
    for llm in settings.llm_specs:
        materialised(["chunk_bpb"], {"llm": llm, "sample": "web"})
        materialised(["benchmark_errors"], llm)
    materialised(["bpb_matrix"], "web")
    materialised(["error_vector"], "colour")
    materialised(["estimate", "rank_prediction", "sampling_distribution", "fasttext_filter"], PAIR)
    for group in groups_of(Warehouse(settings.home), "crawl"):
        materialised(["pool_scores"], group)
    materialised(["selected_data"], CHOSEN)
    if settings.exports.output is not None:
        materialised(["exported_database"], None)


def rows_of(home: Path) -> dict[str, Any]:
    warehouse = Warehouse(home)
    return {
        " ".join((table, *keys)): warehouse.read(table, *keys).to_pylist()
        for table in TABLES
        for keys in warehouse.partitions(table)
    }


def objects(s3: Any, prefix: str) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    return {
        entry["Key"].removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=entry["Key"])[
            "Body"
        ].read()
        for entry in listed
    }


def test_the_chain_in_a_store_equals_the_local_one(
    s3: Any, proxy: Proxy, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    materialise: Callable[..., Any], instance: dg.DagsterInstance,  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "cache" / "down")
    upload(s3, world)
    storage = {"storage": {"endpoint": proxy.url}}
    local = settings_from(configured(world, tmp_path / "local", str(world), {}), folder=tmp_path)
    stated = configured(world, tmp_path / "there", f"s3://{BUCKET}/world", storage)
    stated["pools"]["crawl"]["output"] = f"s3://{BUCKET}/selected"
    stated["exports"] = {"output": f"s3://{BUCKET}/exports", **storage}
    there = settings_from(stated, folder=tmp_path)
    proxy.faults += [
        Fault("503", "pool-0"), Fault("short", "pool-1"), Fault("drop", "saved/"),
        Fault("503", "/selected", method="PUT"), Fault("drop", "items.jsonl"),
    ]  # fmt: skip
    for settings in (local, there):
        run_all(settings, instance, materialise)
    assert all(fault.hits for fault in proxy.faults)
    assert rows_of(there.home) == rows_of(local.home)
    folder = local.home / "selected" / "crawl" / "colour"
    selected = {path.name: path.read_bytes() for path in folder.iterdir()}
    uploaded = objects(s3, "selected/crawl/colour/")
    manifests = [json.loads(files.pop("manifest.json")) for files in (selected, uploaded)]
    # Each card names the tables of its own home.
    cards = [files.pop("README.md") for files in (selected, uploaded)]
    card = there.home / "selected" / "crawl" / "colour" / "README.md"
    assert cards[1] == card.read_bytes()
    assert uploaded == selected
    assert len(uploaded) == 2
    for name in ("token_count", "document_count", "threshold", "boundary", "filter_sha256"):
        assert manifests[0][name] == manifests[1][name], name
    database = (there.home / "exports" / "pcorr_export.duckdb").read_bytes()
    assert objects(s3, "exports/") == {"pcorr_export.duckdb": database}
    kept = b"".join(path.read_bytes() for path in there.home.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
