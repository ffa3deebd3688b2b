"""Kept results of evaluations: one JSON file for each LLM and benchmark.

Belongs here: storing what lm-eval said, finding it again, and reading a row of
`benchmark_errors` off it. Does not belong here: running lm-eval (`evaluation`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pcorr_assets.config.keys import to_slug
from pcorr_assets.config.metrics import known
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.lm.item_scores import SOFT_METRICS, explain_absence, pack, unpack
from pcorr_assets.warehouse.json_files import read_json, write_json

if TYPE_CHECKING:
    from pcorr_assets.config import Benchmark

Row = dict[str, Any]

# The score is off by at most the share of prompts that hold their answer: up to here that is
# less than the standard error of a benchmark of 2,000 items.
MAX_LEAKED = 0.01


@dataclass(frozen=True)
class Result:
    """What lm-eval said about one LLM on one benchmark, all metrics of it.

    `values` has the keys of lm-eval, `metric,filter` and `metric_stderr,filter`;
    `higher_is_better` is lm-eval's opinion for each metric, None where it has none.
    `chance` is the share of items that guessing among given choices gets right; None for
    tasks without choices, and for results that were kept before it was noted.
    `leaked_prompts` counts the items whose own answer stood in their prompt; None for results
    that were kept before it was noted. `notes` are what its user should know each time.
    `items` are the scores of each item by `metric,filter`, (K,); None for results that were kept
    before they were. `absent` says why the task has no soft metric (`item_scores`).
    `batch_sizes` are those that were used: several where lm-eval searched for one several times.
    """

    llm: str
    benchmark: str
    commit_sha: str
    dtype: str
    evaluation_sha256: str
    lm_eval_version: str
    task_version: str | None
    num_fewshot: int | None
    limit: float | None
    seed: int
    sample_count: int | None
    values: dict[str, float | None]
    higher_is_better: dict[str, bool | None]
    chance: float | None = None
    leaked_prompts: int | None = None
    notes: list[str] = field(default_factory=list)
    items: dict[str, NDArray[np.float64]] | None = None
    absent: dict[str, str] = field(default_factory=dict)
    batch_sizes: list[int] = field(default_factory=list)

    def serves(self, metric: str) -> bool:
        """False for a soft metric of a result that was kept before these were made."""
        return metric.partition(",")[0] not in SOFT_METRICS or self.items is not None

    @property
    def metrics(self) -> list[str]:
        """The metrics there are, each with its filter."""
        return sorted(key for key in self.values if not _is_stderr(key))


class KeptResults:
    """The results of one LLM, one file a benchmark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, home: Path, llm: str) -> KeptResults:
        """Those of an LLM under a data home."""
        return cls(home / "evaluations" / to_slug(llm))

    def find(
        self, benchmark: str, commit_sha: str, dtype: str, evaluation_sha256: str
    ) -> Result | None:
        """The kept result of this very evaluation, if there is one that can be read."""
        path = self.folder / f"{to_slug(benchmark)}.json"
        if not path.is_file():
            return None
        try:
            result, _ = _load(path)
        except _DamagedError:
            return None
        wanted = (commit_sha, dtype, evaluation_sha256)
        return result if _belongs(result) == wanted else None

    def keep(self, result: Result, row: Row | None) -> None:
        """Store a result, and the row that the present settings make of it."""
        path = self.folder / f"{to_slug(result.benchmark)}.json"
        values = {metric: _to_json(value) for metric, value in result.values.items()}
        items = None if result.items is None else pack(result.items)
        stored = {**asdict(replace(result, items=None)), "values": values, "items": items}
        write_json(path, {"result": stored, "row": row})

    def rows(self, commit_sha: str, dtype: str) -> list[Row]:
        """The rows of all readable results of these weights, sorted by benchmark."""
        fitting = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                result, row = _load(path)
            except _DamagedError:
                continue
            if row is not None and (result.commit_sha, result.dtype) == (commit_sha, dtype):
                fitting.append(row)
        return sorted(fitting, key=lambda row: row["benchmark"])

    def damaged(self) -> list[str]:
        """A warning for each file that is no kept result: `find` and `rows` pass it over."""
        warnings = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                _load(path)
            except _DamagedError as error:
                warnings.append(
                    f"{path} is not a kept result ({error}): it was changed or damaged, so its "
                    "row is missing unless the benchmark is evaluated again, as those in the "
                    "configuration are"
                )
        return warnings


