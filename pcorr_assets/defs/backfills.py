"""Submitting a plan as one backfill, and what the backfills in progress still have to do.

Belongs here: the conversation with Dagster about backfills over several assets, which it
has no public function for. Does not belong here: choosing partitions (`plans`), and the
jobs that people launch (`jobs`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.errors import DagsterDefinitionChangedDeserializationError
from dagster._core.execution.backfill import (
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.utils import make_new_backfill_id
from dagster._time import get_current_timestamp

from pcorr_assets.defs.plans import Part, Plan
from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

MAX_TITLE = 100
BACKFILLS = "BACKFILL"
# The daemon looks each half minute, and may be busy with another backfill for some.
SECONDS_TO_TAKE_UP = 300.0
SECONDS_BETWEEN_LOOKS = 1.0
# It shows itself each half minute.
SECONDS_UNTIL_SILENT = 120.0
REFUSED = (BulkActionStatus.FAILING, BulkActionStatus.FAILED)
ACTIVE = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING)


def submit(
    instance: dg.DagsterInstance,
    graph: Any,
    plan: Plan,
    *,
    title: str,
    description: str,
    tags: Mapping[str, str],
) -> str:
    """Ask the daemon for all partitions of a plan; returns the id of the backfill.

    The daemon launches them in the order of the graph: a partition when all of its inputs
    within the plan are there. What follows from a failed one is left out, and the rest
    goes on.
    """
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        subsets, unpartitioned = {}, set()
        for asset, partitions in plan.partitions.items():
            key = dg.AssetKey(asset)
            definition = graph.get(key).partitions_def
            if definition is None:
                unpartitioned.add(key)
            else:
                subsets[key] = definition.subset_with_partition_keys(partitions)
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=make_new_backfill_id(),
            backfill_timestamp=get_current_timestamp(),
            tags=tags,
            dynamic_partitions_store=instance,
            asset_graph_subset=AssetGraphSubset(subsets, unpartitioned),
            title=title[:MAX_TITLE],
            description=description,
            run_config=None,
        )
        instance.add_backfill(backfill)
    return backfill.backfill_id


def wait_until_taken_up(
    instance: dg.DagsterInstance,
    graph: Any,
    backfill_id: str,
    *,
    seconds: float = SECONDS_TO_TAKE_UP,
) -> bool:
    """Wait until the daemon has begun with a backfill; False if none runs, or it took too long.

    Raises:
        PcorrError: the daemon refused the backfill, with its reason.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        backfill = instance.get_backfill(backfill_id)
        if backfill is None:
            raise PcorrError(f"Backfill {backfill_id} was deleted before anything was made of it.")
        if backfill.status in REFUSED:
            raise PcorrError(_why_refused(backfill))
        if backfill.status is not BulkActionStatus.REQUESTED or _is_begun(
            instance, graph, backfill
        ):
            return True
        if not daemon_is_on(instance):
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


def daemon_is_on(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that launches backfills has lately shown itself."""
    heartbeat = instance.get_daemon_heartbeats().get(BACKFILLS)
    # Either way: a clock that was set back makes the last one look later than now.
    return (
        heartbeat is not None
        and abs(get_current_timestamp() - heartbeat.timestamp) < SECONDS_UNTIL_SILENT
    )


def _is_begun(instance: dg.DagsterInstance, graph: Any, backfill: PartitionBackfill) -> bool:
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        return backfill.get_asset_backfill_data(graph).requested_runs_for_target_roots


def _why_refused(backfill: PartitionBackfill) -> str:
    said = backfill.error.message.strip() if backfill.error is not None else "it gave no reason"
    return (
        f"Dagster refused backfill {backfill.backfill_id}, so nothing of it is made: {said}\n"
        "If samples, targets or pools of pcorr.yaml were edited, Dagster still has the partitions "
        "from before: reload the code location (Deployment > Code locations > Reload in the "
        "UI, or start `pcorr ui` again), then launch this job again."
    )


def parts_in_progress(instance: dg.DagsterInstance, graph: Any) -> set[Part]:
    """What active backfills were asked for and have neither made nor given up."""
    found: set[Part] = set()
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=list(ACTIVE))):
            if not backfill.is_asset_backfill:
                continue
            try:
                data = backfill.get_asset_backfill_data(graph)
            except DagsterDefinitionChangedDeserializationError:
                # Its partitions are no longer defined: the daemon will give it up as well.
                logger.warning("backfill %s is over other partitions", backfill.backfill_id)
                continue
            left = data.target_subset - data.materialized_subset - data.failed_and_downstream_subset
            found |= {
                (part.asset_key.to_user_string(), part.partition_key)
                for part in left.iterate_asset_partitions()
            }
    return found
