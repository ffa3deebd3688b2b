"""The training text of a benchmark: what its task shows as examples, never what it scores.

Belongs here: taking it out of lm-eval's own task objects, without an LLM. Does not belong here:
the items that are scored (`benchmark_items`), and what is learnt from either (`methods`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pcorr_assets.config import Benchmark
from pcorr_assets.lm.benchmark_items import answers, asking


def read_training_texts(name: str, benchmark: Benchmark) -> list[str]:
    """Each document of the training split as its prompt with the right answer, each text once.

    Where a task has no training split, the split that its few-shot examples come from stands
    in, or its validation split, which examples come from where nothing else is named, unless it
    is scored on that. Empty: the tasks have none of them.

    Raises:
        PcorrError: there is no such task, or it cannot be loaded; it names the benchmark.
    """

    def texts(tasks: dict[str, Any]) -> list[str]:
        return list(dict.fromkeys(text for task in tasks.values() for text in _texts(task)))

    return asking(name, benchmark, texts)


def _texts(task: Any) -> Iterator[str]:
    for doc in _documents(task):
        asked = task.doc_to_text(doc)
        if isinstance(asked, int):  # one of several beginnings, of which the answer is the end
            asked = task.doc_to_choice(doc)[asked]
        for answer in answers(task, doc):
            yield f"{asked}{task.config.target_delimiter}{answer}"


def _documents(task: Any) -> Any:
    config = task.config
    scored = config.test_split or config.validation_split
    if config.training_split is not None and config.training_split != scored:
        return task.training_docs()
    if config.fewshot_split is not None and config.fewshot_split != scored:
        return task.fewshot_docs()
    if config.validation_split is not None and config.validation_split != scored:
        return task.validation_docs()
    return ()