def make_row(result: Result, benchmark: Benchmark) -> tuple[Row, list[str]]:
    """The row of `benchmark_errors`, and what a user should know about it.

    error = score where lower is better, else (best - score) / (best - worst), between the
    metric's best and lowest values (1 and 0 if nothing else is known or configured): 0 for a
    perfect LLM, 1 for the worst.

    Raises:
        PcorrError: the metric is not there or is ambiguous, its score cannot be turned into
            an error, or too many prompts held the answer.
    """
    metric = find_metric(result, benchmark.metric)
    score = result.values[metric]
    where = f"{metric} of {result.benchmark}"
    if score is None or not math.isfinite(score):
        raise PcorrError(
            f"the {where} is {'not a number' if score is None else score}, which says nothing "
            "of the LLM: it has no answer to score, or its losses overflow. Look at its "
            "answers (lm_eval --log_samples), or try another `dtype`"
        )
    warnings = leak_warnings(result, benchmark)
    error = score if benchmark.lower_is_better else _error_of(score, benchmark, where)
    if benchmark.lower_is_better:
        _refuse_impossible(score, benchmark, where)
    name, _, filter_name = metric.partition(",")
    stderr = result.values.get(f"{name}_stderr,{filter_name}")
    row: Row = {
        "llm": result.llm,
        "source": "lm_eval",
        "benchmark": result.benchmark,
        "metric": metric,
        "higher_is_better": not benchmark.lower_is_better,
        "score": score,
        "error": error,
        "stderr": stderr if stderr is not None and math.isfinite(stderr) else None,
        "sample_count": result.sample_count,
        "num_fewshot": result.num_fewshot,
        "limit": result.limit,
        "seed": result.seed,
        "settings_sha256": benchmark_settings_sha256(result.benchmark, benchmark),
        "task_version": result.task_version,
        "lm_eval_version": result.lm_eval_version,
        "commit_sha": result.commit_sha,
        "dtype": result.dtype,
    }
    return row, [*result.notes, *warnings, *_direction_warnings(result, benchmark, name, where)]


def _error_of(score: float, benchmark: Benchmark, where: str) -> float:
    best, worst = benchmark.best_score, benchmark.worst_score
    if not worst <= score <= best:
        what = benchmark.metric.partition(",")[0]
        remedy = (
            f"this is no {what} as it is commonly defined; set `scale` to its best value and "
            "`worst` to its lowest"
            if known(benchmark.metric)
            else "set `scale` to the metric's best value and `worst` to its lowest (by default 1 "
            "and 0), or `lower_is_better: true`"
        )
        raise PcorrError(
            f"the {where} is {score:g}, outside [{worst:g}, {best:g}], so it gives no error: "
            f"{remedy}"
        )
    return (best - score) / (best - worst)


def _refuse_impossible(score: float, benchmark: Benchmark, where: str) -> None:
    """PcorrError if no such value of a known metric exists, up to rounding."""
    metric = known(benchmark.metric)
    if metric is None or metric.best is None or not metric.lower_is_better:
        return
    slack = 1e-6
    if not metric.best - slack <= score <= metric.worst + slack:
        raise PcorrError(
            f"the {where} is {score:g}; {benchmark.metric.partition(',')[0]} lies between "
            f"{metric.best:g} and {metric.worst:g}. The task computes it in a way of its own: "
            "correct it, or use another metric"
        )


def leak_warnings(result: Result, benchmark: Benchmark) -> list[str]:
    """What to know about prompts that held the answer to their own item.

    Raises:
        PcorrError: they are so many that the score is worth nothing, and it was not allowed.
    """
    if result.leaked_prompts is None:
        if not result.num_fewshot:
            return []
        return [
            f"{result.benchmark} was evaluated before few-shot prompts were searched for the "
            "answer to their own item; to have it searched, remove its file from the folder "
            "`evaluations` of the data home and materialise again"
        ]
    return judge_leaks(result.benchmark, result.leaked_prompts, result.sample_count or 0, benchmark)


