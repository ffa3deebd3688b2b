"""Registering the configuration's LLMs as partitions.

Belongs here: the one function that does it, and the sensor that calls it. Does not
belong here: launching runs; whoever adds a partition does not run it.
"""

from __future__ import annotations

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.config.keys import check_llm_key
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.platform import Platform

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
    """The sensor `register_llms`, on by default."""

    @dg.sensor(
        name="register_llms",
        description="Adds the LLMs of pcorr.yaml as partitions; it removes none and runs none.",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        new = register_llms(context.instance, platform.settings_now())
        if new:
            return dg.SkipReason(f"Registered {', '.join(new)}; no runs to launch.")
        return dg.SkipReason("All LLMs of the configuration are registered.")

    return sensor
