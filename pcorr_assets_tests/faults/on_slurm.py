"""Kills on the one-node Slurm cluster: of the work, of the job, of the run that waits for it.

Belongs here: launching, killing, relaunching on the cluster, and the comparison with what local
mode makes. Does not belong here: faults inside of a run's process (`kinds`).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import yaml

from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import LOST, Outcome
from pcorr_assets_tests.faults.process import Child
from pcorr_assets_tests.faults.runs import run_stage
from pcorr_assets_tests.faults.world import CONFIG, Stage
from pcorr_assets_tests.slurm import worlds
from pcorr_assets_tests.waiting import wait_for

KIND = "kill -9 or scancel on Slurm"
ASSETS = ("chunk_bpb", "benchmark_errors", "pool_scores")
ON_CLUSTER = "pcorr-slurm.yaml"
SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm-cluster"


def is_up() -> bool:
    """Whether the cluster of scripts/slurm-cluster runs, and may be used."""
    return (
        os.geteuid() == 0
        and (worlds.ROOT / "compute.yaml").is_file()
        and subprocess.run([SCRIPT, "status"], capture_output=True, check=False).returncode == 0
    )


def trials(bench: Bench, count: int) -> Iterator[Callable[[], list[Outcome]]]:
    """So many kills: each way of killing, for each kind of job in turn."""
    cluster = yaml.safe_load((worlds.ROOT / "compute.yaml").read_text())["compute"]
    config = yaml.safe_load((bench.project / CONFIG).read_text())
    config["compute"] = {**cluster, "batch_tokens": config["compute"]["batch_tokens"]}
    (bench.project / ON_CLUSTER).write_text(yaml.safe_dump(config))
    stages = {stage.asset: stage for stage in bench.stages if stage.faults}
    for seed in range(count):
        way = [*_WAYS][seed % len(_WAYS)]
        asset = ASSETS[(seed + seed // len(_WAYS)) % len(ASSETS)]
        yield partial(_kill, bench, stages[asset], way, seed)


def _kill(bench: Bench, stage: Stage, way: str, seed: int) -> list[Outcome]:
    """Break in once the job's work has begun; relaunch on the cluster."""
    outcome = Outcome(KIND, stage.name, seed, way)
    bench.restore(bench.before(stage))
    run = Child(run_stage, bench.project, stage, ON_CLUSTER)
    job = wait_for("the job", lambda: next(iter(worlds.live_jobs("")), None))
    work = wait_for("its work", lambda: worlds.pid_of_work(job) or not worlds.live_jobs(""))
    _WAYS[way](run, job, work)
    bench.note(outcome, run.end())
    again = Child(run_stage, bench.project, stage, ON_CLUSTER).end()
    bench.note(outcome, again)
    if not again.value.succeeded:
        outcome.bad.append((LOST, f"the relaunch fails: {again.value.words}"))
    wait_for("the end of all jobs", lambda: not worlds.live_jobs(""))
    bench.compare(outcome, bench.trees[bench.before(stage) + 1])
    return [outcome]


def _kill_work(run: Child, job: str, work: int) -> None:
    del run, job
    if work > 1:  # else it had ended
        os.kill(work, signal.SIGKILL)


def _cancel_job(run: Child, job: str, work: int) -> None:
    del run, work
    worlds.slurm("scancel", job)


def _kill_run(run: Child, job: str, work: int) -> None:
    del job, work
    run.kill()


_WAYS: dict[str, Callable[[Child, str, int], None]] = {
    "kill -9 of the work on the node": _kill_work,
    "scancel": _cancel_job,
    "kill -9 of the run that waits for the job": _kill_run,
}
