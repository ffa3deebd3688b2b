"""What a job on Slurm costs beyond its work: an empty job on the one-node test cluster.

Belongs here: running jobs that do nothing, and taking the time in the queue out. Does
not belong here: the cluster (`scripts/slurm-cluster up`), printing.
"""

import contextlib
import io
import logging
import os
import statistics
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

ROOT = Path(os.environ.get("PCORR_SLURM_ROOT", "/var/lib/pcorr-slurm"))
NAME = "an empty job on Slurm, beyond queueing"

# Imports only what a node needs to talk to Dagster, and reports that it is done.
_EMPTY_JOB = """\
from pcorr_assets.jobs.node import QuietMessageWriter
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes(message_writer=QuietMessageWriter()) as pipes:
    pipes.report_custom_message({"result": {}, "job_id": ""})
"""
_EMPTY_PLAIN_JOB = """\
from dagster_pipes import open_dagster_pipes

with open_dagster_pipes() as pipes:
    pipes.report_custom_message({"result": {}, "job_id": ""})
"""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """One row: medians over some jobs, alternating; `quick` runs one of each."""
    if not (ROOT / "compute.yaml").is_file():
        return [_row(None, None, "skipped: no cluster is up (scripts/slurm-cluster up)")]
    logging.disable(logging.CRITICAL)
    ours, plain = [], []
    with tempfile.TemporaryDirectory(prefix="pcorr-ssh-") as sockets:
        os.environ["DAGSTER_SLURM_SSH_CONTROL_DIR"] = sockets
        os.environ["DAGSTER_SLURM_SSH_CLOSE_MASTER_ON_EXIT"] = "1"
        for _ in range(1 if quick else 5):
            ours.append(_overhead(Path(sockets), plain=False))
            plain.append(_overhead(Path(sockets), plain=True))
    logging.disable(logging.NOTSET)
    load = os.getloadavg()[0]
    shown = ", ".join(f"{value:.1f}" for value in sorted(ours))
    note = f"limit 6 s on an idle machine; each: {shown}; load {load:.1f} on {os.cpu_count()} CPUs"
    return [_row(statistics.median(ours), statistics.median(plain), note)]


def _row(seconds: float | None, other: float | None, note: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "ours_seconds": seconds,
        "other": "dagster-slurm as it comes" if other else "",
        "other_seconds": other,
        "ratio": other / seconds if seconds and other else None,
        "note": note,
    }


def _overhead(folder: Path, *, plain: bool) -> float:
    """Seconds of a run of one empty job, less those that the job waited in the queue."""
    from dagster_slurm.launchers.script import BashLauncher
    from dagster_slurm.pipes_clients.slurm_pipes_client import SlurmPipesClient

    from pcorr_assets.config.compute import Slurm
    from pcorr_assets.defs.slurm import SlurmClient, SlurmRequest, slurm_resource

    compute = yaml.safe_load((ROOT / "compute.yaml").read_text())["compute"]
    slurm = Slurm.model_validate(compute["slurm"])
    payload = folder / "empty_job.py"
    payload.write_text(_EMPTY_PLAIN_JOB if plain else _EMPTY_JOB)
    resource = slurm_resource(slurm, slurm.resources_for("chunk_bpb"))
    environment = str(slurm.environment)
    if plain:
        client = SlurmPipesClient(resource, BashLauncher(), pre_deployed_env_path=environment)
    else:
        client = SlurmClient(resource, environment, SlurmRequest("empty", "none", "0" * 64))

    @dg.asset
    def empty(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        done = client.run(context=context, payload_path=str(payload), poll_timeout=300)
        return done.get_materialize_result()

    silent = io.StringIO()
    with (
        contextlib.redirect_stdout(silent),
        contextlib.redirect_stderr(silent),
        dg.DagsterInstance.ephemeral() as instance,
    ):
        start = time.perf_counter()
        dg.materialize([empty], instance=instance)
        seconds = time.perf_counter() - start
        (run,) = instance.get_runs()
    return seconds - _queued(run.tags["dagster_slurm/job_id"])


def _queued(job_id: str) -> float:
    environment = {**os.environ, "SLURM_CONF": str(ROOT / "etc" / "slurm.conf")}
    command = ["sacct", "-X", "-n", "-P", "-j", job_id, "-o", "Submit,Start"]
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    submitted, started = (datetime.fromisoformat(t) for t in answer.stdout.strip().split("|"))
    return (started - submitted).total_seconds()
