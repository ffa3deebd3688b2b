"""The Slurm cluster: ssh, folders, accounting, and whether jobs of this kind would be taken.

Belongs here: questions through the connection that runs use. Does not belong here: the
connection (`defs.slurm`), and submitting anything.
"""

from __future__ import annotations

import subprocess
from shlex import quote
from typing import Any

from pcorr_assets.config import Settings
from pcorr_assets.config.section import Location
from pcorr_assets.defs.deep_check.findings import Findings
from pcorr_assets.errors import PcorrError

SECONDS_TO_ANSWER = 30
PLACE: Location = ("compute", "slurm")
ASSETS = ("chunk_bpb", "benchmark_errors", "pool_scores")


def check_cluster(settings: Settings, findings: Findings) -> None:
    """Everything that a job needs, in the order in which it would fail."""
    from dagster_slurm.helpers.ssh_pool import SSHConnectionPool

    from pcorr_assets.defs.slurm import slurm_resource

    slurm = settings.compute.slurm
    assert slurm.ssh is not None
    host = f"{slurm.ssh.user}@{slurm.ssh.host}:{slurm.ssh.port}"
    try:
        resource = slurm_resource(slurm, slurm.resources_for("chunk_bpb"))
        connection = SSHConnectionPool(resource.ssh)
        said: list[str] = []
        connection.reporter = lambda _, message: said.append(message)
        with connection as pool:
            answer = pool.run("echo pcorr-answers", timeout=SECONDS_TO_ANSWER)
            if "pcorr-answers" not in answer:
                findings.add((*PLACE, "ssh"), f"{host} answers oddly: {answer.strip()[:200]}")
                return
            findings.notes += [f"{host} answers", *said]
            _check_folders(settings, pool, findings)
            _check_jobs(settings, pool, findings)
    except PcorrError as error:
        findings.add((*PLACE, "ssh"), str(error))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        reason = " ".join(str(error).split())[:400]
        findings.add(
            (*PLACE, "ssh"),
            f"{host} cannot be reached ({reason}); try `ssh -p {slurm.ssh.port} "
            f"{slurm.ssh.user}@{slurm.ssh.host}` by hand: the key must be accepted without a "
            "password, and the host known (known_hosts)",
        )


def _check_folders(settings: Settings, pool: Any, findings: Findings) -> None:
    slurm = settings.compute.slurm
    base, environment = str(slurm.remote_base), str(slurm.environment)
    home = slurm.home or str(settings.home)
    prepare = "see docs/slurm.md on preparing a cluster"
    questions = [
        (
            "remote_base",
            f'd={quote(base)}; while [ ! -e "$d" ]; do d=$(dirname "$d"); done; '
            'test -d "$d" && test -w "$d"',
            f"{base} cannot be made or written there; name a folder of yours",
        ),
        (
            "environment",
            f"test -x {quote(environment)}/env/bin/python",
            f"{environment}/env/bin/python is not there; {prepare}",
        ),
        (
            "environment",
            f"test -r {quote(environment)}/activate.sh",
            f"{environment}/activate.sh is not there; {prepare}",
        ),
    ]
    if settings.home.is_dir():
        questions.append(
            (
                "home",
                f"test -w {quote(home)}",
                f"{home} is not there or cannot be written on the cluster; the home must be one "
                "folder for both sides: set compute.slurm.home to its path there",
            )
        )
    for option, test, problem in questions:
        said = pool.run(f"{{ {test}; }} >/dev/null 2>&1 && echo yes || echo no", timeout=60)
        if "yes" not in said:
            findings.add((*PLACE, option), problem)


def _check_jobs(settings: Settings, pool: Any, findings: Findings) -> None:
    from pcorr_assets.defs.slurm import SlurmClient, SlurmRequest, slurm_resource

    slurm = settings.compute.slurm
    tried: dict[str, str] = {}
    for asset in ASSETS:
        resources = slurm.resources_for(asset)
        request = SlurmRequest(asset, "check-config", "")
        client = SlurmClient(slurm_resource(slurm, resources), str(slurm.environment), request)
        if not tried:
            with findings.at(PLACE):
                client.check_accounting(pool)
        command = client.test_command(resources)
        if command in tried:
            continue
        answer = pool.run(f"{command} 2>&1; echo status=$?", timeout=60)
        said, _, status = answer.rpartition("status=")
        tried[command] = said = " ".join(said.split())
        place = (*PLACE, "overrides", asset) if getattr(slurm.overrides, asset) else PLACE
        if status.strip() == "0":
            findings.notes.append(f"sbatch --test-only for {asset}: {said}")
        else:
            findings.add(
                place,
                f"a job of {asset} would not be taken ({said}); correct partition, account, "
                "qos, time_limit, memory, cpus or gpus",
            )
