"""Scores of each item of an evaluation: those of the task, and two softer than right or wrong.

Belongs here: scores by item, read off the answers that lm-eval got, and the two metrics that
are made of them. Does not belong here: asking an LLM (`harness`), keeping results (`results`),
and how reliable scores are (`stats.reliability`).

- `gold_bpb`: bits-per-byte of the right answer, `-log2 P(answer | prompt)` over the UTF-8 bytes
  of what the LLM was asked to go on with (the delimiter before it included).
- `choice_probability`: the likelihood of the right choice over the sum of those of all choices.

Both are means over items. Where several choices are right, the first is that of the one with
the fewest bits-per-byte, and the second their sum.
"""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pcorr_assets.errors import PcorrError

GOLD_BPB = "gold_bpb"
CHOICE_PROBABILITY = "choice_probability"
# Metrics made here, and whether a higher value is better.
SOFT_METRICS = {GOLD_BPB: False, CHOICE_PROBABILITY: True}
FILTER = "none"

Scores = NDArray[np.float64]


@dataclass
class ItemScores:
    """Scores by item of one benchmark.

    `scores` gives for each `metric,filter` that is a mean over items (or a perplexity) what the
    items have, in the order of lm-eval: (K,), NaN for an item without a right answer. `absent`
    says why there is no soft metric.
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, float | None]:
        """The soft metrics and their standard errors, as lm-eval names its own."""
        found: dict[str, float | None] = {}
        for metric in SOFT_METRICS:
            scores = self.scores.get(f"{metric},{FILTER}")
            if scores is None:
                continue
            defined = scores[~np.isnan(scores)]
            stderr = float(defined.std(ddof=1)) / defined.size**0.5 if defined.size > 1 else None
            found[f"{metric},{FILTER}"] = float(defined.mean()) if defined.size else None
            found[f"{metric}_stderr,{FILTER}"] = stderr
        return found


class ItemWatch:
    """Notes what lm-eval makes of each item of these tasks while it scores them.

    Nothing of a task is called that lm-eval does not call: its functions may draw random numbers.
    """

    def __init__(self, tasks: Iterable[Any]) -> None:
        self._tasks = [_TaskWatch(task) for task in tasks]

    def scores(self) -> ItemScores:
        """The scores of all items, those of a group one task after the other.

        A metric that some task of a group does not have is left out.
        """
        parts = [task.scores() for task in self._tasks]
        if not parts:
            return ItemScores()
        common = [name for name in parts[0].scores if all(name in p.scores for p in parts)]
        absent = {metric: why for part in reversed(parts) for metric, why in part.absent.items()}
        return ItemScores(
            {name: np.concatenate([part.scores[name] for part in parts]) for name in common}, absent
        )


class _TaskWatch:
    """One task: what `process_results` returned for each item, and what it asked for."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._outcomes: list[Mapping[str, Any]] = []
        self._asked: list[dict[str, Any]] = []
        self._process = task.process_results
        self._scoring = False
        task.process_results = self._process_results
        for name in ("doc_to_text", "doc_to_target", "doc_to_choice"):
            if hasattr(task, name):
                self._noting(name)

    def _noting(self, name: str) -> None:
        method = getattr(self._task, name)

        def noted(*options: Any, **named: Any) -> Any:
            found = method(*options, **named)
            if self._scoring:
                self._asked[-1][name] = found
            return found

        setattr(self._task, name, noted)

    def _process_results(self, doc: Any, results: Any) -> Any:
        self._asked.append({})
        self._scoring = True
        outcome = self._process(doc, results)
        self._scoring = False
        self._outcomes.append(outcome)
        return outcome

    def scores(self) -> ItemScores:
        instances: dict[int, list[Any]] = {}
        for instance in self._task.instances:
            instances.setdefault(instance.doc_id, []).append(instance)
        items = [sorted(found, key=lambda one: one.idx) for _, found in sorted(instances.items())]
        filters = list(items[0][0].filtered_resps)
        found = ItemScores(self._own(filters, len(items)))
        reason = self._why_not_soft()
        if reason is not None:
            found.absent = dict.fromkeys(SOFT_METRICS, reason)
            return found
        soft = [
            self._soft_scores(item, asked)
            for item, asked in zip(items, self._asked[: len(items)], strict=True)
        ]
        found.scores[f"{GOLD_BPB},{FILTER}"] = np.array([bpb for bpb, _ in soft])
        if self._task.OUTPUT_TYPE == "multiple_choice":
            found.scores[f"{CHOICE_PROBABILITY},{FILTER}"] = np.array([p for _, p in soft])
        else:
            found.absent[CHOICE_PROBABILITY] = (
                f"{self._name} gives the LLM one answer and no choices (output_type: loglikelihood)"
            )
        return found

    @property
    def _name(self) -> str:
        return str(self._task.config.task)

    def _own(self, filters: list[str], count: int) -> dict[str, Scores]:
        """What the task's own metrics give each item, where that is one number."""
        from lm_eval.api.metrics import mean, perplexity

        aggregation = self._task.aggregation()
        found: dict[str, Scores] = {}
        for place, name in enumerate(filters):
            outcomes = self._outcomes[place * count : (place + 1) * count]
            for metric in outcomes[0] if len(outcomes) == count else ():
                values = [outcome.get(metric) for outcome in outcomes]
                if aggregation.get(metric) in (mean, perplexity) and all(map(_is_number, values)):
                    found[f"{metric},{name}"] = np.array(values, dtype=np.float64)
        return found

    def _why_not_soft(self) -> str | None:
        from lm_eval.api.task import ConfigurableTask

        task = self._task
        if not isinstance(task, ConfigurableTask):
            return "it is a Python class, whose right answers are not known"
        if task.OUTPUT_TYPE not in ("multiple_choice", "loglikelihood"):
            return f"{self._name} has no given answers (output_type: {task.OUTPUT_TYPE})"
        if callable(task.config.process_results):
            return f"{self._name} scores in a way of its own (process_results)"
        return None

    def _soft_scores(self, item: list[Any], asked: Mapping[str, Any]) -> tuple[float, float]:
        """Gold BPB and choice probability of an item; NaN if it has no right answer."""
        if self._task.OUTPUT_TYPE == "loglikelihood":
            return _bpb(item[0]), math.nan
        # For mutual information every choice is asked a second time, without the question.
        times = 2 if "acc_mutual_info" in self._task._metric_fn_list else 1
        choices = item[: len(item) // times]
        target = asked["doc_to_text" if self._task.multiple_input else "doc_to_target"]
        right = _right_choices(target, asked.get("doc_to_choice"), len(choices))
        if not right:
            return math.nan, math.nan
        losses = np.array([_log_likelihood(one) for one in choices])
        shares = np.exp(losses - losses.max())
        return min(_bpb(choices[one]) for one in right), float(shares[right].sum() / shares.sum())


def _right_choices(target: Any, choices: Any, count: int) -> list[int]:
    """Indices of the right choices, by the rules of lm-eval's own scoring."""
    if isinstance(target, str):
        found = [choices.index(target)] if choices is not None and target in choices else []
    else:
        found = list(target) if isinstance(target, list) else [target]
    return sorted({int(one) for one in found if isinstance(one, int) and 0 <= one < count})


def _log_likelihood(instance: Any) -> float:
    return float(instance.resps[0][0])


def _bpb(instance: Any) -> float:
    return -_log_likelihood(instance) / math.log(2) / len(instance.args[1].encode())


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float | np.number)


