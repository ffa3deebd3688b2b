"""What the cards say of one sample and target, read from tables.

Belongs here: facts that both cards share. Does not belong here: words (`wording`), and
whether something is stale, which only Dagster knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pcorr_assets.config import Settings
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.report.facts import BenchmarkFacts, FilterFacts, Provenance, VerdictFacts
from pcorr_assets.report.provenance import read_provenance
from pcorr_assets.report.reading import read_verdict
from pcorr_assets.report.reading_filter import read_filter
from pcorr_assets.report.reading_llms import read_benchmarks, read_records, read_reliability
from pcorr_assets.steps.clean_estimates import TABLE, read_compared
from pcorr_assets.steps.inputs import level_of, source_of
from pcorr_assets.warehouse import Warehouse


@dataclass(frozen=True)
class CardLLM:
    """An LLM that an estimate rests on; None: the tables do not say."""

    llm: str
    family: str | None
    name: str | None
    revision: str | None
    commit: str | None
    dtype: str | None


@dataclass(frozen=True)
class CardFacts:
    """Everything that the card of a filter and that of a selection say alike.

    `searched`: what the search of the sample for text of the benchmarks came to; None: there was
    none, or it was of another matrix than the estimate.
    """

    sample: str
    target: str
    level: str
    verdict: VerdictFacts
    llms: tuple[CardLLM, ...]
    benchmarks: tuple[BenchmarkFacts, ...]
    filter: FilterFacts | None
    provenance: Provenance
    searched: str | None


def read_card_facts(wh: Warehouse, settings: Settings, sample: str, target: str) -> CardFacts:
    """The facts of a sample and target; what was not made yet is empty."""
    llms = llms_used(wh, settings, sample, target)
    names = [one.llm for one in llms]
    benchmarks = read_benchmarks(wh, settings, sample, target, names) if names else ()
    filter_facts, _ = read_filter(wh, settings, sample, target)
    reliability = read_reliability(wh, settings, sample, target)
    return CardFacts(
        sample=sample,
        target=target,
        level=level_of(settings, sample, target),
        verdict=read_verdict(wh, settings, sample, target, len(llms)),
        llms=llms,
        benchmarks=benchmarks,
        filter=filter_facts,
        provenance=read_provenance(wh, settings, sample, target, benchmarks, reliability),
        searched=_searched(wh, sample, target),
    )


def _searched(wh: Warehouse, sample: str, target: str) -> str | None:
    found = read_compared(wh, sample, target)
    if found is None or not found.chunk_count or not wh.exists("estimates", sample, target):
        return None
    of_search, of_estimate = (
        wh.metadata(table, sample, target).get(MATRIX_HASH) for table in (TABLE, "estimates")
    )
    return found.sentence if of_search == of_estimate else None


def llms_used(
    wh: Warehouse, settings: Settings, sample: str, target: str | None = None
) -> tuple[CardLLM, ...]:
    """LLMs in the matrix of a sample and, with a target, with an error on it; by key."""
    if not wh.exists("matrix_coverage", sample):
        return ()
    rows = [row for row in wh.read("matrix_coverage", sample).to_pylist() if row["included"]]
    source = source_of(settings, sample)
    if target is not None:
        if not wh.exists("error_vectors", target):
            return ()
        vector = wh.read("error_vectors", target).to_pylist()
        with_error = {row["llm"] for row in vector if row["source"] == source}
        limit = settings.selection_for(target).max_nan_fraction
        rows = [row for row in rows if row["llm"] in with_error and not _too_many(row, limit)]
    names = sorted(row["llm"] for row in rows)
    known = {row["llm"]: row for row in read_records(wh, source, names)}
    return tuple(_llm(name, known.get(name, {})) for name in names)


def _too_many(row: dict[str, Any], limit: float) -> bool:
    nan, chunks = row.get("nan_count"), row.get("chunk_count")
    return nan is not None and chunks is not None and nan > limit * chunks


def _llm(name: str, record: dict[str, Any]) -> CardLLM:
    return CardLLM(
        llm=name,
        family=record.get("family"),
        name=record.get("name"),
        revision=record.get("revision"),
        commit=record.get("commit_sha"),
        dtype=record.get("dtype"),
    )
