"""Several processes that score one plan together, one a device.

Belongs here: starting and ending them, how they draw batches of one order, and what becomes of
one that dies. Does not belong here: what a process does with a batch (`work`).

They share a folder of files and nothing else: a semaphore or a queue that a killed process holds
would stop the others for ever, while the kernel frees the lock of a file with its holder.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.batching import BatchPlan
from pcorr_assets.lm.forward import LossModel
from pcorr_assets.lm.shards import SCRATCH_PREFIX, ShardFolder
from pcorr_assets.lm.work import PlannedTexts, Worker
from pcorr_assets.processes import end_with
from pcorr_assets.warehouse.files import scratch_folder

if TYPE_CHECKING:
    from pcorr_assets.lm.identity import ResolvedLLM

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.2
# Time for a batch and a shard before a process that was asked to stop is ended.
SECONDS_TO_STOP = 120.0
# Places in the shared numbers: whether all should stop, and where in the order the next draws.
_STOP, _NEXT, _COUNTS = 0, 1, 2


@dataclass(frozen=True)
class Task:
    """What a process needs beside the texts: the LLM and how it is driven, and its shards.

    `sliced`, `masked` and `slice_positions` are those of `forward.LossModel`, found out once for
    all processes.
    """

    resolved: ResolvedLLM
    dtype: str
    threads: int
    sliced: bool
    masked: bool
    slice_positions: int
    shards: Path
    identity: dict[str, str]
    batch_tokens: int
    seconds_per_shard: float


class Board:
    """What the processes share: the order, who draws next, what is done already, counts.

    `done` (uint8, one entry a batch) are batches that need not be drawn any more.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / "lock"
        self._order = np.load(folder / "order.npy", mmap_mode="r")
        self.done = np.load(folder / "done.npy", mmap_mode="r+")
        self._numbers = np.load(folder / "numbers.npy", mmap_mode="r+")
        self._begun = np.load(folder / "begun.npy", mmap_mode="r+")
        self._waited = np.load(folder / "waited.npy", mmap_mode="r+")

    @classmethod
    def create(cls, folder: Path, order: np.ndarray, batch_count: int, workers: int) -> Board:
        """A new one for so many processes."""
        (folder / "lock").touch()
        np.save(folder / "order.npy", order)
        np.save(folder / "done.npy", np.zeros(batch_count, dtype=np.uint8))
        np.save(folder / "numbers.npy", np.zeros(_COUNTS + workers, dtype=np.int64))
        np.save(folder / "begun.npy", np.zeros(workers, dtype=np.uint8))
        np.save(folder / "waited.npy", np.zeros(workers))
        return cls(folder)

    def draw(self) -> Iterator[int]:
        """Batches that nobody else draws, until there are none."""
        with self._lock.open() as lock:
            while (batch := self._next(lock.fileno())) is not None:
                yield batch

    def _next(self, lock: int) -> int | None:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            while (place := int(self._numbers[_NEXT])) < len(self._order):
                self._numbers[_NEXT] = place + 1
                if not self.done[batch := int(self._order[place])]:
                    return batch
            return None
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)

    def begin(self, worker: int) -> None:
        """Note that a process is about to draw."""
        self._begun[worker] = 1

    def has_begun(self, worker: int) -> bool:
        """Has a process begun to draw?"""
        return bool(self._begun[worker])

    def count(self, worker: int, tokens: int) -> None:
        """Note tokens that a process scored; each has a place of its own."""
        self._numbers[_COUNTS + worker] += tokens

    def wait(self, worker: int, seconds: float) -> None:
        """Note for how long a process waited for batches."""
        self._waited[worker] = seconds

    @property
    def seconds_waiting(self) -> float:
        """For how long processes that noted it waited for batches, together."""
        return float(self._waited.sum())

    @property
    def token_count(self) -> int:
        """Tokens that all processes scored."""
        return int(self._numbers[_COUNTS:].sum())

    @property
    def stopped(self) -> bool:
        """Should all processes stop?"""
        return bool(self._numbers[_STOP])

    def stop(self) -> None:
        """Let all processes finish their batch and end."""
        self._numbers[_STOP] = 1