def pack(scores: Mapping[str, Scores]) -> dict[str, str]:
    """Scores as text: float32, little-endian, deflated, base64. A thousand items need 4 kB."""
    return {
        name: base64.b64encode(zlib.compress(values.astype("<f4").tobytes(), 9)).decode()
        for name, values in scores.items()
    }


def unpack(packed: Mapping[str, str]) -> dict[str, Scores]:
    """What was packed, to the precision of float32.

    Raises:
        ValueError: it is not what `pack` makes.
    """
    try:
        return {
            name: np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4").astype(np.float64)
            for name, text in packed.items()
        }
    except (zlib.error, ValueError, TypeError) as error:
        raise ValueError(f"scores of items cannot be read: {error}") from None


def items_sha256(scores: Mapping[str, Scores]) -> str:
    """Hash of what `pack` keeps of the scores."""
    found = hashlib.sha256()
    for name in sorted(scores):
        found.update(f"{name} {scores[name].size}\n".encode())
        found.update(scores[name].astype("<f4").tobytes())
    return found.hexdigest()


def explain_absence(benchmark: str, metric: str, absent: Mapping[str, str]) -> PcorrError | None:
    """Why a benchmark has no such soft metric; None if that is not known of the metric."""
    name = metric.partition(",")[0]
    if name not in absent:
        return None
    other = GOLD_BPB if name == CHOICE_PROBABILITY and GOLD_BPB not in absent else None
    advice = f"use {other}, or a metric" if other else "use a metric"
    return PcorrError(f"{benchmark} has no {name}: {absent[name]}; {advice} of the task itself")