def judge_leaks(name: str, leaked: int, count: int, benchmark: Benchmark) -> list[str]:
    """A warning if some of the prompts of a benchmark held their own answer.

    Raises:
        PcorrError: more than `MAX_LEAKED` of them did, and it was not allowed.
    """
    if not leaked:
        return []
    what = (
        f"{leaked} of {count} prompts of {name} hold the answer to their own item among the "
        "few-shot examples"
    )
    if leaked > MAX_LEAKED * count and not benchmark.allow_leaked_answers:
        raise PcorrError(
            f"{what}, so the score would say what the LLM can copy. lm-eval draws them from the "
            "items that it evaluates, or from a split that repeats these. Set `fewshot_split` in "
            "the task to a split of other items, or `num_fewshot: 0`; to use the score all the "
            "same, `allow_leaked_answers: true`"
        )
    return [f"{what}: the score is too good by at most {leaked / count:.1%}"]


def find_metric(result: Result, wanted: str) -> str:
    """The `metric,filter` of lm-eval that a configured metric means.

    A metric without filter means the filter `none`, or the only one there is.

    Raises:
        PcorrError: no such metric, or several; it lists those there are, or says why the task
            has no soft one.
    """
    if wanted in result.metrics:
        return wanted
    found = [metric for metric in result.metrics if metric.partition(",")[0] == wanted]
    if f"{wanted},none" in found:
        return f"{wanted},none"
    if len(found) == 1:
        return found[0]
    if (why := explain_absence(result.benchmark, wanted, result.absent)) is not None:
        raise why
    there = ", ".join(metric.removesuffix(",none") for metric in result.metrics)
    soft = {metric.partition(",")[0] for metric in result.metrics} & set(SOFT_METRICS)
    if found:
        raise PcorrError(
            f"{result.benchmark} has {wanted} under several filters; say which: {', '.join(found)}"
        )
    if len(soft) == len(result.metrics):
        but = f" but {' and '.join(sorted(soft))}" if soft else ""
        raise PcorrError(
            f"{result.benchmark} is a group without a score of its own{but}; list its tasks one "
            "by one and combine them in a target"
        )
    raise PcorrError(f"{result.benchmark} has no metric {wanted}; it has {there}")


def rows_to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table with the columns of `benchmark_errors`."""
    return pa.Table.from_pylist(rows, schema=schema)


def _direction_warnings(result: Result, benchmark: Benchmark, name: str, where: str) -> list[str]:
    opinion = result.higher_is_better.get(name)
    if opinion is None or opinion is not benchmark.lower_is_better:
        return []
    return [
        f"lm-eval says that {'higher' if opinion else 'lower'} is better for the {where}, the "
        f"configuration says `lower_is_better: {str(benchmark.lower_is_better).lower()}`; the "
        "configuration was followed"
    ]


def _is_stderr(key: str) -> bool:
    return key.partition(",")[0].endswith("_stderr")


def _belongs(result: Result) -> tuple[str, str, str]:
    return result.commit_sha, result.dtype, result.evaluation_sha256


def _to_json(value: float | None) -> float | str | None:
    """The value; text ("inf") if it is infinite, for which JSON has no number."""
    return value if value is None or math.isfinite(value) else str(value)


def _from_json(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value


class _DamagedError(Exception):
    """A file that is no kept result, and why."""


def _load(path: Path) -> tuple[Result, Row | None]:
    try:
        stored = read_json(path)
        values = {metric: _from_json(value) for metric, value in stored["result"]["values"].items()}
        packed = stored["result"].get("items")
        items = None if packed is None else unpack(packed)
        result = Result(**{**stored["result"], "values": values, "items": items})
        row = stored["row"]
        if row is not None and row["benchmark"] != result.benchmark:
            raise ValueError(f"its row is of {row['benchmark']}")
    except DamagedFileError as error:
        raise _DamagedError(error.reason) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _DamagedError(f"{type(error).__name__}: {error}") from error
    return result, row
