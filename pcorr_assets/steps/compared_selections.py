"""Rows of `compared_selections` and `compared_documents`: other methods beside the filter.

Belongs here: what methods learn from, out of the warehouse and the benchmarks, and their
selections as rows. Does not belong here: methods and choosing (`methods`).
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Benchmark, Settings
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.filters.groups import groups_of
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.training import find_filter, read_chunks
from pcorr_assets.lm.cost import Measured
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.methods.choosing import scored_pool
from pcorr_assets.methods.comparing import (
    Compared,
    Places,
    compare,
    shares_by_domain,
    shares_by_language,
)
from pcorr_assets.methods.material import Material, SampleBpb
from pcorr_assets.methods.table import METHODS
from pcorr_assets.steps.benchmark_ngrams import local_tasks
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.inputs import read_inputs
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition
from pcorr_assets.warehouse.files import scratch_folder

logger = logging.getLogger(__name__)

TABLE, DOCUMENTS = "compared_selections", "compared_documents"
SCRATCH = ".methods-"
# The note beside the rows of the filter that the methods stand beside.
FILTER_HASH = "filter_sha256"
LEVEL = "page"
CPU = "CPU"

ReadTexts = Callable[[str, Benchmark], list[str]]


@dataclass(frozen=True)
class ComparedSelections:
    """The written partitions by table, the rows, and what a user should know of them."""

    written: dict[str, WrittenPartition]
    rows: pa.Table
    notes: list[str]


def write_compared(
    warehouse: Warehouse,
    settings: Settings,
    pool: str,
    target: str,
    *,
    measured: Sequence[Measured] = (),
    read_texts: ReadTexts | None = None,
) -> ComparedSelections:
    """Select with the filter and with each of the `methods` of a pool, and write both tables.

    `measured` says what scoring an LLM took; without it costs are not known. What can be made
    is written where a method has to be left out.

    Raises:
        PcorrError: as `methods.comparing.compare`.
    """
    stated = settings.pools[pool]
    selection = settings.selection_for(target)
    scored = scored_pool(
        warehouse,
        pool,
        stated,
        target,
        list_shards(pool, stated),
        groups_of(warehouse, pool),
        selection.decontaminate,
    )
    keys = (pool, target)
    costs = {one.llm: one for one in measured}
    rows: list[dict[str, Any]] = []
    selections: dict[str, Places] = {}
    with (
        material_of(warehouse, settings, pool, target, read_texts) as (material, notes),
        warehouse.writer(DOCUMENTS, keys) as documents,
    ):
        for one in compare(scored, material, stated.methods, settings.compute.selection):
            cost = _cost(warehouse, stated.sample, one, material.sample, costs)
            rows.append({"pool": pool, "target": target, **_row(one), **cost})
            if one.chosen is not None:
                documents.write(_documents(one, pool, target))
                selections[one.method] = Places.of(one.chosen)
    languages: Mapping[str, dict[str, float]] = {}
    if selection.language_model is not None:
        languages = shares_by_language(scored, selections, selection.language_model)
    for row in rows:
        if row["method"] in selections:
            shares = {"domain": row["shares"], "language": languages.get(row["method"], {})}
            stated_shares = {name: of for name, of in shares.items() if of}
            row["shares"] = json.dumps(stated_shares, ensure_ascii=False)
    table = pa.Table.from_pylist(rows, schema=TABLES[TABLE].schema)
    noted = {"notes": json.dumps(notes), FILTER_HASH: material.filter_of_target().sha256}
    written = warehouse.write(TABLE, keys, table, noted)
    notes += [f"{row['method']} is left out: {row['reason']}" for row in rows if row["reason"]]
    return ComparedSelections({TABLE: written, DOCUMENTS: documents.written}, table, notes)


@contextmanager
def material_of(
    warehouse: Warehouse,
    settings: Settings,
    pool: str,
    target: str,
    read_texts: ReadTexts | None = None,
) -> Iterator[tuple[Material, list[str]]]:
    """What the methods of a pool learn from for a target, and notes; its scratch folder goes
    away at the end. What is missing is named in `reasons` of the material.

    Raises:
        PcorrError: there is no filter of the target, or a file is damaged.
    """
    sample, methods = settings.pools[pool].sample, settings.pools[pool].methods
    fasttext = settings.selection_for(target).fasttext
    own = find_filter(warehouse, sample, target)
    reasons: dict[str, str] = {}
    notes: list[str] = []
    texts: list[str] = []
    if {"dsir", "classifier"} & set(methods):
        texts, missing = _training_texts(settings, target, read_texts or _read)
        notes += missing
        reasons["training_texts"] = "there is no training text of the benchmarks: " + "; ".join(
            missing or ["the target has none"]
        )
    scored = None
    try:
        scored = _scored_sample(warehouse, settings, sample, target)
    except DamagedFileError:
        raise
    except PcorrError as error:
        reasons["sample"] = str(error)
    with scratch_folder(warehouse.home, SCRATCH) as scratch:
        yield Material(fasttext, scratch, fasttext.seed, texts, scored, own, reasons), notes


def _training_texts(
    settings: Settings, target: str, read: ReadTexts
) -> tuple[list[str], list[str]]:
    """The training texts of all benchmarks of a target, and why some have none."""
    texts: list[str] = []
    missing: list[str] = []
    for name in settings.benchmarks_of(target):
        if name not in settings.benchmarks:
            missing.append(f"{name} is of an imported matrix, without a task")
            continue
        try:
            found = read(name, local_tasks(settings, name))
        except PcorrError as error:
            missing.append(str(error))
            continue
        if not found:
            missing.append(f"{name} has no split of examples that it is not scored on")
        texts += found
    return list(dict.fromkeys(texts)), missing


def _read(name: str, benchmark: Benchmark) -> list[str]:
    from pcorr_assets.lm.training_texts import read_training_texts

    return read_training_texts(name, benchmark)


def _scored_sample(warehouse: Warehouse, settings: Settings, sample: str, target: str) -> SampleBpb:
    failures: dict[str, PcorrError] = {}
    for inputs in read_inputs(warehouse, settings, sample, [target], failures):
        view = read_matrix(warehouse, sample, LEVEL)
        rows = [view.llms.index(llm) for llm in inputs.llms]
        pages = view.units.to_pylist()
        selection = settings.selection_for(target)
        return SampleBpb(
            inputs.llms,
            inputs.errors[:, inputs.targets.index(target)],
            pages,
            view.X[rows],
            unit_caps(warehouse, settings, sample, selection, LEVEL, pages).tau,
            functools.partial(read_chunks, warehouse, sample),
        )
    raise failures[target]


def _documents(one: Compared, pool: str, target: str) -> pa.Table:
    assert one.chosen is not None
    rows = one.chosen.documents
    for name, value in (("pool", pool), ("target", target), ("method", one.method)):
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows.select(TABLES[DOCUMENTS].schema.names)


def _row(one: Compared) -> dict[str, Any]:
    row: dict[str, Any] = {"method": one.method, "reason": one.reason}
    if one.chosen is None:
        return row
    return row | {
        "document_count": one.chosen.summary.document_count,
        "token_count": one.chosen.summary.token_count,
        "overlap": one.overlap,
        "shares": shares_by_domain(one.chosen),
        "cpu_seconds": one.cpu_seconds,
    }


def _cost(
    warehouse: Warehouse,
    sample: str,
    one: Compared,
    scored: SampleBpb | None,
    measured: Mapping[str, Measured],
) -> dict[str, Any]:
    """Hours that scoring the LLMs of a method took, on GPUs and on CPUs."""
    if one.chosen is None:
        return {}
    llms = METHODS[one.method].llms_of(scored) if scored is not None else []
    found: dict[str, Any] = {"llm_count": len(llms), "gpu_hours": 0.0, "scoring_cpu_hours": 0.0}
    if not all(llm in measured for llm in llms):
        return {"llm_count": len(llms)}
    for llm in llms:
        counts = warehouse.read("chunk_bpb", llm, sample, columns=["token_count"])[0]
        tokens = pc.call_function("sum", [counts]).as_py() or 0
        on = "scoring_cpu_hours" if measured[llm].kind.startswith(CPU) else "gpu_hours"
        found[on] += tokens * measured[llm].seconds_per_token / 3600
    return found
