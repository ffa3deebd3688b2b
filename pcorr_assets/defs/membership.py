"""What the instance knows of single LLMs: their runs in flight, their removal.

Belongs here: questions about one LLM's partition, and taking it away. Does not belong
here: adding partitions (`registration`), and files (`warehouse.cleaning`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.errors import DagsterDefinitionChangedDeserializationError
from dagster._core.execution.backfill import BulkActionsFilter

from pcorr_assets.defs.backfills import ACTIVE
from pcorr_assets.defs.partitions import LLM

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ASSETS_OF_LLMS = ("chunk_bpb", "benchmark_errors")


def runs_in_flight(instance: dg.DagsterInstance, llm: str) -> list[str]:
    """Ids of the queued and running runs of one LLM's partitions."""
    found: dict[str, None] = {}
    # The first tag is that of one-dimensional partitions, the second of llm x sample.
    for tag in ("dagster/partition", f"dagster/partition/{LLM}"):
        wanted = dg.RunsFilter(statuses=IN_FLIGHT, tags={tag: llm})
        found |= dict.fromkeys(run.run_id for run in instance.get_runs(filters=wanted))
    return list(found)


def backfills_in_progress(instance: dg.DagsterInstance, graph: Any, llm: str) -> list[str]:
    """Ids of the backfills in progress that were asked for partitions of one LLM.

    Dagster ends a backfill as failed, for all of its partitions, as soon as one that it was
    asked for is gone, even one that it has made already.
    """
    found = []
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=list(ACTIVE))):
            if not backfill.is_asset_backfill:
                continue
            try:
                target = backfill.get_asset_backfill_data(graph).target_subset
            except DagsterDefinitionChangedDeserializationError:
                continue  # it fails in any case
            if any(
                # The dimension llm comes first, and no LLM's key has the mark between the two.
                part.partition_key is not None and part.partition_key.partition("|")[0] == llm
                for part in target.iterate_asset_partitions()
                if part.asset_key.to_user_string() in ASSETS_OF_LLMS
            ):
                found.append(backfill.backfill_id)
    return found


def unregister_llm(instance: dg.DagsterInstance, llm: str) -> bool:
    """Take an LLM's partition away; False if there was none.

    A run of it that goes on still writes its file, and then ends as failed, because Dagster
    has no partition to note it for. Its file stays out of every matrix built from now on,
    with the reason `removed`, as do the files that are there.
    """
    if llm not in instance.get_dynamic_partitions(LLM):
        return False
    instance.delete_dynamic_partition(LLM, llm)
    return True
