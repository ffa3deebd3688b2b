"""Why a Slurm job gave no result, in words, with the setting to change.

Belongs here: from what is known of a job to one message. Does not belong here: finding
out what became of a job (`slurm`).
"""

from __future__ import annotations

import re

from pcorr_assets.config.compute import SlurmResources
from pcorr_assets.defs.slurm import NodeReport, SlurmRequest

KEPT = "What it finished is kept: launch it again, and it goes on from there."
OUT_OF_MEMORY_SIGNS = ("oom-kill", "oom_kill", "exceeded memory limit", "Out Of Memory")
UNREACHABLE_SIGNS = (
    "Permission denied",
    "Host key verification failed",
    "Connection refused",
    "Connection timed out",
    "Could not resolve hostname",
    "No route to host",
    "SSH pool not started",
)


def explain(
    request: SlurmRequest, resources: SlurmResources, report: NodeReport, error: BaseException
) -> str:
    """One message for the user: what happened to the job, and what to change.

    `error` is what dagster-slurm raised; it stays the last resort.
    """
    if report.job_id is None:
        return _not_submitted(request, resources, str(error))
    job = f"Slurm job {report.job_id} ({request.identity})"
    refused = report.last("refused")
    if refused is not None:
        return f"{job}: {refused}"
    if "Timed out after" in str(error):
        return (
            f"{job} was not finished within `compute.slurm.poll_timeout`, which counts the time in "
            f"the queue too, and was cancelled. Raise it. {KEPT}"
        )
    if re.search(r"Job \d+ cancelled$", str(error).strip()):
        return f"{job} was cancelled, because its run was terminated. {KEPT}"
    warned = "pre-timeout signal" in str(error)
    by_state = _by_state(job, request, resources, report, warned)
    if by_state is not None:
        return by_state
    log = f" The end of its error log:\n{report.log.strip()}" if report.log.strip() else ""
    return (
        f"{job} failed (state {report.state or 'unknown'}): {_first_line(error)} Its files are in "
        f"{report.folder}. {KEPT}{log}"
    )


def _by_state(
    job: str, request: SlurmRequest, resources: SlurmResources, report: NodeReport, warned: bool
) -> str | None:
    """`warned`: Slurm sent the signal that comes before the time limit."""
    stopped = report.last("stopped")
    if report.state == "OUT_OF_MEMORY" or any(sign in report.log for sign in OUT_OF_MEMORY_SIGNS):
        asked = resources.memory or "the partition's default"
        return (
            f"{job} ran out of memory on its node (it had asked for {asked}). Raise `memory` "
            f"{_places(request)}, or lower `compute.batch_tokens`. {KEPT}"
        )
    limit = f"its time limit of {resources.time_limit}"
    if report.state == "TIMEOUT":
        return f"{job} ran into {limit}. Raise `time_limit` {_places(request)}. {KEPT}"
    if report.state == "CANCELLED":
        return f"{job} was cancelled on the cluster (scancel, or its administrators). {KEPT}"
    if report.state in ("NODE_FAIL", "BOOT_FAIL"):
        return f"{job}: its node failed (state {report.state}). {KEPT}"
    if report.state in ("PREEMPTED", "DEADLINE", "REVOKED"):
        return f"{job} was ended by the cluster (state {report.state}). {KEPT}"
    if warned:
        how = (
            "could not stop cleanly in time." if stopped is None else f"stopped cleanly: {stopped}"
        )
        return (
            f"{job} was told to stop, because {limit} was near or the cluster took its node back, "
            f"and {how} If the limit is too short, raise `time_limit` {_places(request)}. {KEPT}"
        )
    if stopped is not None:
        return f"{job} was told to stop by a signal: {stopped} {KEPT}"
    return None


def _not_submitted(request: SlurmRequest, resources: SlurmResources, error: str) -> str:
    complaints = re.findall(r"sbatch: error: (.*)", error)
    if complaints:
        asked = ", ".join(f"{k}: {v}" for k, v in resources.model_dump(exclude_none=True).items())
        return (
            f"Slurm did not take the job of {request.identity}: {' '.join(complaints)} It was "
            f"asked for {asked}. Change these {_places(request)}."
        )
    if any(sign in error for sign in UNREACHABLE_SIGNS):
        return (
            f"The cluster's login node cannot be reached, so nothing was submitted for "
            f"{request.identity}; check `compute.slurm.ssh`. ssh said: {error}"
        )
    return f"No Slurm job could be submitted for {request.identity}: {error}"


def _places(request: SlurmRequest) -> str:
    return (
        f"in pcorr.yaml: in `compute.slurm` for all jobs, in "
        f"`compute.slurm.overrides.{request.asset}` for this asset, or in `slurm` of the LLM"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
