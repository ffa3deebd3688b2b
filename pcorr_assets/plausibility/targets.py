"""The errors of a target: enough LLMs, told apart, by benchmarks that agree?

Belongs here: questions about `error_vectors` and the benchmark errors under them. Does not
belong here: combining errors (`matrix.errors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.matrix.wording import count
from pcorr_assets.plausibility.finding import Finding
from pcorr_assets.stats.ranks import rank_correlation
from pcorr_assets.steps.matrices import MIN_FAMILIES, MIN_LLMS

# Below this, less than a tenth of one benchmark's order of LLMs is in the other's.
MIN_AGREEMENT = 0.3
MIN_LLMS_TO_COMPARE = 6
# Below this, in simulated worlds with 30 LLMs (docs/studies.md), a right selection is refused
# about as often as not; and a correlation with the errors is at most the root of it.
MIN_RELIABILITY = 0.7
# More LLMs than this with the same error, or errors within this share of their size: whatever
# correlates with them follows a few LLMs.
MAX_TIED_SHARE = 0.5
MIN_RELATIVE_SPREAD = 0.01


def enough_llms(vectors: pa.Table) -> Finding:
    """Has every source of a target's `error_vectors` LLMs and families enough to correlate?"""
    problems = []
    numbers: dict[str, int | float | str] = {}
    for source, rows in _by_source(vectors):
        llms, families = rows.num_rows, len(set(rows["family"].to_pylist()))
        numbers |= {f"LLMs from {source}": llms, f"families from {source}": families}
        if llms < MIN_LLMS or families < MIN_FAMILIES:
            problems.append(
                f"{source}: {count(llms, 'LLM')} of {families} families are few for a "
                f"correlation; at least {MIN_LLMS} of {MIN_FAMILIES} are needed. Add LLMs, or "
                "materialise benchmark_errors for those that have none."
            )
    return Finding(tuple(problems), numbers)


def errors_differ(vectors: pa.Table) -> Finding:
    """Do the errors of a target tell its LLMs apart? `vectors` are rows of `error_vectors`."""
    problems = []
    numbers: dict[str, int | float | str] = {}
    for source, rows in _by_source(vectors):
        errors = rows["error"].to_numpy()
        _, counts = np.unique(errors, return_counts=True)
        low, high = np.quantile(errors, [0.1, 0.9])
        size = float(np.abs(errors).mean())
        spread = float(high - low) / size if size else 0.0
        tied = int(counts.max()) / len(errors) if counts.max() > 1 else 0.0
        numbers |= {f"relative spread, {source}": spread, f"share of one error, {source}": tied}
        if tied > MAX_TIED_SHARE:
            problems.append(
                f"{source}: {tied:.0%} of {count(len(errors), 'LLM')} have the same error, so the "
                f"estimate follows the few others. {_ADVICE}"
            )
        elif spread < MIN_RELATIVE_SPREAD:
            problems.append(
                f"{source}: eight of ten LLMs have errors between {low:.4g} and {high:.4g}, which "
                f"is nearly the same. {_ADVICE}"
            )
    return Finding(tuple(problems), numbers)


_ADVICE = (
    "Evaluate more items (`limit`), or choose a benchmark on which these LLMs do differently well."
)


def errors_by_benchmark(
    vectors: pa.Table, errors: pa.Table, benchmarks: Sequence[str]
) -> dict[str, tuple[list[str], np.ndarray]]:
    """For each source the benchmarks and the errors (N, B) of the LLMs of an error vector.

    `errors` are rows of `benchmark_errors`. An LLM without all of the benchmarks is left out:
    an evaluation may have replaced its rows since the error vector was made.
    """
    value = {
        (row["source"], row["llm"], row["benchmark"]): row["error"] for row in errors.to_pylist()
    }
    return {
        source: (
            list(benchmarks),
            np.array(
                [
                    [value[source, llm, benchmark] for benchmark in benchmarks]
                    for llm in rows["llm"].to_pylist()
                    if all((source, llm, benchmark) in value for benchmark in benchmarks)
                ]
            ),
        )
        for source, rows in _by_source(vectors)
    }


