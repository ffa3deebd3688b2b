"""What guessing would score on a task, from the choices that lm-eval gave.

Belongs here: counting choices after an evaluation. Does not belong here: judging an error
by it (`plausibility.llms`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def chance_score(tasks: Iterable[Any]) -> float | None:
    """Share of items that a uniform guess gets right, over the items that were evaluated.

    `tasks` are lm-eval tasks after the evaluation; several (a group) are averaged over
    their items, as lm-eval does by default. An item with n choices, k of them right,
    counts k / n. None if any task has no given choices, or scores in a way of its own.
    """
    from lm_eval.api.task import ConfigurableTask

    expected, items = 0.0, 0
    for task in tasks:
        if (
            not isinstance(task, ConfigurableTask)
            or task.OUTPUT_TYPE != "multiple_choice"
            or callable(task.config.process_results)
        ):
            return None
        requests = Counter(instance.doc_id for instance in task.instances)
        documents = {instance.doc_id: instance.doc for instance in task.instances}
        # For mutual information every choice is asked twice, with and without the question.
        times = 2 if "acc_mutual_info" in task._metric_fn_list else 1
        for identity, count in requests.items():
            expected += _right_choices(task, documents[identity]) * times / count
        items += len(requests)
    return expected / items if items else None


def _right_choices(task: Any, document: Any) -> int:
    if not task.multiple_target:
        return 1
    return len(set(task.doc_to_target(document)))
