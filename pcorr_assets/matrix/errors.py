"""The error vector of a target: one number for each LLM, from its benchmark errors.

Belongs here: which rows of `benchmark_errors` count, how benchmarks are combined, and
matching an error vector with a matrix. Does not belong here: running benchmarks (`lm`)
and reading published errors (`imports`).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.warehouse import TABLES

if TYPE_CHECKING:
    from pcorr_assets.config import Target

OWN_SOURCE = "lm_eval"
MIN_LLMS = 3
# Above this share of the variance between LLMs, sampling noise is most of what one sees.
NOISE_SHARE = 0.5
# A benchmark whose errors spread this much wider than another's decides a plain mean alone.
SPREAD_RATIO = 20.0

Row = dict[str, Any]
Weigh = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class ErrorVector:
    """Rows of `error_vectors` for one target, ordered by source and LLM.

    `left_out` gives for each source the LLMs without a place in it and why; `report`
    says the same, and what to be careful about, in sentences. `notes` stand beside the rows.
    """

    table: pa.Table
    left_out: dict[str, dict[str, str]]
    report: list[str]
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alignment:
    """Where the LLMs that a matrix and an error vector share stand in each of them."""

    llms: list[str]
    matrix_index: np.ndarray
    error_index: np.ndarray
    only_in_matrix: list[str]
    only_in_errors: list[str]


def error_vector(
    target_key: str,
    target: Target,
    errors: pa.Table,
    llms: pa.Table,
    *,
    expected_settings: Mapping[str, str],
    llm_keys: Collection[str] | None = None,
    scales: Mapping[str, float] | None = None,
    unreadable: Mapping[str, str] | None = None,
    weigh: Weigh | None = None,
) -> ErrorVector:
    """Combine benchmark errors into the error of each LLM on a target, source by source.

    Args:
        errors: rows of `benchmark_errors`, own evaluations and imports together.
        llms: rows of `llms`, which give each LLM's family and the commit it was pinned to.
        expected_settings: the `settings_sha256` that each configured benchmark has now;
            own evaluations with another one are outdated and left out.
        llm_keys: registered LLMs; own evaluations of others are left out. None: all count.
        scales: the best score of each benchmark that has one other than 1, which turns the
            standard error of its scores into that of its errors.
        unreadable: LLMs whose own evaluations cannot be read, and why; they are left out.
        weigh: for `weighted_rank`: the weights (B,) of the target's benchmarks, which sum to
            1, for LLMs of own evaluations; raises PcorrError where they are not known.

    An LLM needs every benchmark of the target. `mean` averages their errors; `mean_rank`
    averages its ranks (1 = lowest error, ties share the average rank) among the LLMs of
    the same source that have all benchmarks; `weighted_rank` takes the weighted mean of these.

    Raises PcorrError if no source has a benchmark, with the nearest names, or if no LLM
    of any source has them all.
    """
    wanted = set(target.benchmarks)
    rows = [row for row in errors.to_pylist() if row["benchmark"] in wanted]
    _refuse_unknown(target_key, target.benchmarks, errors)
    record = {(row["llm"], row["source"]): row for row in llms.to_pylist()}
    registered = None if llm_keys is None else set(llm_keys)
    left_out: dict[str, dict[str, str]] = {}
    report: list[str] = []
    found: list[Row] = []
    lost = {llm: why for llm, why in (unreadable or {}).items() if llm in (registered or {llm})}
    for source in sorted({row["source"] for row in rows} | ({OWN_SOURCE} if lost else set())):
        own = [row for row in rows if row["source"] == source]
        good, reasons = _judge(source, own, record, expected_settings, registered)
        if source == OWN_SOURCE:
            good = {llm: found for llm, found in good.items() if llm not in lost}
            reasons |= lost
        complete = _complete(good, target.benchmarks, reasons)
        left_out[source] = reasons
        weights = _weights(source, target, complete, weigh, reasons)
        report += _left_out(source, target_key, reasons)
        if not complete:
            continue
        values = _values(complete, target.benchmarks, "error")
        report += _doubts(source, target, complete, values, scales or {})
        report += _mixed_versions(source, target, complete)
        shared = {"target": target_key, "source": source}
        found += [
            {**shared, "llm": llm, "family": record[llm, source]["family"], "error": error}
            for llm, error in zip(complete, _combined(values, target.combine, weights), strict=True)
        ]
    if not found:
        raise PcorrError(_nobody(target_key, target.benchmarks, left_out))
    table = pa.Table.from_pylist(found, schema=TABLES["error_vectors"].schema)
    return ErrorVector(table, left_out, report)


def align(matrix_llms: Sequence[str], error_llms: Sequence[str]) -> Alignment:
    """The LLMs that both have, in the order of the matrix.

    `X[matrix_index]` and `y[error_index]` then belong together row by row. Raises
    PcorrError if an LLM stands twice in one of them, or if fewer than 3 are in both.
    """
    for what, llms in (("matrix", matrix_llms), ("error vector", error_llms)):
        if len(set(llms)) < len(llms):
            twice = sorted({llm for llm in llms if list(llms).count(llm) > 1})
            raise PcorrError(
                f"The {what} has {name_some(twice)} more than once; give the errors of one source"
            )
    position = {llm: index for index, llm in enumerate(error_llms)}
    shared = [index for index, llm in enumerate(matrix_llms) if llm in position]
    common = [matrix_llms[index] for index in shared]
    only_in_matrix = [llm for llm in matrix_llms if llm not in position]
    only_in_errors = sorted(set(error_llms) - set(common))
    if len(common) < MIN_LLMS:
        raise PcorrError(
            f"Only {count(len(common), 'LLM')} ({name_some(common) or 'none'}) are in both the "
            f"matrix and the error vector; an estimate needs at least {MIN_LLMS}. Only in the "
            f"matrix: {name_some(only_in_matrix) or 'none'}. Only with errors: "
            f"{name_some(only_in_errors) or 'none'}. Materialise chunk_bpb and benchmark_errors "
            "for the same LLMs, then bpb_matrix and error_vector"
        )
    return Alignment(
        llms=common,
        matrix_index=np.array(shared),
        error_index=np.array([position[llm] for llm in common]),
        only_in_matrix=only_in_matrix,
        only_in_errors=only_in_errors,
    )


def _refuse_unknown(target_key: str, benchmarks: Sequence[str], errors: pa.Table) -> None:
    known = sorted(set(errors["benchmark"].to_pylist()))
    unknown = [name for name in benchmarks if name not in known]
    if not unknown:
        return
    near = [match for name in unknown for match in difflib.get_close_matches(name, known)]
    hint = f"there are errors of {name_some(known)}" if known else "there are no errors at all yet"
    if near:
        hint = f"similar names: {name_some(dict.fromkeys(near))}"
    raise PcorrError(
        f"Target {target_key!r}: no LLM has an error on {name_some(unknown)}; {hint}. Mend "
        f"targets.{target_key}.benchmarks, or materialise benchmark_errors first"
    )


def _judge(
    source: str,
    rows: list[Row],
    record: Mapping[tuple[str, str], Row],
    expected_settings: Mapping[str, str],
    registered: set[str] | None,
) -> tuple[dict[str, dict[str, Row]], dict[str, str]]:
    """{llm: {benchmark: row}} of the rows that count, and why other LLMs are out."""
    good: dict[str, dict[str, Row]] = {}
    reasons: dict[str, str] = {}
    for row in rows:
        llm, benchmark = row["llm"], row["benchmark"]
        good.setdefault(llm, {})
        reason = None
        if source == OWN_SOURCE and registered is not None and llm not in registered:
            reason = "removed"
        elif (llm, source) not in record:
            reason = "table llms does not know it; materialise its benchmark_errors again"
        elif benchmark in good[llm]:
            reason = f"it has two errors on {benchmark}; materialise its benchmark_errors again"
        elif source == OWN_SOURCE:
            reason = outdated(row, record[llm, source], expected_settings)
        reason = reason or _unusable(row)
        if reason:
            reasons.setdefault(llm, reason)
        good[llm][benchmark] = row
    return {llm: found for llm, found in good.items() if llm not in reasons}, reasons


def outdated(row: Row, llm: Row, expected_settings: Mapping[str, str]) -> str | None:
    benchmark = row["benchmark"]
    if benchmark not in expected_settings:
        return f"{benchmark} was evaluated once, but the config no longer lists it"
    if row["settings_sha256"] != expected_settings[benchmark]:
        return (
            f"its result on {benchmark} is outdated: it was made with other settings than the "
            "config has now; materialise its benchmark_errors again"
        )
    for name in ("commit_sha", "dtype"):
        if row[name] != llm[name]:
            return (
                f"its result on {benchmark} is from {name} {row[name]}, but table llms has "
                f"{llm[name]}: results of one LLM must not be mixed; materialise its "
                "benchmark_errors again"
            )
    return None


def _unusable(row: Row) -> str | None:
    error = row["error"]
    if error is None or not math.isfinite(error):
        return f"its error on {row['benchmark']} is {error}, which is no number to go on"
    return None


def _complete(
    good: dict[str, dict[str, Row]], benchmarks: Sequence[str], reasons: dict[str, str]
) -> dict[str, dict[str, Row]]:
    """The LLMs that have every benchmark, sorted; the others get a reason."""
    complete = {}
    for llm, found in sorted(good.items()):
        missing = [name for name in benchmarks if name not in found]
        if missing:
            reasons[llm] = f"it has no error on {name_some(missing)}"
        else:
            complete[llm] = found
    return complete


def _values(
    complete: dict[str, dict[str, Row]], benchmarks: Sequence[str], column: str
) -> np.ndarray:
    """(N, B) numbers of a column; NaN where it is NULL."""
    return np.array(
        [[found[name][column] for name in benchmarks] for found in complete.values()], dtype=float
    )


def _left_out(source: str, target_key: str, reasons: Mapping[str, str]) -> list[str]:
    return [
        f"{llm} ({source}) is left out of target {target_key}: {reason}."
        for llm, reason in sorted(reasons.items())
    ]


def _weights(
    source: str,
    target: Target,
    complete: dict[str, dict[str, Row]],
    weigh: Weigh | None,
    reasons: dict[str, str],
) -> np.ndarray:
    """(B,) weights of the benchmarks; where they are not known, all LLMs move to `reasons`."""
    equal = np.full(len(target.benchmarks), 1 / len(target.benchmarks))
    if target.combine != "weighted_rank" or not complete:
        return equal
    why = "imported errors have no items to weigh benchmarks by; use combine: mean_rank"
    if source == OWN_SOURCE and weigh is not None:
        try:
            return weigh(list(complete))
        except PcorrError as error:
            why = str(error)
    reasons.update(dict.fromkeys(complete, why))
    complete.clear()
    return equal


def _combined(values: np.ndarray, combine: str, weights: np.ndarray) -> list[float]:
    if combine == "mean":
        return values.mean(axis=1).tolist()
    if combine == "mean_rank":
        from scipy.stats import rankdata

        return rankdata(values, axis=0).mean(axis=1).tolist()
    if combine == "weighted_rank":
        from scipy.stats import rankdata

        return (rankdata(values, axis=0) @ weights).tolist()
    raise PcorrError(f"combine is {combine!r}; expected mean, mean_rank or weighted_rank")


def _doubts(
    source: str,
    target: Target,
    complete: dict[str, dict[str, Row]],
    values: np.ndarray,
    scales: Mapping[str, float],
) -> Iterator[str]:
    if len(complete) < MIN_LLMS:
        yield (
            f"Source {source} has only {count(len(complete), 'LLM')} with all benchmarks of the "
            f"target; an estimate needs {MIN_LLMS}."
        )
        return
    spread = values.std(axis=0, ddof=1)
    stderr = _values(complete, target.benchmarks, "stderr")
    for position, benchmark in enumerate(target.benchmarks):
        # error = 1 - score / scale, and the stored standard error is that of the score.
        known = stderr[:, position] / scales.get(benchmark, 1.0)
        known = known[~np.isnan(known)]
        noise = math.sqrt(np.mean(known**2)) if known.size else 0.0
        if noise and noise**2 > NOISE_SHARE * spread[position] ** 2:
            unknown = len(complete) - known.size
            without = f" ({unknown:,} of the {len(complete):,} LLMs have none)" if unknown else ""
            yield (
                f"{benchmark} ({source}): the LLMs' errors differ by {spread[position]:.2g} "
                f"(standard deviation) and have a standard error of {noise:.2g}{without}, so most "
                "of the differences are chance; evaluate more items (a higher limit) or choose "
                "another benchmark."
            )
    if target.combine == "mean" and spread.max() > SPREAD_RATIO * spread.min():
        widest = target.benchmarks[int(spread.argmax())]
        yield (
            f"{widest} ({source}) spreads more than {SPREAD_RATIO:g} times as wide as another "
            "benchmark of the target and decides the mean alone; combine: mean_rank weighs "
            "them alike."
        )


def _mixed_versions(
    source: str, target: Target, complete: dict[str, dict[str, Row]]
) -> Iterator[str]:
    """Errors of other versions of a task or of lm-eval may differ for that reason alone."""
    for benchmark in target.benchmarks:
        for column, what in (("task_version", "the task"), ("lm_eval_version", "lm-eval")):
            llms: dict[str, list[str]] = {}
            for llm, found in complete.items():
                llms.setdefault(str(found[benchmark][column] or "unknown"), []).append(llm)
            if len(llms) > 1:
                versions = "; ".join(f"{key}: {name_some(llms[key], 3)}" for key in sorted(llms))
                yield (
                    f"{benchmark} ({source}): the errors come from several versions of {what} "
                    f"({versions}) and may differ for that reason; to have one version, remove "
                    "the kept results of the older (folder evaluations of the home) and "
                    "materialise benchmark_errors of these LLMs again."
                )


def _nobody(target_key: str, benchmarks: Sequence[str], left_out: dict[str, dict[str, str]]) -> str:
    why = "\n".join(
        f"- {llm} ({source}): {reason}"
        for source, reasons in sorted(left_out.items())
        for llm, reason in sorted(reasons.items())
    )
    return (
        f"Target {target_key!r}: no LLM has a valid error on each of {name_some(benchmarks)}:\n"
        f"{why}"
    )
