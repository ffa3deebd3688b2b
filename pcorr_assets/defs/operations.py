"""Stage `operations`: what is there, what is missing, what failed and why.

Belongs here: the asset `partition_overview`, its standing check, and the schedule that
looks each hour. Does not belong here: finding it out (`partition_status`), and the command
that prints it (`command`).

The check stands on an asset of its own, without partitions: a check on `chunk_bpb` would
run as one more step after every LLM, and never after one that failed.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.defs.executor import IN_ONE_PROCESS
from pcorr_assets.defs.metadata import rows_table, sentences
from pcorr_assets.defs.partition_status import STATES, PartitionState, partition_states
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import OWNER
from pcorr_assets.defs.versions import code_version
from pcorr_assets.filters.standing import pool_standing
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.store import content_hash

NAME = "partition_overview"
FAILED_CHECK = "no_failed_partitions"
SHOWN = 200
SCHEDULE = "hourly_overview"


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_partition_overview(platform), _no_failed_partitions(platform)]


def _partition_overview(platform: Platform) -> dg.AssetsDefinition:
    @dg.asset(
        name=NAME,
        group_name="operations",
        code_version=code_version(("defs/partition_status.py",), platform.settings),
        owners=[OWNER],
        kinds={"dagster"},
    )
    def partition_overview(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """What is materialised, missing, failed, in progress or stale. Materialise it to look."""
        states = _states(platform, context.instance)
        said = (f"{one.asset} {one.partition} {one.state} {one.reason}" for one in states)
        return dg.MaterializeResult(
            metadata={
                "partitions by state": _counts(states),
                "failed": _listed(states, "failed"),
                "in progress": _listed(states, "in progress"),
                "stale, by reason": _stale(states),
                "pools": sentences(pool_lines(platform.settings)),
            },
            data_version=dg.DataVersion(content_hash(*said)),
        )

    return partition_overview


def _no_failed_partitions(platform: Platform) -> dg.AssetChecksDefinition:
    # A step of its own, so that the UI can execute it without materialising anything.
    @dg.asset_check(
        asset=NAME,
        name=FAILED_CHECK,
        description="No partition of any asset failed in its last run. Otherwise the partitions "
        "are listed, each with what its run raised.",
    )
    def no_failed_partitions(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        return failed_check_result(_states(platform, context.instance))

    return no_failed_partitions


def overview_schedule() -> dg.ScheduleDefinition:
    """The schedule `hourly_overview`, off by default.

    Not a part of the nightly refresh: at its start it would show the night before, and at
    its end, as the last of a backfill, it would be left out whenever something failed.
    """
    job = dg.define_asset_job(
        "look_at_partitions",
        selection=[NAME],
        description="What is materialised, missing, failed, in progress or stale; the check "
        f"{FAILED_CHECK} lists what failed.",
        executor_def=IN_ONE_PROCESS,
        tags={"pcorr/job": "look_at_partitions", "dagster/priority": "10"},
    )
    return dg.ScheduleDefinition(
        name=SCHEDULE,
        job=job,
        cron_schedule="30 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Each hour, looks at all partitions and lists those that failed. Takes "
        "some seconds, and launches nothing.",
    )


def pool_lines(settings: Settings) -> list[str]:
    """How far each pool is, and each of its groups that is at work."""
    warehouse = Warehouse(settings.home)
    found = [pool_standing(warehouse, name) for name in settings.pools]
    return [one.words() for pool in found if pool.file_count for one in (pool, *pool.groups)]


def _states(platform: Platform, instance: dg.DagsterInstance) -> list[PartitionState]:
    # Imported here: the definitions are made of this stage, too.
    from pcorr_assets.defs.build import build_definitions

    graph = build_definitions(platform.settings).resolve_asset_graph()
    names = {key.to_user_string() for key in graph.materializable_asset_keys} - {NAME}
    return partition_states(instance, graph, names, platform.settings)


def failed_check_result(states: Sequence[PartitionState]) -> dg.AssetCheckResult:
    """Passes if no partition failed; else names each, with its reason."""
    failed = [one for one in states if one.state == "failed"]
    lines = [f"{_name(one)}: {one.reason}" for one in failed[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"... and {len(failed) - SHOWN:,} more")
    return dg.AssetCheckResult(
        check_name=FAILED_CHECK,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(lines) or None,
        metadata={
            "failed partitions": len(failed),
            "of these with older data": sum(one.has_data for one in failed),
        },
    )


def _name(one: PartitionState) -> str:
    return one.asset if one.partition is None else f"{one.asset} {one.partition}"


def _counts(states: Sequence[PartitionState]) -> dg.TableMetadataValue:
    assets = dict.fromkeys(one.asset for one in states)
    counts = Counter((one.asset, one.state) for one in states)
    columns = {state: [counts[asset, state] for asset in assets] for state in STATES}
    return rows_table(pa.table({"asset": [*assets], **columns}), ["asset", *STATES])


def _listed(
    states: Sequence[PartitionState], state: str
) -> dg.TableMetadataValue | dg.MarkdownMetadataValue:
    rows = [one for one in states if one.state == state]
    if not rows:
        return sentences([])
    columns = {
        "asset": [one.asset for one in rows[:SHOWN]],
        "partition": [one.partition or "" for one in rows[:SHOWN]],
        "reason": [one.reason for one in rows[:SHOWN]],
        "run": [one.run_id or "" for one in rows[:SHOWN]],
    }
    return rows_table(pa.table(columns), [*columns])


def _stale(states: Sequence[PartitionState]) -> dg.MarkdownMetadataValue:
    counts = Counter((one.asset, one.reason) for one in states if one.state == "stale")
    return sentences([f"{asset}, {n:,}: {reason}" for (asset, reason), n in counts.items()])
