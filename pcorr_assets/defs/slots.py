"""Slots of Dagster's pools: who holds them, who waits, and a sensor that frees those of the dead.

Belongs here: what a run that waits says, and the sensor. Does not belong here: telling the
dead from the living (`run_processes`), and the sizes of pools (`registration`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import dagster as dg

from pcorr_assets.defs.run_processes import RunProcess, end_dead_runs, processes

SECONDS_BETWEEN_TICKS = 30
# A run that waits looks so often: with a daemon that is off, nobody else does.
SECONDS_BETWEEN_LOOKS = 5.0


def said_of(ended: RunProcess) -> str:
    """What was done to a run that is dead, in one sentence."""
    return f"Ended {ended.name}: its process is gone. Its slots are free."


@contextmanager
def freeing_while_waiting(
    instance: dg.DagsterInstance,
    run_id: str,
    pools: Collection[str],
    log: logging.Logger,
    every: float = SECONDS_BETWEEN_LOOKS,
) -> Iterator[None]:
    """Within the block, as often as a step of the run waits for a slot: free those of dead runs.

    The run's log says for whom it waits, whenever that changes.
    """
    storage = instance.event_log_storage
    if instance.is_ephemeral or not pools or not storage.supports_global_concurrency_limits:
        yield
        return
    over = threading.Event()

    def look() -> None:
        said = ""
        while not over.wait(every):
            try:
                holders = _holders(instance, run_id, pools)
                if not holders:
                    continue
                for ended in end_dead_runs(instance):
                    log.info(said_of(ended))
                now = _waits_for(instance, _holders(instance, run_id, pools))
            except Exception:
                # The run itself does not depend on this; what is wrong stands in its log.
                log.exception("Could not look who holds the slots that this run waits for.")
                return
            if now and now != said:
                log.warning(now)
                said = now

    thread = threading.Thread(target=look, name="slots", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _holders(
    instance: dg.DagsterInstance, run_id: str, pools: Collection[str]
) -> dict[str, list[str]]:
    """`{pool: ids of the runs that hold its slots}` of the pools that a run waits for."""
    infos = instance.event_log_storage.get_concurrency_infos(sorted(pools))
    return {
        pool: [slot.run_id for slot in info.claimed_slots]
        for pool, info in infos.items()
        if run_id in info.pending_run_ids
    }


def _waits_for(instance: dg.DagsterInstance, holders: dict[str, list[str]]) -> str:
    if not any(holders.values()):
        return ""
    known = {seen.run.run_id: seen for seen in processes(instance)}
    sentences = []
    for pool, runs in holders.items():
        seen = [known[run] for run in runs if run in known]
        names = "; ".join(one.name for one in seen)
        sentences.append(f"Waiting for a slot of the pool {pool}, held by {names}.")
        sentences += [
            f"Whether {one.name} lives cannot be told from here; if it does not, "
            f"`pcorr free-slots --run {one.run.run_id[:8]}` ends it."
            for one in seen
            if one.life == "unknown"
        ]
    return " ".join(sentences)


def slot_sensor() -> dg.SensorDefinition:
    """The sensor `free_slots`, on by default."""

    @dg.sensor(
        name="free_slots",
        description="Ends runs whose process is gone (killed, or its machine stopped) and frees "
        "their slots; launches none.",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = end_dead_runs(context.instance)
        for one in ended:
            context.log.warning(said_of(one))
        return dg.SkipReason(" ".join(map(said_of, ended)) or "No run has lost its process.")

    return sensor
