"""`dagster dev` with automation switched on: an LLM is added to the file, and that is all."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.defs.automation import SENSOR
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.dagster_ui import PROJECT, DagsterUI
from pcorr_assets_tests.operation.small_world import PAIRS, SAMPLE, TARGETS, SmallWorld
from pcorr_assets_tests.waiting import wait_for

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt", "qwen2")
CHAIN = (
    "bpb_matrix",
    "error_vector",
    "estimate",
    "rank_prediction",
    "sensitivity",
    "next_llms",
    "sampling_distribution",
    "fasttext_filter",
    "report",
)


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(tmp_path, ARCHITECTURES, listed=4)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def ui(world: SmallWorld, instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[DagsterUI]:
    ui = DagsterUI(tmp_path / "dagster_home", world.config)
    with ThreadPoolExecutor(1) as beside:
        started = beside.submit(ui.start)
        world.materialise(instance, ["chunked_dataset", "chunk_bpb", "benchmark_errors", *CHAIN])
        started.result()
    yield ui
    ui.stop()


def last_tick(ui: DagsterUI, after: float = 0) -> dict[str, Any] | None:
    """The last finished tick of the automation, if it began after a time."""
    return next((tick for tick in ui.ticks(SENSOR) if tick["timestamp"] > after), None)


def attempts(instance: dg.DagsterInstance, after: int) -> Counter[tuple[str, str | None]]:
    """How often each partition was launched since a place in the event log."""
    found: Counter[tuple[str, str | None]] = Counter()
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    for key in instance.all_asset_keys():
        wanted = dg.EventRecordsFilter(kind, asset_key=key, after_cursor=after)
        for record in instance.event_log_storage.get_event_records(wanted):
            found[key.to_user_string(), record.partition_key] += 1
    return found


def now_in_log(instance: dg.DagsterInstance) -> int:
    found = instance.event_log_storage.get_maximum_record_id()
    assert found is not None
    return found


def included(world: SmallWorld) -> dict[str, set[str]]:
    """The LLMs in the matrix and in each error vector."""
    wh = Warehouse(world.home)
    coverage = wh.read("matrix_coverage", SAMPLE).to_pylist()
    return {
        "matrix": {row["llm"] for row in coverage if row["included"]},
        **{target: set(wh.read("error_vectors", target)["llm"].to_pylist()) for target in TARGETS},
    }


def reported(instance: dg.DagsterInstance, after: int) -> bool:
    wanted = dg.AssetRecordsFilter(dg.AssetKey("report"), after_storage_id=after)
    records = instance.fetch_materializations(wanted, limit=10).records
    return {record.partition_key for record in records} == set(PAIRS)


def llm_counts(world: SmallWorld) -> set[int]:
    wh = Warehouse(world.home)
    tables = [wh.read("estimates", SAMPLE, target) for target in TARGETS]
    return {count for table in tables for count in table["llm_count"].to_pylist()}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_an_llm_in_the_file_reaches_the_report_by_itself(
    ui: DagsterUI, world: SmallWorld, instance: dg.DagsterInstance
) -> None:
    assert llm_counts(world) == {4}
    start = now_in_log(instance)
    ui.start_sensor(SENSOR)
    wait_for("the first tick", lambda: last_tick(ui))
    assert attempts(instance, start) == {}, "switching it on launches nothing"

    new = world.add_llm()
    wait_for("the report", lambda: reported(instance, start), seconds=900)

    expected = {("chunk_bpb", f"{new}|{SAMPLE}"), ("benchmark_errors", new)}
    expected |= {("bpb_matrix", SAMPLE), *(("error_vector", target) for target in TARGETS)}
    expected |= {(asset, pair) for asset in CHAIN[2:] for pair in PAIRS}
    # The next refresh finds nothing to do.
    refresh = 60 * (time.time() // 60 + 1)
    wait_for("the tick after the next refresh", lambda: last_tick(ui, refresh))
    assert attempts(instance, start) == Counter(expected)
    wait_for("the end of all runs", lambda: ui.ended(len(ui.runs())))
    assert {run["status"] for run in ui.runs() if run["tags"].get("pcorr/launched_by")} == {
        "SUCCESS"
    }
    assert included(world) == {key: set(world.llms) for key in ("matrix", *TARGETS)}
    assert llm_counts(world) == {5}
    made = {
        asset: instance.fetch_materializations(dg.AssetKey(asset), limit=1).records[0].storage_id
        for asset in CHAIN
    }
    assert made["sampling_distribution"] > made["estimate"] > made["bpb_matrix"] > start
    assert made["report"] > made["fasttext_filter"] > made["sampling_distribution"]
