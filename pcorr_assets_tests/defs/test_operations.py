"""The overview of all partitions, and the standing check of those that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.operations import SHOWN, failed_check_result
from pcorr_assets.defs.partition_status import PartitionState

Materialise = Callable[..., dg.ExecuteInProcessResult]


def look(
    materialise: Materialise, settings: Settings
) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    result = materialise(settings, ["partition_overview"])
    assert result.success
    (event,) = result.asset_materializations_for_node("partition_overview")
    (check,) = result.get_asset_check_evaluations()
    return {name: value.value for name, value in event.metadata.items()}, check


def test_what_failed_is_listed_with_its_reason_until_it_succeeds(
    matrix_settings: Settings, materialise: Materialise
) -> None:
    shown, check = look(materialise, matrix_settings)
    assert check.passed
    assert shown["failed"] == "Nothing to report."
    failed = materialise(matrix_settings, ["error_vector"], "good")
    assert not failed.success
    shown, check = look(materialise, matrix_settings)
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert (check.description or "").startswith(
        "error_vector good: Target 'good': no LLM has an error on signal;"
    )
    (row,) = [record.data for record in shown["failed"].records]
    assert (row["asset"], row["partition"], row["run"]) == ("error_vector", "good", failed.run_id)
    counts = {r.data["asset"]: r.data for r in shown["partitions by state"].records}
    assert (counts["error_vector"]["failed"], counts["error_vector"]["missing"]) == (1, 1)
    assert "partition_overview" not in counts
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    assert materialise(matrix_settings, ["error_vector"], "good").success
    _, check = look(materialise, matrix_settings)
    assert check.passed


def test_the_check_can_be_executed_alone(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    assert not materialise(matrix_settings, ["error_vector"], "good").success
    key = dg.AssetCheckKey(dg.AssetKey("partition_overview"), "no_failed_partitions")
    job = dg.define_asset_job("look", selection=dg.AssetSelection.checks(key))
    assets = build_definitions(matrix_settings).assets
    run = dg.Definitions(assets=assets, jobs=[job]).resolve_job_def("look")
    result = run.execute_in_process(instance=instance)
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert result.get_asset_materialization_events() == []


def test_the_schedule_looks_each_hour_and_runs_the_check(
    matrix_settings: Settings, materialise: Materialise, instance: dg.DagsterInstance
) -> None:
    assert not materialise(matrix_settings, ["error_vector"], "good").success
    definitions = build_definitions(matrix_settings)
    schedule = definitions.resolve_schedule_def("hourly_overview")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert schedule.cron_schedule == "30 * * * *"
    job = definitions.resolve_job_def(schedule.job_name)
    result = job.execute_in_process(instance=instance)
    (event,) = result.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey("partition_overview")
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("no_failed_partitions", False)


def test_many_failures_are_cut_and_counted() -> None:
    states = [
        PartitionState("chunk_bpb", f"llm-{index}|web", "failed", "no space", "run", index < 5)
        for index in range(SHOWN + 7)
    ]
    found = failed_check_result(states)
    assert not found.passed
    assert (found.description or "").endswith("... and 7 more")
    assert found.metadata["failed partitions"].value == SHOWN + 7
    assert found.metadata["of these with older data"].value == 5
