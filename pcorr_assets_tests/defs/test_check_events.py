"""Check results stand at their partitions, as the UI asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.schema import create_schema

from pcorr_assets.config import Settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partition_status import partition_states
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.defs.conftest import Materialise, sample_target

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
BOTH = {START: "published|good", END: "published|bad"}
DEFINITIONS = """
from pathlib import Path

from pcorr_assets.config.loading import load_settings
from pcorr_assets.defs.build import build_definitions

defs = build_definitions(load_settings(Path({config!r})))
"""
# Of the page of a check: how its partitions are coloured, and one of them.
STATUSES = """
query Statuses($asset: AssetKeyInput!, $check: String!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    assetCheckOrError(checkName: $check) { ... on AssetCheck { partitionStatuses {
      ... on AssetCheckDefaultPartitionStatuses { ...Lists }
      ... on AssetCheckMultiPartitionStatuses { ranges {
        primaryDimStartKey primaryDimEndKey secondaryDim { ...Lists }
      } }
    } } }
  } }
}
fragment Lists on AssetCheckDefaultPartitionStatuses {
  succeededPartitions failedPartitions inProgressPartitions skippedPartitions
  executionFailedPartitions
}
"""
EXECUTION = """
query Execution($asset: AssetKeyInput!, $check: String!, $partition: String!) {
  assetCheckExecutions(assetKey: $asset, checkName: $check, partition: $partition, limit: 10) {
    status
    evaluation { success description partition targetMaterialization { runId timestamp } }
  }
}
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that keeps its log in files, as that of the UI does."""
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=quiet) as stored:
        yield stored


class Page:
    """The UI's API over one configuration and instance, without a server."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, folder: Path) -> None:
        stated = settings.model_dump(mode="json", exclude_unset=True, exclude={"path"})
        (folder / "pcorr.yaml").write_text(yaml.safe_dump(stated))
        file = folder / "definitions_of_test.py"
        file.write_text(DEFINITIONS.format(config=str(folder / "pcorr.yaml")))
        origin = InProcessCodeLocationOrigin(
            LoadableTargetOrigin(python_file=str(file)), location_name="test"
        )
        self._process = WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin))

    def ask(self, query: str, asset: str, check: str, **more: str) -> Any:
        coming = create_schema().execute_async(
            query,
            context_value=self._process.create_request_context(),
            variable_values={"asset": {"path": [asset]}, "check": check, **more},
        )
        answer = asyncio.run(coming)
        assert not answer.errors, answer.errors
        return answer.data

    def statuses(self, asset: str, check: str) -> dict[str, str]:
        """How the UI shows each partition that is not missing, by its last dimension."""
        found = self.ask(STATUSES, asset, check)["assetNodeOrError"]["assetCheckOrError"]
        statuses = found["partitionStatuses"]
        ranges = statuses.get("ranges")
        lists = [one["secondaryDim"] for one in ranges] if ranges is not None else [statuses]
        return {
            partition: name.removesuffix("Partitions")
            for one in lists
            for name, partitions in one.items()
            for partition in partitions
        }

    def last(self, asset: str, check: str, partition: str) -> dict[str, Any]:
        executions = self.ask(EXECUTION, asset, check, partition=partition)
        return executions["assetCheckExecutions"][0]


@pytest.fixture
def vectors(matrix_settings: Settings, materialise: Materialise) -> Settings:
    assert materialise(matrix_settings, ["bpb_matrix"], "published").success
    for target in matrix_settings.targets:
        assert materialise(matrix_settings, ["error_vector"], target).success
    return matrix_settings


def test_a_run_over_a_range_checks_each_partition(
    vectors: Settings, materialise: Materialise, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    # One partition as the daemon launches it, with a policy of one partition a run.
    alone = {START: "published", END: "published"}
    again = materialise(vectors, ["bpb_matrix"], tags=alone)
    page = Page(vectors, instance, tmp_path)
    assert page.statuses("bpb_matrix", "coverage_is_high") == {"published": "succeeded"}
    assert (
        page.last("bpb_matrix", "coverage_is_high", "published")["evaluation"][
            "targetMaterialization"
        ]["runId"]
        == again.run_id
    )

    # Alone, and then with another in one run: the newer result counts.
    assert materialise(vectors, ["rank_prediction"], sample_target("published", "bad")).success
    check = ("rank_prediction", "selection_is_trustworthy")
    assert page.statuses(*check) == {"bad": "failed"}
    result = materialise(vectors, ["rank_prediction"], tags=BOTH)
    assert result.success
    assert page.statuses(*check) == {"good": "succeeded", "bad": "failed"}
    for table in ("rank_predictions", "verdicts"):
        fits = page.statuses("rank_prediction", f"{table}_fits_registry")
        assert fits == {"good": "succeeded", "bad": "succeeded"}
    for target, verdict in (("good", "go"), ("bad", "no-go")):
        found = page.last(*check, f"published|{target}")["evaluation"]
        assert found["description"].startswith(f"published|{target}: {verdict}.")
        assert found["targetMaterialization"]["runId"] == result.run_id


def test_a_failed_partition_takes_no_check_from_the_others(
    vectors: Settings, materialise: Materialise, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    Warehouse(vectors.home).path("error_vectors", "good").unlink()
    result = materialise(vectors, ["estimate"], tags=BOTH)
    assert not result.success
    page = Page(vectors, instance, tmp_path)
    for check in ("stable_since_last", "estimates_fits_registry"):
        assert page.statuses("estimate", check) == {"bad": "succeeded", "good": "executionFailed"}
    found = page.last("estimate", "stable_since_last", "published|bad")["evaluation"]
    assert found["description"].startswith("published|bad: the first estimate")
    states = partition_states(instance, build_definitions(vectors), ["estimate"])
    assert {one.partition: one.state for one in states} == {
        "published|good": "failed",
        "published|bad": "materialised",
    }
