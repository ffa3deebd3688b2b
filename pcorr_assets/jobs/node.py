"""What a cluster node runs: the job of one Dagster run, reported back through Pipes.

Belongs here: reading the description from Pipes, sending progress, warnings and the
result back, signals, and refusing an environment of another version. Does not belong
here: any job (`dispatch`), Slurm commands, and the launching side (`defs`).

The launching side uploads this file and runs it with the interpreter of the environment
that was deployed on the cluster; everything else is imported from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from dagster_pipes import (
    PipesContext,
    PipesDefaultMessageWriter,
    PipesMessageWriterChannel,
    PipesParams,
    open_dagster_pipes,
)

import pcorr_assets
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import dispatch

# Exit status of a job that was told to stop and kept what it had finished.
STOPPED = 75
# Where dagster-slurm notes, in a job's folder, that Slurm's signal came.
SIGNAL_MARKER = ".dagster_slurm_pre_timeout_signal"
# Rooms whose code decides what a job computes and writes.
ROOMS = ("config", "jobs", "warehouse")
ROOMS_OF_LLMS = (*ROOMS, "lm")
ROOMS_OF_TEXTS = (*ROOMS, "filters", "text")


class InterruptedJob(BaseException):
    """A signal came to a job that cannot stop by itself; not caught by any job."""


class QuietMessageWriter(PipesDefaultMessageWriter):
    """Messages only: Slurm's own log files have the standard streams already."""

    @contextlib.contextmanager
    def open(self, params: PipesParams) -> Iterator[PipesMessageWriterChannel]:
        """The channel, without capture of the standard streams (it costs seconds a job)."""
        with super().open({**params, self.INCLUDE_STDIO_IN_MESSAGES_KEY: False}) as channel:
            yield channel


class PipesHandler(logging.Handler):
    """Sends log records of the package to the log of the Dagster run."""

    def __init__(self, pipes: PipesContext) -> None:
        super().__init__(logging.INFO)
        self._pipes = pipes

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._pipes.log.log(record.levelno, self.format(record))


def source_sha256(job: Mapping[str, Any]) -> str:
    """Hash of the code that decides this job's result, equal on both sides or nothing runs."""
    package = Path(pcorr_assets.__file__).parent
    digest = hashlib.sha256()
    for room in ROOMS_OF_LLMS if "llm" in job else ROOMS_OF_TEXTS:
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    """Exit status: 0 done, 1 failed, `STOPPED` if a signal ended the job.

    A job that was stopped leaves the Pipes session open: where Slurm requeues it, the
    next attempt goes on under the same job id and in the same session.
    """
    from pcorr_assets.lm.scoring import StoppedError

    with contextlib.ExitStack() as stack:
        pipes = open_dagster_pipes(message_writer=QuietMessageWriter())
        stack.push(pipes.__exit__)
        package_logger = logging.getLogger("pcorr_assets")
        package_logger.setLevel(logging.INFO)
        package_logger.addHandler(PipesHandler(pipes))
        _forget_earlier_attempt()
        pipes.report_custom_message({"started": socket.gethostname(), "job_id": _job_id()})
        try:
            result = _run(pipes)
        except (StoppedError, InterruptedJob) as stop:
            stack.pop_all()
            pipes.report_custom_message({"stopped": str(stop), "job_id": _job_id()})
            pipes.log.warning(str(stop))
            return STOPPED
        except PcorrError as error:
            # The user can mend it: the message is enough, without a traceback.
            pipes.report_custom_message({"refused": str(error), "job_id": _job_id()})
            sys.stderr.write(f"{error}\n")
            return 1
        pipes.report_custom_message({"result": result, "job_id": _job_id()})
    return 0


def _run(pipes: PipesContext) -> dict[str, Any]:
    job = pipes.extras["job"]
    if pipes.extras["source_sha256"] != source_sha256(job):
        raise PcorrError(
            f"The environment on {socket.gethostname()} has another version of pcorr_assets "
            f"({Path(pcorr_assets.__file__).parent}) than the side that launched this job. "
            "Install the same version in `compute.slurm.environment` and launch it again."
        )
    if not Path(job["home"]).is_dir():
        raise PcorrError(
            f"{job['home']} is not there on {socket.gethostname()}. The data home must be on a "
            "file system that the nodes share; where they see it under another path, set "
            "`compute.slurm.home`."
        )
    signals = [signal.SIGTERM]
    if pipes.extras.get("signal"):
        signals.append(signal.Signals[f"SIG{pipes.extras['signal'].removeprefix('SIG')}"])
    if dispatch.stops_cleanly(job):
        return dispatch.run(job, dispatch.StopRequest(signals))
    for number in signals:
        signal.signal(number, _interrupt)
    return dispatch.run(job)


def _forget_earlier_attempt() -> None:
    """A requeued job keeps its folder, where it stands that it was once told to stop."""
    if os.environ.get("SLURM_RESTART_COUNT"):
        (Path(__file__).parent / SIGNAL_MARKER).unlink(missing_ok=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del frame
    name = signal.Signals(number).name
    raise InterruptedJob(
        f"The job was told to stop ({name}). Launch it again: it keeps what was finished."
    )


def _job_id() -> str:
    return os.environ.get("SLURM_JOB_ID", "")


if __name__ == "__main__":
    sys.exit(main())
