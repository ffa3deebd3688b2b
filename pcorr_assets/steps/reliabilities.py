"""Rows of `reliabilities`: which metrics of a target's benchmarks tell LLMs apart.

Belongs here: reading the kept scores of items of a target's LLMs. Does not belong here: what
reliability is (`stats.reliability`), and whether it is enough (`plausibility.targets`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_settings import evaluation_sha256
from pcorr_assets.lm.results import KeptResults, Result, find_metric
from pcorr_assets.lm.task_folders import CACHE, with_local_tasks
from pcorr_assets.matrix.errors import OWN_SOURCE
from pcorr_assets.matrix.wording import name_some
from pcorr_assets.stats.ranks import centred_ranks
from pcorr_assets.stats.reliability import combined_reliability, rank_weights, reliability
from pcorr_assets.warehouse import TABLES, Warehouse


@dataclass(frozen=True)
class TargetReliability:
    """Rows of `reliabilities` of one target, and the reliability of the target itself.

    `value` is None where it is not known; `notes` say why, and what to evaluate again.
    """

    table: pa.Table
    value: float | None
    notes: list[str]


def target_reliability(
    wh: Warehouse, settings: Settings, target: str, vectors: pa.Table
) -> TargetReliability:
    """How reliable each metric of each benchmark of a target is, over its own LLMs.

    `vectors` are the rows of `error_vectors` of the target. Imported errors have no items, and
    neither have evaluations that were kept before items were: these LLMs do not count.
    """
    own = vectors.filter(pc.field("source") == OWN_SOURCE)["llm"].to_pylist()
    if not own:
        return TargetReliability(_table([]), None, ["Imported errors have no items."])
    records = _records(wh)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    of_errors: dict[str, float | None] = {}
    for name in settings.benchmarks_of(target):
        results = _results(wh, settings, name, own, records)
        found, lost = _same_items(results)
        notes += _notes(name, [llm for llm in own if llm not in results], lost)
        used = _used_metric(settings, name, found)
        for metric in _metrics(found):
            scores = np.array([_items(result)[metric] for result in found.values()])
            value = reliability(scores)
            if metric == used:
                of_errors[name] = value
            rows.append(
                {
                    "target": target,
                    "benchmark": name,
                    "metric": metric,
                    "is_used": metric == used,
                    "llm_count": len(found),
                    "item_count": scores.shape[1],
                    "reliability": value,
                }
            )
    if combined := settings.targets[target].combine_targets:
        # What chance does to targets that share a benchmark does not average out.
        notes.append(f"Reliability is that of the targets it combines: {name_some(combined)}.")
        return TargetReliability(
            _table([{**row, "target_reliability": None} for row in rows]), None, notes
        )
    whole = _of_target(wh, settings, target, own, of_errors)
    return TargetReliability(
        _table([{**row, "target_reliability": whole} for row in rows]), whole, notes
    )


def benchmark_weights(
    wh: Warehouse, settings: Settings, target: str, llms: Sequence[str]
) -> np.ndarray:
    """(B,) weights of a target's benchmarks for `combine: weighted_rank`, which sum to 1.

    Raises:
        PcorrError: the reliability of a benchmark is not known; it says what to evaluate again.
    """
    records = _records(wh)
    known: list[float] = []
    for name in settings.targets[target].benchmarks:
        results = _results(wh, settings, name, list(llms), records)
        found, _ = _same_items(results)
        used = _used_metric(settings, name, found)
        scores = [_items(result)[used] for result in found.values() if used in _items(result)]
        value = reliability(np.array(scores)) if len(scores) == len(found) > 0 else None
        if value is None:
            raise PcorrError(
                f"the reliability of {name} is not known, so combine: weighted_rank has no "
                f"weights ({len(found)} of {len(llms)} LLMs have scores of items of its metric). "
                "Evaluate it again (remove its file from the LLMs' folders in `evaluations` of "
                "the data home and materialise benchmark_errors), or use combine: mean_rank"
            )
        known.append(value)
    return rank_weights(known)


def _records(wh: Warehouse) -> dict[str, dict[str, Any]]:
    """The rows of `llms` of own evaluations, by LLM."""
    rows = wh.read_sound("llms")[0].to_pylist()
    return {row["llm"]: row for row in rows if row["source"] == OWN_SOURCE}


def _results(
    wh: Warehouse,
    settings: Settings,
    benchmark: str,
    llms: list[str],
    records: Mapping[str, Mapping[str, Any]],
) -> dict[str, Result]:
    """The kept results with items, by LLM."""
    asked = with_local_tasks(settings.benchmarks[benchmark], settings.home / CACHE)
    wanted = evaluation_sha256(benchmark, asked)
    found: dict[str, Result] = {}
    for llm in llms:
        record = records[llm]
        kept = KeptResults.of(wh.home, llm)
        result = kept.find(benchmark, record["commit_sha"], record["dtype"], wanted)
        if result is not None and result.items:
            found[llm] = result
    return found


def _same_items(results: dict[str, Result]) -> tuple[dict[str, Result], list[str]]:
    """The results over the number of items that most have, and the LLMs of other numbers."""
    if not results:
        return {}, []
    counts = {llm: next(iter(_items(r).values())).size for llm, r in results.items()}
    usual = Counter(counts.values()).most_common(1)[0][0]
    same = {llm: result for llm, result in results.items() if counts[llm] == usual}
    return same, [llm for llm in results if llm not in same]


def _items(result: Result) -> dict[str, np.ndarray]:
    return result.items or {}


def _metrics(results: dict[str, Result]) -> list[str]:
    """The metrics that all of the results have by item."""
    names = [set(_items(result)) for result in results.values()]
    return sorted(set.intersection(*names)) if names else []


def _used_metric(settings: Settings, benchmark: str, results: dict[str, Result]) -> str | None:
    first = next(iter(results.values()), None)
    return None if first is None else find_metric(first, settings.benchmarks[benchmark].metric)


def _of_target(
    wh: Warehouse, settings: Settings, target: str, llms: list[str], found: dict[str, float | None]
) -> float | None:
    """Reliability of the target's error; None unless that of every benchmark is known."""
    benchmarks = settings.targets[target].benchmarks
    values = [found.get(name) for name in benchmarks]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    if len(known) == 1:
        return known[0]
    errors = {
        (row["llm"], row["benchmark"]): row["error"]
        for llm in llms
        for row in wh.read("benchmark_errors", llm).to_pylist()
    }
    # An evaluation may have replaced the rows of an LLM since the error vector was made.
    there = [llm for llm in llms if all((llm, name) in errors for name in benchmarks)]
    matrix = np.array([[errors[llm, name] for name in benchmarks] for llm in there])
    combine = settings.targets[target].combine
    if combine != "mean":
        matrix = centred_ranks(matrix.T).T
    if combine == "weighted_rank":
        matrix = matrix * rank_weights(known)
    return combined_reliability(matrix, known)


def _notes(benchmark: str, without: list[str], lost: list[str]) -> list[str]:
    notes = []
    if without:
        notes.append(
            f"{benchmark}: {name_some(without)} {'has' if len(without) == 1 else 'have'} no scores "
            "of items, so reliability is that of the others. They were evaluated before these were "
            "kept: to have them, remove the benchmark's file from the LLM's folder in "
            "`evaluations` of the data home and materialise benchmark_errors again."
        )
    if lost:
        notes.append(
            f"{benchmark}: {name_some(lost)} were evaluated on another number of items than most."
        )
    return notes


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES["reliabilities"].schema)
