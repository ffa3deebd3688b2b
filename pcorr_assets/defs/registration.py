"""Registering the configuration's LLMs, and groups of the files of its pools, as partitions.

Belongs here: the functions that do it, and the sensors that call them. Does not
belong here: launching runs; whoever adds a partition does not run it.
"""

from __future__ import annotations

from dataclasses import replace

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.config.keys import check_llm_key
from pcorr_assets.defs.automation import forget_while_off
from pcorr_assets.defs.partitions import LLM, POOL_GROUP
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import data_version
from pcorr_assets.filters.groups import files_version, refresh_groups
from pcorr_assets.warehouse import Warehouse, WrittenPartition

POOL_FILES = "pool_files"
# Dagster's pool of the asset `pool_scores`.
GROUPS = "pool_scores"

SECONDS_BETWEEN_TICKS = 30


def register_llms(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Add the configured LLMs that are not registered yet; return those added.

    It only adds: an LLM that was taken out of the file keeps its partition until the
    clean-up, and one that was added in the UI stays. Also sizes Dagster's pools: that of the LLM
    assets to `compute.max_parallel_llms`, that of groups to one (in mode slurm, where each is a
    job, to `compute.max_parallel_groups`).
    """
    known = set(instance.get_dynamic_partitions(LLM))
    new = [check_llm_key(key) for key in settings.llm_specs if key not in known]
    if new:
        instance.add_dynamic_partitions(LLM, new)
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.set_concurrency_slots(LLM, settings.compute.max_parallel_llms)
        storage.set_concurrency_slots(GROUPS, settings.compute.groups_at_once)
    return new


def llm_sensor(platform: Platform) -> dg.SensorDefinition:
    """The sensor `register_llms`, on by default.

    It also lets automation forget while that is off, before LLMs are added that would then
    count as new.
    """

    @dg.sensor(
        name="register_llms",
        description="Adds the LLMs of pcorr.yaml as partitions; it removes none and runs none.",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        forget_while_off(context.instance)
        new = register_llms(context.instance, platform.settings_now())
        if new:
            return dg.SkipReason(f"Registered {', '.join(new)}; no runs to launch.")
        return dg.SkipReason("All LLMs of the configuration are registered.")

    return sensor


def register_pool_groups(
    instance: dg.DagsterInstance, settings: Settings, *, from_hub: bool = True
) -> list[str]:
    """Put the files of the pools into groups, and register those; return the groups added.

    It only adds. Of a group whose files came, vanished or changed, `pool_files` is recorded as
    materialised anew, which makes what was scored of it stale; the others are left alone.
    `from_hub=False` passes over pools of hub datasets, whose shards are known only once the
    dataset is downloaded.
    """
    warehouse = Warehouse(settings.home)
    known = set(instance.get_dynamic_partitions(POOL_GROUP))
    new: list[str] = []
    for name, pool in settings.pools.items():
        if pool.dataset is not None and not from_hub:
            continue
        found = refresh_groups(warehouse, name, pool)
        added = [key for key in found.keys if key not in known]
        if added:
            instance.add_dynamic_partitions(POOL_GROUP, added)
        recorded = instance.get_materialized_partitions(dg.AssetKey(POOL_FILES))
        for key in found.keys:
            if key in found.changed or key not in recorded:
                instance.report_runless_asset_event(_listed(key, listed(warehouse, key)))
        new += added
    return new


def listed(warehouse: Warehouse, group: str) -> WrittenPartition:
    """What `pool_files` has of a group; as its hash, the version of the files themselves."""
    written = warehouse.written(POOL_FILES, group)
    return replace(written, sha256=files_version(warehouse, group))


def _listed(group: str, written: WrittenPartition) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        POOL_FILES,
        description="The sensor register_pool_groups, or `pcorr register`, listed the pool.",
        partition=group,
        metadata={"files": written.row_count, "path": dg.MetadataValue.path(str(written.path))},
        tags={"dagster/data_version": data_version([written]).value},
    )


def pool_group_sensor(platform: Platform) -> dg.SensorDefinition:
    """The sensor `register_pool_groups`, on by default; hub datasets wait for `pcorr register`."""

    @dg.sensor(
        name="register_pool_groups",
        description="Adds groups of the files of the pools of pcorr.yaml as partitions, and notes "
        "which files vanished or changed; runs none.",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        new = register_pool_groups(context.instance, platform.settings_now(), from_hub=False)
        return dg.SkipReason(f"Registered {len(new)} new group(s) of pools; no runs to launch.")

    return sensor
