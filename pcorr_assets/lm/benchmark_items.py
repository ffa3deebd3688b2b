"""The items that a benchmark is scored on, as texts: what is asked, and every answer.

Belongs here: taking them out of lm-eval's own task objects, without an LLM. Does not belong
here: scoring them (`evaluation`), and what is searched of them (`clean.ngrams`).

lm-eval builds the requests itself, without examples and description, so that a text holds
nothing but its item: of `multiple_choice` and `loglikelihood` the prompt, alone and with each
answer, of `loglikelihood_rolling` the text, of `generate_until` the prompt, alone and with each
right answer. A prompt has words of the task around what is asked ("Question: ... Answer:"), which
no document has that quotes the question; so what a prompt holds of the document of the benchmark
stands beside it, as the parts of the item.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from pcorr_assets.clean.ngrams import Item
from pcorr_assets.config import Benchmark
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.task_failures import describe
from pcorr_assets.lm.task_files import data_folder, refuse_unusable
from pcorr_assets.lm.task_folders import reading_data
from pcorr_assets.lm.task_loading import check_task

logger = logging.getLogger(__name__)


def read_items(name: str, benchmark: Benchmark) -> list[Item]:
    """All items of a benchmark (a `limit` does not count), named `task/number`, in order.

    Raises:
        PcorrError: there is no such task, or it cannot be loaded; it names the benchmark.
    """

    def items(tasks: dict[str, Any]) -> list[Item]:
        return [item for key, task in tasks.items() for item in _items(key, task)]

    return asking(name, benchmark, items)


Found = TypeVar("Found")


def asking(name: str, benchmark: Benchmark, ask: Callable[[dict[str, Any]], Found]) -> Found:
    """What `ask` finds in the task objects of a benchmark, by the names of its tasks.

    Raises as `read_items`.
    """
    try:
        with _quiet():
            random.seed(benchmark.seed)
            np.random.seed(benchmark.seed)
            with reading_data(benchmark.storage):
                tasks = _load(name, benchmark)
            return ask(tasks)
    except PcorrError as error:
        raise PcorrError(f"{name}: {error}") from error
    except (Exception, SystemExit) as error:
        logger.exception("the tasks of benchmark %s", name)
        raise PcorrError(f"{name}: {describe(error, benchmark.task_folder, None)}") from error


def _load(name: str, benchmark: Benchmark) -> dict[str, Any]:
    from lm_eval.tasks import TaskManager

    folder = benchmark.task_folder
    if folder is None:
        manager = TaskManager()
        check_task(manager, name, benchmark)
        return manager.load([name])["tasks"]
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    check_task(manager, name, benchmark)
    refuse_unusable(name, folder)
    with contextlib.chdir(data_folder(name, folder)):
        return manager.load([name])["tasks"]


def _items(key: str, task: Any) -> Iterator[Item]:
    task.set_config(key="num_fewshot", value=0)
    if task.get_config("description"):
        task.set_config(key="description", value="")
    task.build_all_requests(limit=None, rank=0, world_size=1)
    texts: dict[int, dict[str, None]] = {}
    parts: dict[int, dict[str, None]] = {}
    for request in task.instances:
        found = texts.setdefault(request.doc_id, {})
        found |= dict.fromkeys(_texts_of(task, request))
        parts.setdefault(request.doc_id, {}).update(dict.fromkeys(_parts_of(request)))
    for number, found in sorted(texts.items()):
        yield Item(f"{key}/{number}", tuple(found), tuple(parts[number]))


def _asked(request: Any) -> list[str]:
    return [part for part in request.arguments if isinstance(part, str)] or [""]


def _texts_of(task: Any, request: Any) -> list[str]:
    (prompt, *_) = asked = _asked(request)
    if request.request_type == "generate_until":
        return [prompt, *(f"{prompt} {answer}" for answer in answers(task, request.doc))]
    return list(dict.fromkeys([prompt, "".join(asked)]))


def _parts_of(request: Any) -> list[str]:
    """The values of the benchmark's document that stand in the prompt, word for word."""
    within = _spaced(_asked(request)[0])
    fields = request.doc.values() if isinstance(request.doc, Mapping) else ()
    values = [value for value in fields if isinstance(value, str)]
    return [value for value in values if (own := _spaced(value)) and own in within]


def _spaced(text: str) -> str:
    return " ".join(text.split())


def answers(task: Any, doc: Any) -> list[str]:
    """Every right answer to a document of a task."""
    target = task.doc_to_target(doc)
    if isinstance(target, int) and getattr(task.config, "doc_to_choice", None):
        target = task.doc_to_choice(doc)[target]
    found = target if isinstance(target, list) else [target]
    return [str(one) for one in found if one is not None]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(sys.stderr):
        yield