class Crew:
    """Processes on `devices` that draw from one board with this process, which has place 0.

    Used as a context: at its end all are stopped and waited for.
    """

    def __init__(
        self, task: Task, texts: PlannedTexts, order: np.ndarray, devices: list[str]
    ) -> None:
        self._task = task
        self._texts = texts
        self._order = order
        self._devices = devices
        self._processes: list[Any] = []
        self._dismissed: set[int] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Crew:
        self._folder = self._stack.enter_context(scratch_folder(self._task.shards, SCRATCH_PREFIX))
        _save(self._folder, self._texts)
        self.board = Board.create(
            self._folder, self._order, self._texts.plan.batch_count, len(self._devices) + 1
        )
        context = get_context("spawn")  # other threads of this process may hold locks
        for place, device in enumerate(self._devices, 1):
            process = context.Process(
                target=_main, args=(self._task, self._folder, place, device, os.getpid())
            )
            process.start()
            self._processes.append(process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.board.stop()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._stack.close()

    def refuse_failures(self) -> None:
        """PcorrError with the words of the processes that failed, if any did."""
        said = [path.read_text("utf-8") for path in sorted(self._folder.glob("failed-*"))]
        if said:
            raise PcorrError("\n".join(dict.fromkeys(said)))

    def failed(self) -> bool:
        """Has a process failed? One that was ended from outside has not."""
        return any(self._folder.glob("failed-*"))

    def wait(self, stop: Callable[[], bool], look: Callable[[], None]) -> bool:
        """Wait until all have ended, once nothing is left to draw.

        False if `stop` said yes before; `look` is called often. One that is still loading the
        LLM would find nothing to do, and is ended.
        """
        for place, process in enumerate(self._processes, 1):
            if not self.board.has_begun(place):
                process.kill()
                self._dismissed.add(place)
        while any(process.is_alive() for process in self._processes):
            if stop() or self.failed():
                return False
            look()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def begun(self) -> int:
        """How many have begun to draw."""
        return sum(self.board.has_begun(place) for place in range(1, len(self._processes) + 1))

    def ended_from_outside(self) -> int:
        """How many processes were killed: what they had not finished is still to be done."""
        return sum(
            (process.exitcode or 0) < 0 and place not in self._dismissed
            for place, process in enumerate(self._processes, 1)
        )


def _save(folder: Path, texts: PlannedTexts) -> None:
    plan = texts.plan
    arrays = {"ids": texts.ids, "offsets": texts.offsets, "chunk": plan.chunk}
    arrays |= {"start": plan.start, "length": plan.length, "bounds": plan.bounds}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)


def _load(folder: Path) -> PlannedTexts:
    """The texts as they were saved, mapped: all processes read the same memory."""

    def load(name: str) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode="r")

    plan = BatchPlan(load("chunk"), load("start"), load("length"), load("bounds"))
    return PlannedTexts(plan, load("ids"), load("offsets"))


def _main(task: Task, folder: Path, place: int, device: str, parent: int) -> None:
    """What a process does. Errors do not survive the way to another process, words do."""
    end_with(parent)
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)

    # A signal to the whole group: this process finishes its batch, the first one decides the rest.
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, note)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work(task, folder, place, device, lambda: bool(asked))
    except Exception as error:  # noqa: BLE001  (told to the first process, which raises it)
        text = str(error)
        if not isinstance(error, PcorrError):
            text = (
                f"A process that scores {task.resolved.label} on {device} failed: "
                f"{type(error).__name__}: {error} What was finished is kept; launch it again."
            )
        (folder / f"writing-{place}").write_text(text, "utf-8")
        os.replace(folder / f"writing-{place}", folder / f"failed-{place}")


def _work(task: Task, folder: Path, place: int, device: str, asked: Callable[[], bool]) -> None:
    import torch

    from pcorr_assets.lm.loading import load_model

    torch.set_num_threads(task.threads)
    board, texts = Board(folder), _load(folder)
    model = LossModel(
        load_model(task.resolved, device, task.dtype),
        task.sliced,
        task.masked,
        slice_positions=task.slice_positions,
    )
    worker = Worker(
        texts,
        model,
        ShardFolder(task.shards, task.identity, texts.plan),
        task.resolved.label,
        batch_tokens=task.batch_tokens,
        seconds_per_shard=task.seconds_per_shard,
    )
    board.begin(place)
    worker.run(
        board.draw(),
        lambda: asked() or board.stopped,
        lambda tokens: board.count(place, tokens),
    )
    board.wait(place, worker.seconds_waiting)
