"""Thousands of small files for several targets through the API of the UI: what a user waits for.

Belongs here: the world, `dagster dev` on it, the backfills, and the times of the pages and of the
sensors. Does not belong here: how fast a pass is (`pools`).
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from filters import _sentences
from pools import TARGETS, _save_tokenizer

FILES = 3_000
DOCUMENTS = 10
GROUPS = 30
# What the page of an asset asks for.
PAGE = """
query Page($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      id partitionKeysByDimension { name partitionKeys }
      partitionStats { numMaterialized numPartitions numFailed }
      assetMaterializations(limit: 50) { partition timestamp metadataEntries { label } }
    }
  }
}
"""
TICK = """
mutation Tick($sensor: SensorSelector!) {
  sensorDryRun(selectorData: $sensor, cursor: null) {
    __typename
    ... on DryRunInstigationTick { evaluationResult { error { message } } }
    ... on PythonError { message }
  }
}
"""


def run(folder: Path, small: bool) -> Iterator[str]:
    """Lines of figures; raises RuntimeError where a run failed."""
    import dagster as dg

    from pcorr_assets.config import load_settings
    from pcorr_assets.defs.instance import prepare_home
    from pcorr_assets.defs.registration import register_llms, register_pool_groups
    from pcorr_assets_tests.dagster_ui import DagsterUI

    files, targets, count = (30, 2, 3) if small else (FILES, TARGETS, GROUPS)
    config = _write(folder, files, targets, count)
    settings = load_settings(config)
    home = prepare_home(folder / "dagster_home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        register_llms(instance, settings)
        began = time.monotonic()
        register_pool_groups(instance, settings)
        yield f"{files:,} files listed and grouped: {time.monotonic() - began:.1f} s"
        groups = sorted(instance.get_dynamic_partitions("pool_group"))
    ui = DagsterUI(home, config)
    ui.start()
    try:
        seconds = _backfill(ui, "pool_scores", groups)
        yield f"pool_scores, {len(groups)} partitions for {targets} targets: {seconds:.0f} s"
        pairs = [f"crawl|t{number}" for number in range(targets)]
        seconds = _backfill(ui, "selected_data", pairs)
        yield f"selected_data, {len(pairs)} partitions: {seconds:.0f} s"
        for asset in ("pool_scores", "selected_data"):
            taken = _seconds(lambda asset=asset: ui.ask(PAGE, asset={"path": [asset]}))
            yield f"the page of {asset}: {taken:.2f} s"
        yield f"a tick of register_pool_groups: {_seconds(lambda: _dry_tick(ui)):.2f} s"
        taken = _automation_ticks(ui, 2 if small else 6)
        yield f"{len(taken)} ticks of automation: {max(taken):.2f} s at most"
    finally:
        ui.stop()


def _write(folder: Path, files: int, targets: int, groups: int) -> Path:
    from pcorr_assets.config import load_settings
    from pcorr_assets.filters.training import build_filter
    from pcorr_assets.warehouse import TABLES, Warehouse
    from pcorr_assets_tests.filters.conftest import chunk_rows

    sentences = _sentences()
    _save_tokenizer(folder / "tokenizer", sentences)
    (folder / "pool").mkdir()
    for number in range(files):
        with gzip.open(folder / "pool" / f"{number:05}.json.gz", "wt") as file:
            for row in range(DOCUMENTS):
                first = (number * DOCUMENTS + row) * 7
                text = " ".join(sentences[(first + n) % len(sentences)] for n in range(6))
                url = f"https://site-{number}.example/{row}"
                file.write(json.dumps({"text": text, "timestamp": "2019", "url": url}) + "\n")
    size = sum(path.stat().st_size for path in (folder / "pool").iterdir())
    config: dict[str, Any] = {
        "home": "home",
        "samples": {"texts": {"files": ["*.jsonl"], "reference_tokenizer": "tokenizer"}},
        "benchmarks": {"quiz": {"metric": "acc"}},
        "automation": {"pools": True},
        "targets": {f"t{number}": {"benchmarks": ["quiz"]} for number in range(targets)},
        "selection": {
            "tokenizer": str(folder / "tokenizer"),
            "keep_ratio": 0.3,
            "fasttext": {"dim": 16, "bucket": 20_000, "epoch": 5, "test_fraction": 0.3},
        },
        "pools": {
            "crawl": {
                "sample": "texts",
                "files": ["pool/*.json.gz"],
                "id_column": "url",
                "keep_ratio": 0.1,
                # A file counts 64 KiB at least.
                "group_bytes": max(size, files << 16) // groups,
            }
        },
    }
    path = folder / "pcorr.yaml"
    path.write_text(yaml.safe_dump(config))
    settings = load_settings(path)
    warehouse = Warehouse(settings.home)
    rows = [{**row, "sample": "texts"} for row in chunk_rows()]
    table = pa.Table.from_pylist(rows, schema=TABLES["chunks"].schema)
    warehouse.write("chunks", ("texts",), table)
    domains = list(dict.fromkeys(str(row["domain"]) for row in rows))
    for target in settings.targets:
        keys = ("texts", target)
        warehouse.write("sampling_distributions", keys, _distribution(target, domains))
        build_filter(warehouse, *keys, settings.selection_for(target))
    return path


def _distribution(target: str, domains: list[str]) -> pa.Table:
    from pcorr_assets.warehouse import TABLES

    chosen = [domain for domain in domains if domain.startswith("sailing")]
    rows = [
        {
            "sample": "texts", "target": target, "level": "domain", "unit": domain,
            "token_count": 10, "tau": 1 / len(chosen), "included": domain in chosen,
            "weight": 1 / len(chosen) if domain in chosen else 0.0,
        }
        for domain in domains
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES["sampling_distributions"].schema)


def _backfill(ui: Any, asset: str, partitions: list[str]) -> float:
    began = time.monotonic()
    backfill = ui.backfill(asset, partitions)
    while not ui.ended(len(partitions), backfill):
        time.sleep(1)
    states = {run["status"] for run in ui.runs(backfill)}
    if states != {"SUCCESS"}:
        raise RuntimeError(f"runs of {asset} ended as {', '.join(sorted(states))}")
    return time.monotonic() - began


def _dry_tick(ui: Any) -> None:
    from pcorr_assets_tests.dagster_ui import sensor_selector

    said = ui.ask(TICK, sensor=sensor_selector("register_pool_groups"))["sensorDryRun"]
    if said["__typename"] == "PythonError":
        raise RuntimeError(f"the tick failed: {said['message'][:500]}")


def _automation_ticks(ui: Any, count: int) -> list[float]:
    """Seconds of the first ticks after automation is switched on.

    A dry run does not evaluate the conditions of assets: the daemon does, once it is on.
    """
    ui.start_sensor("automation")
    while len(ticks := ui.ticks("automation")) < count:
        time.sleep(2)
    if any(tick["status"] == "FAILURE" for tick in ticks):
        raise RuntimeError("a tick of automation failed; its error stands in the UI")
    return [tick["endTimestamp"] - tick["timestamp"] for tick in ticks]


def _seconds(act: Any) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
