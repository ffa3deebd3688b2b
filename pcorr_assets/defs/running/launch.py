"""A `pcorr run` from its beginning to its end, for the command and for the demo.

Belongs here: the lock that keeps two of them apart, preparing, running and ending, and the plan
in words. Does not belong here: the loop (`runner`), and the command line (`defs.command`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.defs.backfills import daemon_is_on, parts_in_progress
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partition_status import PartitionState
from pcorr_assets.defs.plans import OUT_OF_DATE, Plan, Planner, name_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.run_processes import end_dead_runs
from pcorr_assets.defs.running.outcome import Outcome
from pcorr_assets.defs.running.overview import Overview
from pcorr_assets.defs.running.request import Registered, Request, register_all
from pcorr_assets.defs.running.runner import Runner
from pcorr_assets.defs.running.stopping import stopping
from pcorr_assets.defs.running.worker import config_hash
from pcorr_assets.defs.running.workers import workers
from pcorr_assets.machine import cpu_count
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.warehouse.locks import partition_lock

LOCK = "pcorr_run.lock"
# Beside LLMs there is work for a core each, up to so many.
MAX_OTHERS = 4
NAMED_AT_ONCE = 3


@dataclass(frozen=True)
class Prepared:
    """The instance with everything registered that the file lists, and the graph over it."""

    platform: Platform
    instance: dg.DagsterInstance
    graph: Any
    registered: Registered


def prepare(settings: Settings, instance: dg.DagsterInstance, request: Request) -> Prepared:
    """Check the request, end runs whose process is gone, register what the file lists.

    Raises:
        PcorrError: an asset or a key of the request that there is not.
    """
    graph = build_definitions(settings).resolve_asset_graph()
    assets = request.assets(graph, settings)
    end_dead_runs(instance)
    registered = register_all(instance, settings, assets)
    request.keep(settings, instance)
    return Prepared(Platform(settings), instance, graph, registered)


def run(
    settings: Settings,
    instance: dg.DagsterInstance,
    request: Request,
    overview: AbstractContextManager[Overview],
) -> Outcome:
    """Make everything that is asked for and out of date; see `Outcome` for what became of it.

    `overview` is entered when the work begins.

    `DAGSTER_HOME` and `PCORR_CONFIG` must name the instance and the file of the settings
    (`defs.instance.use_home`), for the processes that carry the runs.

    Raises:
        PcorrError: another `pcorr run` is at work on the instance, the request names what there
            is not, or no process for runs can be started.
    """
    with _alone(instance):
        prepared = prepare(settings, instance, request)
        at_most = processes_at_once(settings)
        with (
            overview as view,
            stopping() as stop,
            workers(instance, config_hash(), at_most) as pool,
        ):
            stop.at_once = pool.kill
            runner = Runner(prepared.platform, instance, prepared.graph, request, pool, view, stop)
            runner.outcome.troubles += prepared.registered.troubles
            outcome = runner.run()
            if outcome.signal and pool.busy:
                view.say(f"  stopping: cancelling {count(len(pool.busy), 'run')} ...")
            pool.end()
        end_dead_runs(instance)
    return outcome


def processes_at_once(settings: Settings) -> int:
    """How many runs are at work at once, by `compute`.

    On a cluster a run waits for its job, and takes no core of this machine.
    """
    others, compute = min(cpu_count(), MAX_OTHERS), settings.compute
    if compute.mode == "slurm":
        return max(compute.max_parallel_llms, compute.groups_at_once) + others
    return max(compute.max_parallel_llms, others)


@contextmanager
def _alone(instance: dg.DagsterInstance) -> Iterator[None]:
    what = "This project (its Dagster instance)"
    with partition_lock(Path(instance.root_directory) / LOCK, what, "another `pcorr run`"):
        yield


def plan_now(prepared: Prepared, request: Request) -> Plan:
    """What `run` would begin with."""
    platform, instance, graph = prepared.platform, prepared.instance, prepared.graph
    busy = parts_in_progress(instance, graph) if daemon_is_on(instance) else set()
    keep = request.keep(platform.settings, instance)
    planner = Planner(platform, instance, graph, busy)
    return planner.plan(
        request.assets(graph, platform.settings), OUT_OF_DATE, keep, kept=request.kept
    )


def plan_lines(plan: Plan) -> Iterator[str]:
    """A plan in words: a line for each asset, then what is left out and why."""
    for asset, partitions in plan.partitions.items():
        states = [plan.making[asset, partition] for partition in partitions]
        why = Counter(map(_why, states))
        said = ", ".join(f"{number} {word}" for word, number in why.items())
        names = [partition for partition in partitions if partition is not None]
        yield f"  {asset:22} {said}" + (f": {name_some(names, NAMED_AT_ONCE)}" if names else "")
        reasons = dict.fromkeys(one.reason for one in states if one.state == "stale")
        yield from (f"    stale because {reason}" for reason in [*reasons][:NAMED_AT_ONCE])
    if plan.in_progress:
        yield f"others are making: {name_some(plan.in_progress.values(), NAMED_AT_ONCE)}"
    yield from (f"cannot be made: {name_of(p)}: {why}" for p, why in plan.without_inputs.items())
    yield from (f"cannot be: {name_of(p)}: {why}" for p, why in plan.not_applicable.items())
    yield f"{count(plan.count, 'partition')} to make" if plan.making else "Nothing to make."


def _why(state: PartitionState) -> str:
    return "that follow" if state.state == "materialised" else state.state
