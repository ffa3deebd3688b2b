"""Which LLMs are in a report and why the others are not, and how they were evaluated.

Belongs here: coverage, commits, what scoring took, errors and benchmarks as facts. Does not
belong here: deciding who is in (`matrix`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings
from pcorr_assets.errors import DamagedFileError
from pcorr_assets.report.facts import BenchmarkFacts, LLMFacts, ScoringFacts
from pcorr_assets.report.wording import llm_link
from pcorr_assets.steps.inputs import OWN_SOURCE, AlignedInputs, source_of
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.store import IMPORTED


def read_llms(
    wh: Warehouse, settings: Settings, sample: str, target: str, inputs: AlignedInputs
) -> tuple[LLMFacts, ...]:
    """One entry for each LLM of the coverage table, and for those with an error only."""
    source = source_of(settings, sample)
    errors = {
        row["llm"]: row
        for row in wh.read("error_vectors", target).to_pylist()
        if row["source"] == source
    }
    # Over the LLMs of one matrix a combined target has weights of its own.
    if (combination := inputs.combined.get(target)) is not None:
        here = dict(zip(inputs.llms, combination.errors.tolist(), strict=True))
        errors = {llm: {**row, "error": here.get(llm, row["error"])} for llm, row in errors.items()}
    coverage = {row["llm"]: row for row in wh.read("matrix_coverage", sample).to_pylist()}
    names = [*coverage, *(llm for llm in errors if llm not in coverage)]
    known = {row["llm"]: row for row in read_records(wh, source, names)}
    used = frozenset(inputs.llms)
    return tuple(
        _llm(llm, coverage.get(llm), known.get(llm), errors.get(llm), llm in used) for llm in names
    )


def _llm(
    llm: str,
    covered: dict[str, Any] | None,
    record: dict[str, Any] | None,
    error: dict[str, Any] | None,
    used: bool,
) -> LLMFacts:
    about, row = record or {}, covered or {}
    included = bool(row.get("included", False))
    note = row.get("reason")
    if covered is None:
        note = "it has an error but no row in the matrix"
    elif included and error is None:
        note = "; ".join(filter(None, (note, "it has no error on the target")))
    name = about.get("name")
    return LLMFacts(
        llm=llm,
        link=llm_link(name, about.get("commit_sha")),
        family=about.get("family") or (error or {}).get("family"),
        included=included,
        used=used,
        note=note,
        chunk_count=row.get("chunk_count"),
        nan_count=row.get("nan_count"),
        error=None if error is None else error["error"],
        name=name,
        revision=about.get("revision"),
        commit=about.get("commit_sha"),
        dtype=about.get("dtype"),
        parameter_count=about.get("parameter_count"),
    )


def read_records(wh: Warehouse, source: str, llms: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Rows of `llms`: of these LLMs, or all that were imported with a source."""
    if source != OWN_SOURCE:
        yield from wh.read("llms", IMPORTED, source).to_pylist()
        return
    for llm in llms:
        if wh.exists("llms", llm):
            yield from wh.read("llms", llm).to_pylist()


def read_scoring(wh: Warehouse, sample: str, llms: Iterable[str]) -> tuple[ScoringFacts, ...]:
    """What scoring took, of those of the LLMs that were scored on the sample here."""
    rows: list[dict[str, Any]] = []
    for llm in llms:
        if wh.exists("scoring_runs", llm, sample):
            # No report is refused for want of times; `pcorr verify` names the file.
            with suppress(DamagedFileError):
                rows += wh.read("scoring_runs", llm, sample).to_pylist()
    return tuple(
        ScoringFacts(
            llm=row["llm"],
            device=row["device_name"],
            processes=row["scoring_workers"],
            devices=row["scoring_devices"],
            token_count=row["scored_token_count"],
            seconds=row["seconds"],
            tokens_per_second=row["tokens_per_second"],
            operations_per_second=row["operations_per_second"],
            utilisation=row["model_flops_utilisation"],
            padding_share=row["padding_share"],
            seconds_waiting_for_data=row["seconds_waiting_for_data"],
        )
        for row in rows
    )


def read_benchmarks(
    wh: Warehouse, settings: Settings, sample: str, target: str, llms: Sequence[str]
) -> tuple[BenchmarkFacts, ...]:
    """How the target's benchmarks were evaluated, over the LLMs that the estimates rest on."""
    source = source_of(settings, sample)
    if source == OWN_SOURCE:
        parts = [
            wh.read("benchmark_errors", llm) for llm in llms if wh.exists("benchmark_errors", llm)
        ]
    else:
        parts = [wh.read("benchmark_errors", IMPORTED, source)]
    if not parts:
        return ()
    used = pc.SetLookupOptions(pa.array(llms, pa.string()))
    table = pa.concat_tables(parts)
    rows = table.filter(pc.call_function("is_in", [table["llm"]], used)).to_pylist()
    found = (
        (name, [row for row in rows if row["benchmark"] == name])
        for name in settings.benchmarks_of(target)
    )
    reliable = _reliabilities(wh, source, target)
    return tuple(
        _benchmark(name, own, [row for row in reliable if row["benchmark"] == name])
        for name, own in found
        if own
    )


def read_reliability(wh: Warehouse, settings: Settings, sample: str, target: str) -> float | None:
    """Reliability of the target's error; None where it is not known (imported errors)."""
    rows = _reliabilities(wh, source_of(settings, sample), target)
    return rows[0]["target_reliability"] if rows else None


def _reliabilities(wh: Warehouse, source: str, target: str) -> list[dict[str, Any]]:
    if source != OWN_SOURCE or not wh.exists("reliabilities", target):
        return []
    return wh.read("reliabilities", target).to_pylist()


def _benchmark(
    name: str, rows: list[dict[str, Any]], reliable: list[dict[str, Any]]
) -> BenchmarkFacts:
    known = [row for row in reliable if row["reliability"] is not None]
    return BenchmarkFacts(
        benchmark=name,
        metric=_different(rows, "metric"),
        llm_count=len(rows),
        num_fewshot=_different(rows, "num_fewshot"),
        items=_different(rows, "sample_count"),
        lm_eval=_different(rows, "lm_eval_version"),
        lowest=min(row["error"] for row in rows),
        highest=max(row["error"] for row in rows),
        reliability=next((row["reliability"] for row in known if row["is_used"]), None),
        reliability_of_others=", ".join(
            f"{row['metric'].removesuffix(',none')} {row['reliability']:.2f}"
            for row in known
            if not row["is_used"]
        ),
        task_version=_different(rows, "task_version"),
    )


def _different(rows: list[dict[str, Any]], column: str) -> str:
    """The values of a column, the most frequent first."""
    counts = Counter(row[column] for row in rows if row[column] is not None)
    return ", ".join(
        str(value) for value, _ in sorted(counts.items(), key=lambda kv: (-kv[1], str(kv[0])))
    )
