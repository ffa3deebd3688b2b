"""A world of events: what the automation conditions of the real definitions make of them.

Belongs here: reporting materialisations, failures and runs in progress without running
anything, and one tick of the automation. Does not belong here: what is expected of it.
"""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import dagster as dg
from dagster._core.definitions.events import AssetMaterialization
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.test_utils import create_run_for_test

from pcorr_assets.config import Settings
from pcorr_assets.defs.build import build_definitions

START = datetime.datetime(2031, 5, 1, 12, 1, tzinfo=datetime.UTC)

Requested = set[tuple[str, str]]


class AutomationWorld:
    """The definitions, an instance without runs, and the automation's cursor."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.definitions = build_definitions(settings)
        self.now = START
        self._cursor: Any = None
        self._versions = (f"version-{number}" for number in itertools.count())

    def change(self, settings: Settings) -> None:
        """The definitions of another configuration, as after a reload."""
        self.definitions = build_definitions(settings)

    def add_llms(self, *llms: str) -> None:
        self.instance.add_dynamic_partitions("llm", list(llms))

    def materialise(self, asset: str, *partitions: str | None, version: str | None = None) -> None:
        """As a run that no tick saw; with content that was never there, unless told.

        None is the partition of an asset that has none.
        """
        for partition in partitions:
            self.finish(self.begin(asset, partition), asset, partition, version)

    def begin(self, asset: str, partition: str | None) -> dg.DagsterRun:
        """A run that is to materialise a partition, and goes on."""
        run = create_run_for_test(self.instance, status=dg.DagsterRunStatus.STARTED)
        planned = AssetMaterializationPlannedData(dg.AssetKey(asset), partition=partition)
        self._report(run, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, planned)
        return run

    def finish(
        self, run: dg.DagsterRun, asset: str, partition: str | None, version: str | None = None
    ) -> None:
        """The run materialises the partition and succeeds."""
        event = AssetMaterialization(
            asset,
            partition=partition,
            tags={
                "dagster/data_version": version or next(self._versions),
                **self._dimensions(asset, partition),
            },
        )
        self._report(run, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event))
        self._end(run, DagsterEventType.RUN_SUCCESS)

    def fail(self, run: dg.DagsterRun) -> None:
        self._end(run, DagsterEventType.RUN_FAILURE)

    def cancel(self, run: dg.DagsterRun) -> None:
        self._end(run, DagsterEventType.RUN_CANCELED)

    def tick(self, seconds: float = 10) -> Requested:
        """What the automation asks for `seconds` after the tick before."""
        self.now += datetime.timedelta(seconds=seconds)
        result = dg.evaluate_automation_conditions(
            defs=self.definitions,
            instance=self.instance,
            evaluation_time=self.now,
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        return {
            (asset.to_user_string(), str(partition))
            for asset in self.definitions.resolve_asset_graph().get_all_asset_keys()
            for partition in result.get_requested_partitions(asset)
        }

    def cron_tick(self) -> Requested:
        """The first tick after the refresh is due, which is each ten minutes."""
        minutes = 10 - self.now.minute % 10
        return self.tick(60 * minutes - self.now.second + 1)

    def _dimensions(self, asset: str, partition: str | None) -> dict[str, str]:
        definition = self.definitions.resolve_asset_graph().get(dg.AssetKey(asset)).partitions_def
        if partition is None or not isinstance(definition, dg.MultiPartitionsDefinition):
            return {}
        keys = zip(definition.partition_dimension_names, partition.split("|"), strict=True)
        return {f"dagster/partition/{name}": key for name, key in keys}

    def _report(self, run: dg.DagsterRun, kind: DagsterEventType, data: Any) -> None:
        event = DagsterEvent(kind.value, run.job_name, event_specific_data=data)
        self.instance.report_dagster_event(event, run.run_id)

    def _end(self, run: dg.DagsterRun, kind: DagsterEventType) -> None:
        self.instance.report_dagster_event(DagsterEvent(kind.value, run.job_name), run.run_id)
