"""One job on a Slurm cluster, through dagster-slurm, with nothing taken on trust.

Belongs here: the client for one job, with what dagster-slurm 1.22.0 gets wrong put
right, and what came back from the node. Does not belong here: which job to run and
whether its output is accepted (`compute`), wording of failures (`slurm_failures`).

dagster-slurm reports a failed job as a success where `sacct` does not answer, and takes
over the job of another partition after a run was killed. Both cures replace private
methods, so the project pins the exact version.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster_slurm.helpers.ssh_helpers import TERMINAL_STATES
from dagster_slurm.helpers.ssh_pool import SSHConnectionPool
from dagster_slurm.launchers.script import BashLauncher
from dagster_slurm.pipes_clients.slurm_pipes_client import SlurmPipesClient
from dagster_slurm.resources.slurm import SlurmQueueConfig, SlurmResource
from dagster_slurm.resources.ssh import SSHConnectionResource

from pcorr_assets.config.compute import Slurm, SlurmResources
from pcorr_assets.errors import PcorrError

JOB_ID_TAG = "dagster_slurm/job_id"
RUN_FOLDER_TAG = "dagster_slurm/run_dir"
ASSET_TAG = "dagster_slurm/asset_key"
REQUEST_TAG = "pcorr/request"

POLL_SECONDS = 1.0
MAX_POLL_SECONDS = 5.0
CLOSING_SECONDS = 0.25
# How long the login node may be away, and how long Slurm may know nothing of a job.
UNREACHABLE_SECONDS = 900.0
UNKNOWN_SECONDS = 60.0
RUNS_LOOKED_AT = 20
LOG_LINES = 25

NO_ACCOUNTING = (
    "Slurm's accounting (sacct) does not answer on {host}, so that whether a job succeeded "
    "cannot be known, and its result is not accepted. Ask the administrators of the cluster "
    "to run slurmdbd; if it is only down for the moment, launch this again later: what was "
    "finished is kept."
)


@dataclass(frozen=True)
class SlurmRequest:
    """What is asked of the cluster: for one partition of one asset.

    `sha256` is the hash of the job description; only a job of the same description may be
    taken over from a killed run.
    """

    asset: str
    partition: str
    sha256: str

    @property
    def identity(self) -> str:
        """Asset and partition, as runs are tagged with them."""
        return f"{self.asset}|{self.partition}"


@dataclass
class NodeReport:
    """What a job left behind: its state, its messages, the end of its error log."""

    job_id: int | None = None
    state: str = ""
    folder: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    log: str = ""
    accounting: dict[str, Any] = field(default_factory=dict)

    def last(self, kind: str) -> Any:
        """The last message of the kind `result`, `refused` or `stopped` of this job, or None.

        Slurm starts a requeued job again under the same id: what was said before that is
        passed over.
        """
        for message in reversed(self.messages):
            if message.get("job_id") != str(self.job_id):
                continue
            if kind in message:
                return message[kind]
            if "started" in message:
                break
        return None


def slurm_resource(slurm: Slurm, resources: SlurmResources) -> SlurmResource:
    """The connection and the resources of one job, as dagster-slurm takes them.

    Raises:
        PcorrError: the settings lack the connection or a time limit.
    """
    if slurm.ssh is None or slurm.remote_base is None or slurm.environment is None:
        raise PcorrError("compute.slurm needs ssh, remote_base and environment in pcorr.yaml.")
    if resources.time_limit is None:
        raise PcorrError("compute.slurm.time_limit may not be null: give every job a limit.")
    ssh = slurm.ssh
    if ssh.key_path is not None and not ssh.key_path.is_file():
        raise PcorrError(
            f"compute.slurm.ssh.key_path: {ssh.key_path} is not there on this machine. Name a "
            "private key, or leave it out to use the ssh agent."
        )
    connection = SSHConnectionResource(
        host=ssh.host,
        port=ssh.port,
        user=ssh.user,
        key_path=None if ssh.key_path is None else str(ssh.key_path),
        host_key_checking=ssh.host_key_checking,
        known_hosts_file=None if ssh.known_hosts is None else str(ssh.known_hosts),
    )
    queue = SlurmQueueConfig(
        partition=resources.partition or "",
        account=resources.account,
        qos=resources.qos,
        time_limit=resources.time_limit,
        mem=resources.memory,
        cpus=resources.cpus or 1,
        gpus_per_node=resources.gpus or 0,
        signal_before_timeout=slurm.signal_before_timeout,
    )
    return SlurmResource(
        ssh=connection,
        queue=queue,
        remote_base=slurm.remote_base,
        status_poll_interval_seconds=POLL_SECONDS,
        status_poll_max_interval_seconds=MAX_POLL_SECONDS,
    )


def job_options(resources: SlurmResources) -> dict[str, Any] | None:
    """Options beside those of the queue: memory is left out with GPUs unless it is said again."""
    return {"mem": resources.memory} if resources.memory else None


class SlurmClient(SlurmPipesClient):
    """Runs one request; `report` tells what became of its job, also after a failure."""

    def __init__(self, resource: SlurmResource, environment: str, request: SlurmRequest) -> None:
        super().__init__(
            resource,
            BashLauncher(),
            # The logs of a failed job are what its user needs next.
            cleanup_on_failure=False,
            pre_deployed_env_path=environment,
        )
        self.request = request
        self.report = NodeReport()
        self._host = resource.ssh.host
        self._last_answer = time.monotonic()
        self._messages: Any = None

    def check_accounting(self, ssh_pool: SSHConnectionPool) -> None:
        """Refuse before any GPU time is spent, rather than after.

        Raises:
            PcorrError: accounting does not answer.
        """
        if "answers" not in ssh_pool.run("sacct -X -n -j 1 >/dev/null && echo answers; :"):
            raise PcorrError(NO_ACCOUNTING.format(host=self._host))

    def test_command(self, resources: SlurmResources) -> str:
        """The command that asks Slurm whether it would take such a job, and submits none."""
        command = self._build_sbatch_command(
            job_name="pcorr_check",
            working_dir="/tmp",
            output_file="/dev/null",
            error_file="/dev/null",
            script_path="--wrap=true",
            extra_opts=job_options(resources),
        )
        return command.replace("sbatch ", "sbatch --test-only ", 1)

    def _get_asset_key_string(self, op_context: dg.OpExecutionContext | None) -> str:
        """Asset *and* partition: by the asset alone a run adopts another partition's job."""
        return self.request.identity

    def _get_remote_run_dir(
        self, remote_base: str, run_id: str, op_context: dg.OpExecutionContext | None
    ) -> str:
        """A folder for each attempt of a step, so that none reads another's messages."""
        folder = super()._get_remote_run_dir(remote_base, run_id, op_context)
        attempt = op_context.retry_number if op_context is not None else 0
        self.report.folder = f"{folder}__attempt{attempt}" if attempt else folder
        return self.report.folder

    def _find_reattachable_job(
        self,
        op_context: dg.OpExecutionContext | None,
        ssh_pool: SSHConnectionPool,
        asset_key: str | None,
    ) -> dict[str, str] | None:
        """A live job of the same request that an earlier run left behind.

        The caller holds the lock of the partition, so whichever run submitted such a job
        is gone. A job that was asked for something else (another dtype, other benchmarks)
        is cancelled, because it would write over the partition later.
        """
        self.check_accounting(ssh_pool)
        if op_context is None:
            return None
        instance = op_context.instance
        runs = instance.get_runs(
            dg.RunsFilter(tags={ASSET_TAG: self.request.identity}), limit=RUNS_LOOKED_AT
        )
        found: dict[str, str] | None = None
        for run in runs:
            job_id, folder = run.tags.get(JOB_ID_TAG, ""), run.tags.get(RUN_FOLDER_TAG, "")
            state = self._live_state(ssh_pool, job_id, folder)
            if state is None:
                continue
            same = run.tags.get(REQUEST_TAG) == self.request.sha256
            if found is None and same and state != "COMPLETING":
                found = {"job_id": job_id, "run_dir": folder}
                self.report.folder = folder
            else:
                self._end(op_context, ssh_pool, job_id)
        instance.add_run_tags(op_context.run_id, {REQUEST_TAG: self.request.sha256})
        return found

    def _live_state(self, ssh_pool: SSHConnectionPool, job_id: str, folder: str) -> str | None:
        """The state of a job that is queued, runs or ends, if it is the one of that folder.

        Slurm gives job ids again after a while.
        """
        if not job_id.isdigit() or not folder:
            return None
        answer = ssh_pool.run(f"squeue -h -j {job_id} -o '%T|%Z' 2>/dev/null || true")
        state, _, place = answer.strip().partition("|")
        return state if place == folder else None

    def _end(
        self, op_context: dg.OpExecutionContext, ssh_pool: SSHConnectionPool, job_id: str
    ) -> None:
        op_context.log.warning(
            f"Slurm job {job_id} of an earlier run on {self.request.identity} had other settings "
            "or was about to end; it is cancelled."
        )
        ssh_pool.run(f"scancel {job_id}")
        deadline = time.monotonic() + UNKNOWN_SECONDS
        while ssh_pool.run(f"squeue -h -j {job_id} 2>/dev/null || true").strip():
            if time.monotonic() > deadline:
                raise PcorrError(
                    f"Slurm job {job_id} of an earlier run still works on {self.request.identity} "
                    "and does not end although it was cancelled. Wait until it has, then launch "
                    "this again."
                )
            time.sleep(POLL_SECONDS)

    def _is_job_still_running(self, job_id: int, ssh_pool: SSHConnectionPool) -> bool:
        return self._get_job_state(job_id, ssh_pool) not in TERMINAL_STATES

    def _get_job_state(self, job_id: int, ssh_pool: SSHConnectionPool) -> str:
        """The job's state, from slurmctld or else from accounting; never empty.

        A login node that is away for a while changes nothing. An unknown state is waited
        for, then a failure: dagster-slurm would take it for a success.
        """
        self.report.job_id = job_id
        query = (
            f"state=$(squeue -h -t all -j {job_id} -o %T 2>/dev/null); "
            f'[ -n "$state" ] || state=$(sacct -X -n -P -j {job_id} -o State 2>/dev/null); '
            'echo "$state"'
        )
        waited = time.monotonic() - self._last_answer
        try:
            words = ssh_pool.run(query, timeout=60).split()
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            if waited > UNREACHABLE_SECONDS:
                raise PcorrError(
                    f"{self._host} has not answered for {waited:.0f} s ({error}). Slurm job "
                    f"{job_id} goes on; launch this again when the cluster can be reached, and "
                    "it takes the job over."
                ) from error
            words = []
        else:
            if not words and waited > UNKNOWN_SECONDS:
                raise PcorrError(NO_ACCOUNTING.format(host=self._host))
        if words:
            self._last_answer = time.monotonic()
            self.report.state = words[0].rstrip("+").upper()
        return self.report.state or "PENDING"

    def _wait_for_job_with_streaming(self, job_id: int, *args: Any, **options: Any) -> None:
        ssh_pool: SSHConnectionPool = args[0]
        self._messages = options.get("message_reader")
        self.report.job_id = job_id
        self._last_answer = time.monotonic()
        try:
            super()._wait_for_job_with_streaming(job_id, *args, **options)
        except RuntimeError:
            self._read_messages(ssh_pool)
            self.report.log = self._remote_text(
                ssh_pool, f"tail -n {LOG_LINES} {{}}/slurm-{job_id}.err"
            )
            raise

    def _query_final_accounting(self, job_id: int, ssh_pool: SSHConnectionPool) -> str:
        """The job's accounting, once it says how the job ended; no answer is a failure."""
        deadline = time.monotonic() + UNKNOWN_SECONDS
        while True:
            output = super()._query_final_accounting(job_id, ssh_pool)
            row = self._parse_accounting_rows(output).get(str(job_id), {})
            if row.get("state") in TERMINAL_STATES:
                return output
            if time.monotonic() > deadline:
                raise PcorrError(NO_ACCOUNTING.format(host=self._host))
            time.sleep(POLL_SECONDS)

    def _interruptible_sleep(self, seconds: float, job_id: int) -> None:
        """Sleep between questions to Slurm, but hardly at all once the job says it is done."""
        deadline = time.monotonic() + seconds
        done_already = self._pipes_session_closed(self._messages)
        while (left := deadline - time.monotonic()) > 0:
            super()._interruptible_sleep(min(left, CLOSING_SECONDS), job_id)
            if done_already or self._pipes_session_closed(self._messages):
                return

    def _validate_final_slurm_outcome(self, job_id: int, ssh_pool: SSHConnectionPool) -> Any:
        """Accounting must say that the job completed, with what it took."""
        self.report.job_id = job_id
        self._read_messages(ssh_pool)
        metrics = super()._validate_final_slurm_outcome(job_id, ssh_pool)
        if not metrics.accounting_available:
            raise PcorrError(NO_ACCOUNTING.format(host=self._host))
        own = [row for row in metrics.accounting_rows if row.get("JobID") == str(job_id)]
        self.report.accounting = {
            "slurm_job_id": job_id,
            "slurm_state": metrics.state,
            "slurm_node": own[0].get("NodeList") if own else None,
            "slurm_accounting_available": True,
            "elapsed_seconds": metrics.elapsed_seconds,
            "max_memory_mb": round(metrics.max_rss_mb, 1),
            "node_hours": round(metrics.node_hours, 4),
        }
        return metrics

    def _maybe_emit_final_logs(self, *args: Any, **options: Any) -> None:
        """Nothing: the logs were streamed, and a failed job's stay on the cluster."""

    def _collect_and_emit_metrics(self, *args: Any, **options: Any) -> None:
        """Nothing: `report.accounting` becomes part of the materialisation's metadata."""

    def _read_messages(self, ssh_pool: SSHConnectionPool) -> None:
        """The node's own messages, from the file: a stream may have lost lines at the end."""
        command = "grep -F '\"report_custom_message\"' {}/messages.jsonl"
        for line in self._remote_text(ssh_pool, command).splitlines():
            payload = json.loads(line)["params"]["payload"]
            if isinstance(payload, Mapping):
                self.report.messages.append(dict(payload))

    def _remote_text(self, ssh_pool: SSHConnectionPool, command: str) -> str:
        folder = shlex.quote(self.report.folder)
        try:
            return ssh_pool.run(f"{command.format(folder)} 2>/dev/null || true", timeout=60)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            # Only adds to a failure's explanation; a missing result is refused elsewhere.
            self.logger.warning("Could not read %s: %s", self.report.folder, error)
            return ""