def benchmarks_agree(errors: Mapping[str, tuple[list[str], np.ndarray]]) -> Finding:
    """Do the benchmarks of a target put the LLMs in the same order?

    `errors[source]` are the names of B benchmarks and their errors (N, B), of the LLMs
    that have them all. The Spearman correlation of every pair is judged.
    """
    problems, notes = [], []
    numbers: dict[str, int | float | str] = {}
    for source, (benchmarks, values) in errors.items():
        if len(benchmarks) < 2:
            continue
        if len(values) < MIN_LLMS_TO_COMPARE:
            notes.append(
                f"{source}: {count(len(values), 'LLM')} are too few to compare benchmarks."
            )
            continue
        pairs = rank_correlations(values)
        (first, second), lowest = min(pairs.items(), key=lambda item: item[1])
        names = benchmarks[first], benchmarks[second]
        numbers[f"lowest rank correlation, {source}"] = lowest
        numbers[f"its benchmarks, {source}"] = " and ".join(names)
        low = sum(value < MIN_AGREEMENT for value in pairs.values())
        if low:
            problems.append(
                f"{source}: {names[0]} and {names[1]} put the LLMs in different orders (rank "
                f"correlation {lowest:+.2f} over {count(len(values), 'LLM')}, "
                f"{count(low, 'pair')} of {len(pairs):,} below {MIN_AGREEMENT:g}). Their mean is "
                "an order of neither: make them two targets, or see whether one of them is noise "
                "(few items, errors near chance)."
            )
    note = " ".join(notes) or ("" if numbers else "The target has one benchmark.")
    return Finding(tuple(problems), numbers, note)


def errors_are_reliable(target: str, rows: pa.Table, value: float | None, why: str) -> Finding:
    """Would other items of the same benchmarks put the LLMs in the same order?

    Args:
        target: its key, for the words.
        rows: rows of `reliabilities` of the target.
        value: reliability of the target's error; None if it is not known, for the reason `why`.
    """
    found = rows.to_pylist()
    numbers: dict[str, int | float | str] = {
        f"{row['benchmark']}, {row['metric'].removesuffix(',none')}": row["reliability"]
        for row in found
        if row["reliability"] is not None
    }
    if value is None:
        return Finding(numbers=numbers, note=f"The reliability of {target} is not known. {why}")
    numbers = {"reliability": value, **numbers}
    if value >= MIN_RELIABILITY:
        return Finding(numbers=numbers)
    better = _more_reliable(found)
    advice = (
        f"Use {', '.join(better)} (`metric` of the benchmark; nothing is evaluated again)."
        if better
        else "Evaluate more items (`limit`), or add benchmarks to the target."
    )
    problem = (
        f"The errors of {target} have a reliability of {value:.2f}, below {MIN_RELIABILITY:g}: "
        f"{1 - value:.0%} of their variance is chance of which items were asked, so a verdict "
        f"will be no go too often, and correlations are at most {max(0.0, value) ** 0.5:.2f} of "
        f"their size. {advice}"
    )
    return Finding((problem,), numbers)


def _more_reliable(rows: Sequence[Mapping]) -> list[str]:
    """For each benchmark the metric that is most reliable, where it is clearly not the used one."""
    better = []
    for benchmark in dict.fromkeys(row["benchmark"] for row in rows):
        own = [r for r in rows if r["benchmark"] == benchmark and r["reliability"] is not None]
        used = next((row["reliability"] for row in own if row["is_used"]), None)
        best = max(own, key=lambda row: row["reliability"], default=None)
        if best is not None and used is not None and best["reliability"] > max(used + 0.05, 0.5):
            name = best["metric"].removesuffix(",none")
            better.append(f"{name} of {benchmark} ({best['reliability']:.2f})")
    return better


def rank_correlations(errors: np.ndarray) -> dict[tuple[int, int], float]:
    """Spearman's correlation of each pair of columns of `errors` (N, B); a constant gives 0."""
    return {
        (first, second): rank_correlation(errors[:, first], errors[:, second])
        for first, second in combinations(range(errors.shape[1]), 2)
    }


def _by_source(vectors: pa.Table) -> list[tuple[str, pa.Table]]:
    sources = sorted(set(vectors["source"].to_pylist()))
    return [(source, vectors.filter(pc.field("source") == source)) for source in sources]
