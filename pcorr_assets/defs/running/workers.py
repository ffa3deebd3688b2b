"""The processes that carry runs, as the process sees them that hands runs out.

Belongs here: starting and ending them, and what they answer. Does not belong here: what
happens within one (`worker`), and which run goes to whom (`runner`).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from pcorr_assets.defs.plans import Part
from pcorr_assets.errors import PcorrError

FOLDER = "pcorr_run"
# A process that grew beyond this is replaced when its run is over: memory that libraries keep.
RETIRED_ABOVE_BYTES = 2 << 30
# A run that was told to end is given so long; what it writes is whole or absent in any case.
SECONDS_TO_CANCEL = 30.0
SECONDS_TO_END = 5.0
LINES_SHOWN = 3
CHANGED = (
    "pcorr.yaml was changed while this was going on. What was made is kept; run the command again, "
    "with the file as it is now."
)


@dataclass(frozen=True)
class Task:
    """Partitions of an asset that are made in one run."""

    asset: str
    partitions: Sequence[str | None]
    run_id: str
    since: float = field(default_factory=time.monotonic)

    @property
    def parts(self) -> list[Part]:
        """What it makes."""
        return [(self.asset, partition) for partition in self.partitions]


@dataclass(frozen=True)
class Answer:
    """What a process says: of the run that it carries (`progress`), or how that ended.

    `status` is Dagster's, or "gone" where the process is gone; `said` are then the last words
    on its standard error.
    """

    worker: Worker
    progress: str | None = None
    status: str | None = None
    said: str = ""


class Worker:
    """One process. Its answers come in the queue that it was made with."""

    def __init__(self, answers: queue.SimpleQueue[Answer], log: Path, config: str) -> None:
        self.task: Task | None = None
        self.progress = ""
        self.known: set[str] = set()
        self._answers = answers
        self._log = log
        self._config = config
        self._rss = 0
        self._refused = ""
        self.is_ready = False
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pcorr_assets.defs.running.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                # Out of reach of the terminal's Ctrl-C, so that it is told once, by `stop`.
                start_new_session=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, task: Task) -> None:
        """Hand out a run; the process must have none."""
        self.task, self.progress = task, ""
        self.known.add(task.asset)
        self._send(run=task.run_id, asset=task.asset, partitions=list(task.partitions))

    def cancel(self) -> None:
        """Ask it to cancel the run that it carries; it goes on with others."""
        if self.task is not None:
            self._send(cancel=self.task.run_id)

    @property
    def is_worn(self) -> bool:
        """Whether it is to be replaced before it gets another run."""
        return self._rss > RETIRED_ABOVE_BYTES or self._process.poll() is not None

    @property
    def refused(self) -> str:
        """Why nothing that it makes can be used; usually empty."""
        return self._refused

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def tell_to_end(self) -> None:
        """Close its standard input: it cancels its run and ends."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()

    def end(self, seconds: float) -> None:
        """Wait for its end, and kill it if that takes too long."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.unlink(missing_ok=True)

    def _send(self, **request: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{json.dumps(request)}\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # `_listen` says that it is gone

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "ready" in answer:
                self.is_ready = True
                self._refused = "" if answer["ready"] == self._config else CHANGED
            elif "progress" in answer:
                self._answers.put(Answer(self, progress=answer["progress"]))
            elif "ended" in answer:
                self._rss = answer["rss"]
                self._answers.put(Answer(self, status=answer["status"]))
        self._process.wait()
        self._answers.put(Answer(self, status="gone", said=self._last_words()))

    def _last_words(self) -> str:
        code = self._process.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        said = " ".join(line.strip() for line in lines[-LINES_SHOWN:] if line.strip())
        return f"the process of the run {how}" + (f": {said}" if said else "")


class Workers:
    """As many processes as may be at work at once, started when they are needed."""

    def __init__(self, instance: dg.DagsterInstance, config: str, at_most: int) -> None:
        self.at_most = at_most
        self.answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._config = config
        self._folder = Path(instance.root_directory) / FOLDER
        self._folder.mkdir(exist_ok=True)
        for log in self._folder.glob("*.log"):  # of one that was killed
            log.unlink(missing_ok=True)
        self._all: list[Worker] = []
        self._started = 0

    @property
    def busy(self) -> list[Worker]:
        """Those that carry a run."""
        return [worker for worker in self._all if worker.task is not None]

    @property
    def has_room(self) -> bool:
        """Whether one more run may begin."""
        return len(self.busy) < self.at_most

    def begin(self, task: Task) -> None:
        """Hand a run to a process that has made the asset before, if there is one.

        Raises:
            PcorrError: what the process would make cannot be used.
        """
        idle = [worker for worker in self._all if worker.task is None]
        for worker in [worker for worker in idle if worker.is_worn]:
            idle.remove(worker)
            self._remove(worker)
        self.check()
        idle.sort(key=lambda worker: (task.asset not in worker.known, len(worker.known)))
        if not idle or (task.asset not in idle[0].known and len(self._all) < self.at_most):
            idle = [self._start()]
        idle[0].begin(task)

    def check(self) -> None:
        """Raises PcorrError if a process has other settings than this one."""
        for worker in self._all:
            if worker.refused:
                raise PcorrError(worker.refused)

    def forget(self, worker: Worker) -> None:
        """Of a process that is gone."""
        if worker in self._all:
            self._remove(worker)

    def listen(self, seconds: float) -> Iterator[Answer]:
        """Answers that are there; where there is none, wait so long for one.

        Raises:
            PcorrError: a process ended before it could carry anything.
        """
        wait: float | None = seconds
        while True:
            try:
                answer = self.answers.get(timeout=wait) if wait else self.answers.get_nowait()
            except queue.Empty:
                return
            if answer.status == "gone" and not answer.worker.is_ready:
                raise PcorrError(f"No run could begin: {answer.said}")
            yield answer
            wait = None

    def kill(self) -> None:
        """End all of them at once; their runs are ended for them."""
        for worker in self._all:
            worker.kill()

    def warm_up(self, count: int) -> None:
        """Start processes before there is work for them."""
        while len(self._all) < min(count, self.at_most):
            self._start()

    def end(self, seconds: float = SECONDS_TO_CANCEL) -> None:
        """End all of them: runs are cancelled, and killed if that takes too long."""
        deadline = time.monotonic() + (seconds if self.busy else min(seconds, SECONDS_TO_END))
        for worker in self._all:
            worker.tell_to_end()
        for worker in list(self._all):
            worker.end(deadline - time.monotonic())
        self._all.clear()

    def _start(self) -> Worker:
        self._started += 1
        log = self._folder / f"{os.getpid()}.{self._started}.log"
        worker = Worker(self.answers, log, self._config)
        self._all.append(worker)
        return worker

    def _remove(self, worker: Worker) -> None:
        self._all.remove(worker)
        worker.tell_to_end()
        worker.end(SECONDS_TO_END)


@contextmanager
def workers(instance: dg.DagsterInstance, config: str, at_most: int) -> Iterator[Workers]:
    """Processes for the length of the block; what they carry at its end is cancelled."""
    found = Workers(instance, config, at_most)
    try:
        yield found
    finally:
        found.end()
