"""Rows of `bpb_matrix` and `matrix_coverage`: assembled, or imported.

Belongs here: choosing between the two, and comparing with the matrix that was there
before. Does not belong here: how either is made (`matrix`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pcorr_assets.config import MatrixCsv, Settings, Storage
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.matrix.assemble import assemble
from pcorr_assets.matrix.imports import ImportedMatrix, import_published
from pcorr_assets.storage.copies import local_copy
from pcorr_assets.warehouse import Warehouse, WrittenPartition

logger = logging.getLogger(__name__)


# Below these, an estimate rests on too little; the paper used 90 LLMs of 40 families.
MIN_LLMS = 12
MIN_FAMILIES = 6


@dataclass(frozen=True)
class BuiltMatrix:
    """What was written, by table, and what a person should know of it.

    `report` says what was left out and why; `doubts` are reasons not to trust what is
    built on it yet, empty if there are none.
    """

    written: dict[str, WrittenPartition]
    coverage: pa.Table
    unit_counts: dict[str, int]
    family_count: int
    report: list[str]
    doubts: list[str]

    @property
    def llm_count(self) -> int:
        """LLMs in the matrix."""
        return sum(self.coverage["included"].to_pylist())


def build_matrix(
    wh: Warehouse, settings: Settings, sample: str, llm_keys: Sequence[str]
) -> BuiltMatrix:
    """Build and write the matrix of a sample.

    A text sample's is assembled from the BPB of the registered LLMs that are there; an
    imported one is read from its CSV files and brings rows of `llms` and
    `benchmark_errors` along. Raises PcorrError if no LLM or no text is left.
    """
    before = _included(wh, sample)
    max_nan_fraction = settings.selection.max_nan_fraction
    source = settings.samples[sample]
    if source.matrix_csv is not None:
        imported = _imported(sample, source.matrix_csv, source.storage, max_nan_fraction)
        written, report = imported.write(wh), imported.report
        rows_of_one = imported.bpb_matrix.column("llm").chunk(0)
        unit_counts = {source.matrix_csv.level: len(rows_of_one)}
    else:
        if not llm_keys:
            raise PcorrError(
                "No LLM is registered, so there is nothing to build a matrix of. List LLMs under "
                "`llms` in pcorr.yaml (the sensor register_llms adds them), or add a partition "
                "of llm in the UI; then materialise chunk_bpb."
            )
        assembled = assemble(wh, sample, llm_keys, max_nan_fraction)
        written, report = assembled.write(), assembled.report
        unit_counts = assembled.unit_counts
    coverage = wh.read("matrix_coverage", sample)
    included = _included(wh, sample)
    families = _family_count(wh, sample, included, imported=not source.is_text)
    return BuiltMatrix(
        written, coverage, unit_counts, families, report, _doubts(included, families, before)
    )


def _imported(
    sample: str, matrix_csv: MatrixCsv, storage: Storage, max_nan_fraction: float
) -> ImportedMatrix:
    with (
        local_copy(matrix_csv.bpb, storage) as bpb,
        local_copy(matrix_csv.errors, storage) as errors,
    ):
        here = matrix_csv.model_copy(update={"bpb": bpb, "errors": errors})
        return import_published(sample, here, max_nan_fraction)


def _included(wh: Warehouse, sample: str) -> frozenset[str]:
    if not wh.exists("matrix_coverage", sample):
        return frozenset()
    try:
        rows = wh.read("matrix_coverage", sample).to_pylist()
    except DamagedFileError as error:  # it is about to be written anew
        logger.warning("%s", error)
        return frozenset()
    return frozenset(row["llm"] for row in rows if row["included"])


def _family_count(wh: Warehouse, sample: str, included: frozenset[str], *, imported: bool) -> int:
    if imported:
        rows = wh.read("llms", "imported", sample).to_pylist()
    else:
        known = (llm for llm in included if wh.exists("llms", llm))
        rows = [row for llm in known for row in wh.read("llms", llm).to_pylist()]
    return len({row["family"] for row in rows if row["llm"] in included})


def _doubts(included: frozenset[str], families: int, before: frozenset[str]) -> list[str]:
    doubts = []
    if len(included) < MIN_LLMS:
        doubts.append(f"{len(included)} LLMs are few for a correlation; {MIN_LLMS} is a minimum")
    if families < MIN_FAMILIES:
        doubts.append(f"{families} families are few; {MIN_FAMILIES} is a minimum")
    if len(included) < len(before):
        gone = ", ".join(sorted(before - included))
        doubts.append(f"{len(before)} LLMs were included before, now {len(included)}: {gone} gone")
    return doubts
