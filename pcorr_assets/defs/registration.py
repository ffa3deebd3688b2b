"""Registering the configuration's LLMs, and the files of its pools, as partitions.

Belongs here: the functions that do it, and the sensors that call them. Does not
belong here: launching runs; whoever adds a partition does not run it.
"""

from __future__ import annotations

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.config.keys import check_llm_key
from pcorr_assets.defs.automation import forget_while_off
from pcorr_assets.defs.partitions import LLM, SHARD
from pcorr_assets.defs.platform import Platform
from pcorr_assets.filters.pools import list_shards

SECONDS_BETWEEN_TICKS = 30


def register_llms(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """Add the configured LLMs that are not registered yet; return those added.

    It only adds: an LLM that was taken out of the file keeps its partition until the
    clean-up, and one that was added in the UI stays. Also sizes the pool of the LLM
    assets to `compute.max_parallel_llms`.
    """
    known = set(instance.get_dynamic_partitions(LLM))
    new = [check_llm_key(key) for key in settings.llm_specs if key not in known]
    if new:
        instance.add_dynamic_partitions(LLM, new)
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.set_concurrency_slots(LLM, settings.compute.max_parallel_llms)
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


def register_shards(
    instance: dg.DagsterInstance, settings: Settings, *, from_hub: bool = True
) -> list[str]:
    """Add the shards of the configured pools that are not registered yet; return those added.

    It only adds. `from_hub=False` passes over pools of hub datasets, whose shards are known
    only once the dataset is downloaded.
    """
    known = set(instance.get_dynamic_partitions(SHARD))
    new = [
        shard.key
        for name, pool in settings.pools.items()
        if from_hub or pool.dataset is None
        for shard in list_shards(name, pool)
        if shard.key not in known
    ]
    if new:
        instance.add_dynamic_partitions(SHARD, new)
    return new


def shard_sensor(platform: Platform) -> dg.SensorDefinition:
    """The sensor `register_shards`, on by default; hub datasets wait for `pcorr register`."""

    @dg.sensor(
        name="register_shards",
        description="Adds the files of the pools of pcorr.yaml as partitions; runs none.",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        new = register_shards(context.instance, platform.settings_now(), from_hub=False)
        return dg.SkipReason(f"Registered {len(new)} new shard(s); no runs to launch.")

    return sensor
