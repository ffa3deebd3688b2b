"""Several processes that evaluate one LLM together, one a device: each takes whole benchmarks.

Belongs here: starting and ending them, how they share out benchmarks, and what becomes of one that
dies. Does not belong here: evaluating a benchmark (`evaluation`), processes that score (`crew`).

A benchmark is seeded, batched and scored by one process, as it is by one alone: the results are the
same to the last bit, on the same kind of device and number of threads. lm-eval's own data
parallelism (accelerate) cuts the items of each benchmark into parts: their batches are others and
so are the last digits, it needs torch.distributed, where one process that dies leaves the others
waiting, and it does not take an LLM that is loaded already.

They share a folder of files and nothing else, of which the kernel creates each only once: who
creates the mark of a benchmark evaluates it. What a process that was killed had taken has no result
in the end, and the first process evaluates it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.processes import end_with
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.files import scratch_folder, write_text

if TYPE_CHECKING:
    from pcorr_assets.config import Benchmark
    from pcorr_assets.lm.evaluation import Evaluator
    from pcorr_assets.lm.identity import ResolvedLLM
    from pcorr_assets.lm.results import KeptResults

logger = logging.getLogger(__name__)

SCRATCH_PREFIX = ".together-"
SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Together:
    """`failures` by benchmark; `processes` that evaluated some of them; what a user should know."""

    failures: dict[str, str]
    processes: int
    warnings: list[str]


@dataclass(frozen=True)
class Task:
    """What a process needs: the LLM and how it is driven, the benchmarks, where results go."""

    resolved: ResolvedLLM
    dtype: str
    threads: int
    batch_size: int | None
    benchmarks: dict[str, Benchmark]
    kept: Path
    folder: Path


def evaluate_together(
    evaluator: Evaluator,
    benchmarks: Mapping[str, Benchmark],
    kept: KeptResults,
    devices: Sequence[str],
) -> Together:
    """Evaluate benchmarks with this process and one on each of `devices`; results are in `kept`.

    A benchmark that has neither a result nor a failure in the end was taken by a process that
    died. A process that fails as a whole, as one does whose device has no room for the LLM, is a
    warning: the others do its part.
    """
    import torch

    with scratch_folder(kept.folder, SCRATCH_PREFIX) as folder:
        task = Task(
            evaluator.resolved, evaluator.dtype, torch.get_num_threads(), evaluator.batch_size,
            dict(benchmarks), kept.folder, folder,
        )  # fmt: skip
        context = get_context("spawn")  # other threads of this process may hold locks
        processes: list[Any] = []
        try:
            # No more processes than benchmarks.
            for place, device in enumerate(devices[: len(benchmarks) - 1], 1):
                process = context.Process(target=_main, args=(task, place, device, os.getpid()))
                process.start()
                processes.append(process)
            _evaluate_and_wait(evaluator, task, kept, processes)
        finally:
            for process in processes:
                process.kill()
                process.join()
        return Together(
            {
                name: path.read_text("utf-8")
                for place, name in enumerate(benchmarks)
                if (path := folder / f"failed-{place}").exists()
            },
            1 + sum(1 for _ in folder.glob("began-*")),
            [path.read_text("utf-8") for path in sorted(folder.glob("lost-*"))],
        )


def _evaluate_and_wait(
    evaluator: Evaluator, task: Task, kept: KeptResults, processes: Sequence[Any]
) -> None:
    label = f"evaluate {task.resolved.label} in {len(processes) + 1} processes"
    with Progress(label, total=len(task.benchmarks), unit="benchmarks") as progress:

        def look() -> None:
            progress.update(sum(1 for _ in task.folder.glob("done-*")) - progress.done)

        for _ in _evaluated(evaluator, task, kept):
            look()
        for place, process in enumerate(processes, 1):
            # One that is still loading the LLM would find nothing to do.
            if not (task.folder / f"began-{place}").exists():
                process.kill()
        while any(process.is_alive() for process in processes):
            look()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        look()


def _evaluated(evaluator: Evaluator, task: Task, kept: KeptResults) -> Iterator[str]:
    """Evaluate benchmarks that no other process has taken, until there are none."""
    for place, (name, benchmark) in enumerate(task.benchmarks.items()):
        try:
            (task.folder / f"taken-{place}").touch(exist_ok=False)
        except FileExistsError:
            continue
        reason = evaluator.keep(name, benchmark, kept)
        if reason is not None:
            write_text(task.folder / f"failed-{place}", reason)
        (task.folder / f"done-{place}").touch()
        yield name


def _main(task: Task, place: int, device: str, parent: int) -> None:
    """What a process does. Errors do not survive the way to another process, words do."""
    end_with(parent)
    # Ctrl-C goes to the whole group: the first process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work(task, place, device)
    except Exception as error:  # noqa: BLE001  (told to the first process)
        said = str(error) if isinstance(error, PcorrError) else f"{type(error).__name__}: {error}"
        write_text(
            task.folder / f"lost-{place}",
            f"a process that was to evaluate {task.resolved.label} on {device} failed, and the "
            f"others did its part: {said}",
        )


def _work(task: Task, place: int, device: str) -> None:
    import torch

    from pcorr_assets.lm.evaluation import Evaluator
    from pcorr_assets.lm.loading import load_model, load_tokenizer
    from pcorr_assets.lm.results import KeptResults

    torch.set_num_threads(task.threads)
    tokenizer = load_tokenizer(task.resolved)
    model = load_model(task.resolved, device, task.dtype)
    evaluator = Evaluator(task.resolved, model, tokenizer, task.dtype, task.batch_size)
    (task.folder / f"began-{place}").touch()
    for _ in _evaluated(evaluator, task, KeptResults(task.kept)):
        pass
