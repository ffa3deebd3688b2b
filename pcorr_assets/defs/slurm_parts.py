"""Further Slurm jobs that work on the partition of a run beside its own job.

Belongs here: submitting them, finding those that an earlier run left, and ending them. Does
not belong here: the run's own job, whose result alone is accepted (`slurm`, `compute`), and how
jobs share the work of an LLM (`lm.session`).

They only make it faster: one that fails, is cancelled or never starts leaves its share to
the run's own job, so nobody waits for them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from shlex import quote
from typing import Any

from pcorr_assets.config.compute import SlurmResources
from pcorr_assets.defs.slurm import POLL_SECONDS, UNKNOWN_SECONDS, SlurmClient, job_options
from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

# A name holds no more than Slurm shows in full, and no character of a shell.
NAME = "pcorr-part-{partition}-{request}-{part}"
SCRIPT = """\
#!/bin/bash
set -euo pipefail
source {activate}
{exports}
exec {python} -m pcorr_assets.jobs {job} {folder}/job.json {folder}/result.json
"""


class PartJobs:
    """The jobs for the parts 1, 2, ... of one description, beside the run's own, part 0."""

    def __init__(
        self,
        client: SlurmClient,
        resources: SlurmResources,
        job: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> None:
        self._client = client
        self._resources = resources
        self._job = job
        self._environment = environment
        slurm = client.slurm
        self._base = f"{slurm.remote_base}/parts"
        self._partition_name = client.request.identity
        identity = f"{self._partition_name}|{job['home']}"
        self._partition = hashlib.sha256(identity.encode()).hexdigest()[:12]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Jobs for all parts in the block; at its end those that are left are cancelled.

        Jobs of an earlier run are taken over where they were asked for the same, and are
        cancelled otherwise.

        Raises:
            RuntimeError: Slurm does not take them, or the login node cannot be reached.
            PcorrError: a cancelled job does not end.
        """
        from dagster_slurm.helpers.ssh_pool import SSHConnectionPool

        with SSHConnectionPool(self._client.slurm.ssh) as pool:
            live = self._live(pool)
            wanted = {self._name(part): part for part in range(1, self._job["parts"])}
            self._end(pool, [job for job, name in live.items() if name not in wanted])
            for name, part in wanted.items():
                if name not in live.values():
                    self._submit(pool, name, part)
        try:
            yield
        finally:
            try:
                with SSHConnectionPool(self._client.slurm.ssh) as pool:
                    self._end(pool, list(self._live(pool)))
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                # They end by themselves once the partition is there, and whoever launches
                # this again finds them.
                logger.warning("jobs for parts of %s may go on: %s", self._partition_name, error)

    def _name(self, part: int) -> str:
        return NAME.format(
            partition=self._partition, request=self._client.request.sha256[:12], part=part
        )

    def _live(self, pool: Any) -> dict[str, str]:
        """Ids and names of all jobs for parts of this partition that are queued or run."""
        prefix = NAME.partition("{request}")[0].format(partition=self._partition)
        answer = pool.run("squeue -h -u $(id -u) -o '%i|%j'")
        lines = (line.strip().partition("|") for line in answer.splitlines())
        return {job: name for job, _, name in lines if name.startswith(prefix) and job.isdigit()}

    def _submit(self, pool: Any, name: str, part: int) -> None:
        folder = f"{self._base}/{name}"
        place = str(self._client.pre_deployed_env_path)
        exports = "\n".join(f"export {k}={quote(v)}" for k, v in self._environment.items())
        script = SCRIPT.format(
            activate=quote(f"{place}/activate.sh"),
            python=quote(f"{place}/env/bin/python"),
            exports=exports,
            job=self._job["job"],
            folder=quote(folder),
        )
        pool.run(f"mkdir -p {quote(folder)}")
        pool.write_file(json.dumps({**self._job, "part": part}), f"{folder}/job.json")
        pool.write_file(script, f"{folder}/job.sh")
        command = self._client._build_sbatch_command(
            job_name=name,
            working_dir=folder,
            output_file=f"{folder}/slurm-%j.out",
            error_file=f"{folder}/slurm-%j.err",
            script_path=f"{folder}/job.sh",
            extra_opts=job_options(self._resources),
        )
        found = re.search(r"Submitted batch job (\d+)", pool.run(command))
        if found is None:
            raise RuntimeError(f"sbatch gave no job id for {name}")
        logger.info("Slurm job %s is for part %d of %s", found[1], part, self._partition_name)

    def _end(self, pool: Any, jobs: list[str]) -> None:
        if not jobs:
            return
        pool.run(f"scancel {' '.join(jobs)} || true")
        deadline = time.monotonic() + UNKNOWN_SECONDS
        while left := [job for job in jobs if job in self._live(pool)]:
            if time.monotonic() > deadline:
                raise PcorrError(
                    f"Slurm jobs {', '.join(left)} for {self._partition_name} do not end "
                    "although they were cancelled. Wait until they have, then launch this again."
                )
            time.sleep(POLL_SECONDS)
