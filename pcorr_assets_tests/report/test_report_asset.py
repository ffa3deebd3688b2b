"""The asset `report` in Dagster, on a text sample and on an imported matrix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.defs import versions
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.versions import code_version
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.report import worlds
from pcorr_assets_tests.report.conftest import World

Run = Callable[[Settings, str], dg.ExecuteInProcessResult]


@pytest.fixture
def instance(tmp_path: Path) -> Any:
    """An instance that keeps the logs of runs in files, as those of users do."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as local:
        yield local


@pytest.fixture
def materialise(instance: dg.DagsterInstance) -> Run:
    def run(settings: Settings, sample: str) -> dg.ExecuteInProcessResult:
        job = dg.define_asset_job("run", selection=["report"])
        assets = build_definitions(settings).assets
        resolved = dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("run")
        key = dg.MultiPartitionKey({"sample": sample, "target": "good"})
        return resolved.execute_in_process(
            instance=instance, partition_key=key, raise_on_error=False
        )

    return run


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node("report")
    return {name: value.value for name, value in event.metadata.items()}


def data_version(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.asset_materializations_for_node("report")
    assert event.tags is not None
    return event.tags["dagster/data_version"]


def test_the_metadata_leads_to_the_file(
    text_world: World, materialise: Run, instance: dg.DagsterInstance
) -> None:
    wh, settings = text_world
    result = materialise(settings, "texts")
    assert result.success
    metadata = shown(result)
    path = Path(metadata["path"])
    assert path == wh.home / "reports" / "texts" / "good.html"
    assert metadata["sha256"] == sha256_file(path)
    assert metadata["bytes"] == path.stat().st_size
    assert metadata["verdict"] == "Go"
    assert "[Download the report](/logs/reports/texts/good/html)" in metadata["report"]
    assert "**Go**: The errors depend on which texts" in metadata["report"]
    assert Path(metadata["index of all reports"]).is_file()
    assert len(metadata["top ten units"].records) == 10
    # Where the server of the UI looks for what the link names.
    manager: Any = instance.compute_log_manager
    served = manager.get_captured_local_path(["reports", "texts", "good"], "html")
    assert sha256_file(Path(served)) == metadata["sha256"]


def test_the_same_tables_give_the_same_data_version(matrix_world: World, materialise: Run) -> None:
    _, settings = matrix_world
    first, second = (materialise(settings, "published") for _ in range(2))
    assert first.success
    assert data_version(first) == data_version(second)


def test_a_failed_report_says_what_to_materialise(tmp_path: Path, materialise: Run) -> None:
    wh, settings = worlds.write_matrix_world(tmp_path / "world", steps=False)
    result = materialise(settings, "published")
    failure = result.failure_data_for_node("report")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "bpb_matrix: partition published is not there" in failure.error.cause.message
    assert not (wh.home / "reports").exists()


def test_a_second_run_of_a_report_makes_nothing(matrix_world: World, materialise: Run) -> None:
    wh, settings = matrix_world
    with wh.lock("reports", "published", "good", holder="run abc"):
        result = materialise(settings, "published")
    failure = result.failure_data_for_node("report")
    assert failure
    assert failure.error
    assert failure.error.cause
    assert "is being materialised by run abc" in failure.error.cause.message


def test_without_a_folder_of_logs_the_path_is_all(matrix_world: World) -> None:
    _, settings = matrix_world
    job = dg.define_asset_job("run", selection=["report"])
    resolved = dg.Definitions(assets=build_definitions(settings).assets, jobs=[job])
    key = dg.MultiPartitionKey({"sample": "published", "target": "good"})
    with dg.DagsterInstance.ephemeral() as ephemeral:
        result = resolved.resolve_job_def("run").execute_in_process(
            instance=ephemeral, partition_key=key
        )
    assert "Open the file at `path`" in shown(result)["report"]


def test_the_report_follows_all_that_it_shows(text_world: World, matrix_world: World) -> None:
    for _, settings in (text_world, matrix_world):
        graph = build_definitions(settings).resolve_asset_graph()
        parents = graph.get(dg.AssetKey("report")).parent_keys
        assert {key.to_user_string() for key in parents} == {
            "bpb_matrix", "estimate", "rank_prediction", "sensitivity", "next_llms",
            "sampling_distribution", "fasttext_filter", "clean_estimate",
        }  # fmt: skip


def test_a_setting_makes_reports_stale_but_another_target_does_not(text_world: World) -> None:
    _, settings = text_world
    key = dg.AssetKey("report")

    def version(of: Settings) -> str | None:
        return build_definitions(of).resolve_asset_graph().get(key).code_version

    validation = settings.validation.model_copy(update={"go_stability": 0.6})
    changed = settings.model_copy(update={"validation": validation})
    another = {**settings.targets, "other": settings.targets["good"]}
    assert version(settings.model_copy(update={"targets": another})) == version(settings)
    assert version(changed) != version(settings)


def test_the_templates_are_a_part_of_the_code(
    text_world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, settings = text_world
    before = code_version(["report"], settings)
    package = tmp_path / "package"
    shutil.copytree(versions.PACKAGE / "report", package / "report")
    monkeypatch.setattr(versions, "PACKAGE", package)
    versions._room_hash.cache_clear()
    same = code_version(["report"], settings)
    versions._room_hash.cache_clear()
    (package / "report" / "templates" / "report.css").write_text("")
    other = code_version(["report"], settings)
    versions._room_hash.cache_clear()
    assert same == before != other
