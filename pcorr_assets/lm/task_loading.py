"""Tasks of lm-eval by their names, from its own collection or a folder of the user's.

Belongs here: finding, refusing and loading a task, and how many examples it has in its prompts.
Does not belong here: running it (`evaluation`), and what is wrong with a task's files
(`task_files`).
"""

from __future__ import annotations

import contextlib
import difflib
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.task_files import data_folder, refuse_unusable, unreadable_files
from pcorr_assets.lm.task_folders import reading_data

if TYPE_CHECKING:
    from pathlib import Path

    from lm_eval.tasks import TaskManager

    from pcorr_assets.config import Benchmark


class TaskLoader:
    """Loads tasks; task managers are made once for each folder."""

    def __init__(self) -> None:
        self._managers: dict[Path | None, TaskManager] = {}

    def load(self, name: str, benchmark: Benchmark) -> Any:
        """What `lm_eval.evaluator.evaluate` takes, with the few-shot rule of lm-eval.

        Raises:
            PcorrError: no such task, or one that cannot be used. Whatever else the task raises.
        """
        with reading_data(benchmark.storage):
            return self._load(name, benchmark)

    def source_of(self, name: str, benchmark: Benchmark) -> Path | None:
        """The file that defines a task, if it was found."""
        manager = self._managers.get(benchmark.task_folder)
        entry = None if manager is None else manager.task_index.get(name)
        return None if entry is None else entry.yaml_path

    def _load(self, name: str, benchmark: Benchmark) -> Any:
        manager = self._manager(benchmark.task_folder)
        check_task(manager, name, benchmark)
        if (folder := benchmark.task_folder) is not None:
            refuse_unusable(name, folder)
            # Data beside the task is found there, wherever its folder lies.
            with contextlib.chdir(data_folder(name, folder)):
                loaded = manager.load([name])
        else:
            loaded = manager.load([name])
        for task in loaded["tasks"].values():
            _set_fewshot(task, benchmark.num_fewshot, benchmark.seed)
        return loaded

    def _manager(self, folder: Path | None) -> TaskManager:
        from lm_eval.tasks import TaskManager

        if folder not in self._managers:
            if folder is None:
                self._managers[None] = TaskManager()
            else:
                self._managers[folder] = TaskManager(
                    include_path=str(folder), include_defaults=False
                )
        return self._managers[folder]


def check_task(manager: TaskManager, name: str, benchmark: Benchmark) -> None:
    """PcorrError if `name` is no task or group that lm-eval gives a score of."""
    if name not in manager.all_tasks:
        raise PcorrError(_unknown_task(name, benchmark, manager.all_tasks))
    if name in manager.all_tags:
        raise PcorrError(
            "it is a tag of lm-eval, a list of tasks without a common score; list its tasks "
            "one by one and combine them in a target"
        )


def _set_fewshot(task: Any, wanted: int | None, seed: int) -> None:
    """The rule of lm-eval: a task that fixes 0 keeps it, all others take what is wanted."""
    own = task.get_config("num_fewshot")
    if wanted is not None and own != 0:
        task.set_config(key="num_fewshot", value=wanted)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=seed)


def _unknown_task(name: str, benchmark: Benchmark, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(known)} others"
    if benchmark.task_folder is not None:
        there = ", ".join(name if len(name) <= 60 else f"{name[:60]}..." for name in known[:10])
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {there or 'none'}"
        unread = "".join(f"; {problem}" for problem in unreadable_files(benchmark.task_folder)[:3])
        return (
            f"the folder {benchmark.task_folder} has no task or group of this name; {hint}{unread}"
        )
    return f"lm-eval has no task or group of this name; {hint} (`lm_eval ls tasks` lists them)"
