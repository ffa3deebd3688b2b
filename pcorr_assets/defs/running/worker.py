"""A process that carries runs one after the other, so that libraries are imported once.

Belongs here: the loop of the process, and how it ends. Does not belong here: which runs it
carries (`runner`), and starting it (`workers`).

A line of JSON on standard input is a run to carry; on standard output go the process's own
lines alone. Whatever else is written goes to standard error, a file, and while a run goes on
to that run's log. When standard input is closed, also by the death of the process at its other
end, the run that goes on is cancelled.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from dagster._utils.interrupts import setup_interrupt_handlers

from pcorr_assets.config import find_config
from pcorr_assets.defs.run_processes import process_tags

LAUNCHED_BY = {"pcorr/launched_by": "pcorr run"}
IN_THIS_PROCESS = {"execution": {"config": {"in_process": {}}}}
# Where the lines of `pcorr_assets.progress.Progress` come from.
PROGRESS = "pcorr_assets.progress"
CANCELLED = "pcorr run was stopped, or this run was terminated."


def config_hash() -> str:
    """The content of the configuration file: all processes of a `pcorr run` must see the same."""
    path = find_config()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""


class _Worker:
    """Carries runs; `stop` and `cancel` are called by the thread that reads."""

    def __init__(self, instance: dg.DagsterInstance, answers: TextIO) -> None:
        self._instance = instance
        self._answers = answers
        self._writing = threading.Lock()
        self._current: str | None = None
        self._stopping = threading.Event()
        self._repository = ReconstructableRepository.for_module(
            "pcorr_assets.definitions", "defs", working_directory=os.getcwd()
        )

    def say(self, **answer: Any) -> None:
        """One line to the process that asked."""
        with self._writing:
            self._answers.write(f"{json.dumps(answer)}\n")
            self._answers.flush()

    def load(self) -> None:
        """Load the definitions, and say of which file they are."""
        self._repository.get_definition()
        self.say(ready=config_hash())

    def carry(self, run_id: str, asset: str, partitions: Sequence[str | None]) -> None:
        """Make partitions of an asset in one run, and say how it ended."""
        key = dg.AssetKey(asset)
        job_definition = self._repository.get_definition().get_implicit_job_def_for_assets([key])
        assert job_definition is not None
        job = self._repository.get_reconstructable_job(job_definition.name)
        with dg.partition_loading_context(dynamic_partitions_store=self._instance):
            tags = _partition_tags(job_definition, key, partitions)
        run = self._instance.create_run_for_job(
            job_def=job_definition.get_subset(asset_selection={key}),
            run_id=run_id,
            run_config=IN_THIS_PROCESS,
            tags={**tags, **LAUNCHED_BY, **process_tags(self._instance, run_id)},
            asset_selection={key},
            job_code_origin=job.get_python_origin(),
        )
        self._current = run_id
        try:
            if not self._stopping.is_set():
                execute_run(job, run, self._instance)
        except KeyboardInterrupt:
            pass  # before Dagster's own handling of it, or after
        finally:
            self._current = None
        ended = self._instance.get_run_by_id(run_id)
        if ended is not None and not ended.is_finished:
            self._instance.report_run_canceled(ended, CANCELLED)
            ended = self._instance.get_run_by_id(run_id)
        _tidy_up()
        self.say(
            ended=run_id, status=ended.status.value if ended is not None else "", rss=_rss_bytes()
        )

    def cancel(self, run_id: str | None = None) -> None:
        """Interrupt the run that goes on, or only this one, so that it ends as cancelled."""
        current = self._current
        if current is None or run_id not in (None, current):
            return
        run = self._instance.get_run_by_id(current)
        if run is not None and not run.is_finished:
            self._instance.report_run_canceling(run, CANCELLED)
        os.kill(os.getpid(), signal.SIGINT)

    def stop(self) -> None:
        """Nothing more is begun, and what goes on is cancelled."""
        self._stopping.set()
        self.cancel()


def _partition_tags(
    job: dg.JobDefinition, asset: dg.AssetKey, partitions: Sequence[str | None]
) -> Mapping[str, str]:
    first, last = partitions[0], partitions[-1]
    if first is None or last is None:
        return {}
    if len(partitions) == 1:
        return job.get_tags_for_partition_key(first, selected_asset_keys={asset})
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def _tidy_up() -> None:
    """What the run has left in memory is not to be in the way of another process's run."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _rss_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Forward(logging.Handler):
    """How far the loops within a run are, for the overview."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__(logging.INFO)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        # Where nobody listens any more, the end of standard input says so as well.
        with suppress(OSError, ValueError):
            self._worker.say(progress=record.getMessage())


def _read(worker: _Worker, tasks: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "cancel" in request:
            worker.cancel(request["cancel"])
        else:
            tasks.put(request)
    tasks.put(None)
    worker.stop()


def main() -> None:
    """Carry runs until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    setup_interrupt_handlers()
    logging.getLogger("pcorr_assets").setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    try:
        with dg.DagsterInstance.get() as instance:
            worker = _Worker(instance, answers)
            logging.getLogger(PROGRESS).addHandler(_Forward(worker))
            threading.Thread(target=_read, args=(worker, tasks), daemon=True).start()
            worker.load()
            while (task := tasks.get()) is not None:
                worker.carry(task["run"], task["asset"], task["partitions"])
    except (KeyboardInterrupt, BrokenPipeError):
        pass  # told to end while nothing went on
    # The thread that reads may hold the lock of standard input, which Python would wait for.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
