"""Rows of `clean_estimates`: estimates beside those without contaminated chunks.

Belongs here: which chunks of which units are left out, aligned with the matrix, and laying out
the rows. Does not belong here: the search (`contaminated_chunks`) and the estimates (`stats`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.clean.ngrams import NgramSet
from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.ngram_files import find_ngrams, made_to_search
from pcorr_assets.matrix.candidates import CHUNKS_HASH, noted_chunking
from pcorr_assets.matrix.layout import TABLE as MATRIX
from pcorr_assets.matrix.layout import read_matrix, read_units
from pcorr_assets.matrix.units import with_units
from pcorr_assets.matrix.wording import count
from pcorr_assets.stats.without_chunks import Beside, UnitChunks, estimate_beside
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.contaminated_chunks import contaminated_chunks
from pcorr_assets.steps.estimates import CHOSEN_NOTE
from pcorr_assets.steps.inputs import AlignedInputs, read_inputs
from pcorr_assets.steps.verdicts import estimates_of
from pcorr_assets.warehouse import TABLES, Warehouse

TABLE = "clean_estimates"
# What is noted beside the rows, as JSON.
COMPARED = "compared"


@dataclass(frozen=True)
class Compared:
    """What leaving out contaminated chunks comes to.

    `rank_correlation` and `overlap` are those of `stats.without_chunks.Beside`; None where
    nothing was searched for. `sentence` says it all in words.
    """

    chunk_count: int
    contaminated_chunk_count: int
    unit_count: int
    contaminated_unit_count: int
    rank_correlation: float | None
    overlap: float | None
    sentence: str


@dataclass(frozen=True)
class TargetCleanEstimates:
    """The rows of both tables for one sample and target, and what they come to."""

    target: str
    chunks: pa.Table
    table: pa.Table
    compared: Compared
    made_from: dict[str, str]

    @property
    def notes(self) -> dict[str, str]:
        """What stands beside the rows: `made_from`, and `compared` as JSON."""
        return {**self.made_from, COMPARED: json.dumps(vars(self.compared))}


def read_compared(wh: Warehouse, sample: str, target: str) -> Compared | None:
    """What was noted of a sample and target; None if it was not made."""
    if not wh.exists(TABLE, sample, target):
        return None
    return Compared(**json.loads(wh.metadata(TABLE, sample, target)[COMPARED]))


def clean_estimates_of_targets(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[TargetCleanEstimates]:
    """Search the chunks of a sample for the benchmarks of targets, and estimate without hits.

    Texts are read once for all targets. A target that was not to be searched for, or has
    nothing to search for, gets no rows and a sentence that says so; one that cannot be
    estimated gets its reason in `failures` and costs the others nothing.

    Raises:
        PcorrError: the chunks or the matrix are missing, or do not belong together.
    """
    sets: dict[str, NgramSet] = {}
    for target in targets:
        ngrams = find_ngrams(wh, target)
        if ngrams is None or not made_to_search(wh, target):
            yield _not_searched(wh, target)
        else:
            sets[target] = ngrams.load()
    if not sets:
        return
    if wh.metadata(MATRIX, sample).get(CHUNKS_HASH) != noted_chunking(wh, sample):
        raise PcorrError(
            f"The matrix of sample {sample!r} is of another chunking of it than there is now: "
            "materialise bpb_matrix and estimate again"
        )
    held = contaminated_chunks(wh, sample, sets)
    for inputs in read_inputs(wh, settings, sample, sets, failures):
        for target in inputs.targets:
            try:
                yield _of_target(wh, settings, inputs, target, held[target])
            except PcorrError as error:
                failures[target] = error


def _not_searched(wh: Warehouse, target: str) -> TargetCleanEstimates:
    why = (
        "its benchmarks have no items here that could be searched for"
        if made_to_search(wh, target)
        else "decontaminate is off"
    )
    empty = {name: TABLES[name].schema.empty_table() for name in ("contaminated_chunks", TABLE)}
    sentence = f"The chunks were not searched for text of the target's benchmarks: {why}."
    return TargetCleanEstimates(
        target,
        empty["contaminated_chunks"],
        empty[TABLE],
        Compared(0, 0, 0, 0, None, None, sentence),
        {},
    )


def _of_target(
    wh: Warehouse, settings: Settings, inputs: AlignedInputs, target: str, held: pa.Table
) -> TargetCleanEstimates:
    sample, selection = inputs.sample, settings.selection_for(target)
    noted = wh.metadata("estimates", sample, target)
    if any(noted.get(name) != value for name, value in inputs.made_from[target].items()):
        raise PcorrError(
            f"estimates of {sample}|{target} were made from another matrix or error vector than "
            "the present one. Materialise estimate again, then clean_estimate."
        )
    units = inputs.units.to_pylist()
    by_unit = estimates_of(wh, sample, target, selection.estimator)
    if set(by_unit) != set(units):
        raise PcorrError(
            f"estimates of {sample}|{target} are not those of the configuration's level and "
            "estimator. Materialise estimate again, then clean_estimate."
        )
    estimate = np.array([by_unit[unit] for unit in units])
    chunks, counts = _unit_chunks(wh, inputs, set(held["chunk_id"].to_pylist()))
    beside = estimate_beside(
        estimate,
        chunks,
        inputs.errors[:, inputs.targets.index(target)],
        unit_caps(wh, settings, sample, selection, inputs.level, units).tau,
        noted.get(CHOSEN_NOTE, selection.estimator),
    )
    left_out = np.zeros(len(units), np.int64)
    left_out[chunks.units] = np.bincount(
        chunks.unit[chunks.is_left_out], minlength=chunks.units.size
    )
    size = len(units)
    columns = {
        "sample": pa.repeat(sample, size),
        "target": pa.repeat(target, size),
        "level": pa.repeat(inputs.level, size),
        "unit": inputs.units,
        "chunk_count": pa.array(counts),
        "contaminated_chunk_count": pa.array(left_out),
        "estimate": pa.array(estimate),
        "clean_estimate": pa.array(beside.estimate, from_pandas=True),
        "included": pa.array(beside.included),
        "clean_included": pa.array(beside.clean_included),
    }
    schema = TABLES[TABLE].schema
    table = pa.table([columns[name] for name in schema.names], schema=schema)
    compared = _compared(inputs.level, held, counts, left_out, beside)
    return TargetCleanEstimates(target, held, table, compared, inputs.made_from[target])


def _unit_chunks(
    wh: Warehouse, inputs: AlignedInputs, held: Collection[str]
) -> tuple[UnitChunks, np.ndarray]:
    """All chunks of units that have one of `held`, and the chunks of each unit (D,)."""
    rows, names = with_units(wh, inputs.sample, inputs.level, ["chunk_id"])
    ids = rows["chunk_id"].combine_chunks()
    unit = _places(names.combine_chunks(), inputs.units)
    # Chunks without a defined loss of all LLMs are not in the matrix.
    chunk = _places(ids, read_units(wh, inputs.sample, "chunk"))
    is_left_out = _places(ids, pa.array(sorted(held), pa.string())) >= 0
    here = (unit >= 0) & (chunk >= 0)
    counts = np.bincount(unit[here], minlength=len(inputs.units))
    units = np.unique(unit[here & is_left_out])
    own = np.flatnonzero(here & np.isin(unit, units))
    own = own[np.argsort(chunk[own])]
    matrix = read_matrix(wh, inputs.sample, "chunk", chunk[own])
    assert matrix.byte_count is not None
    llms = [matrix.llms.index(llm) for llm in inputs.llms]
    found = UnitChunks(
        units=units,
        bpb=matrix.X[llms],
        byte_count=matrix.byte_count,
        unit=np.searchsorted(units, unit[own]),
        is_left_out=is_left_out[own],
    )
    return found, counts.astype(np.int64)


def _places(names: pa.Array, among: pa.Array) -> np.ndarray:
    """Where each of the names stands; -1 for none."""
    found = pc.call_function("index_in", [names], pc.SetLookupOptions(among, skip_nulls=True))
    return found.fill_null(-1).to_numpy().astype(np.intp)


def _compared(
    level: str, held: pa.Table, counts: np.ndarray, left_out: np.ndarray, beside: Beside
) -> Compared:
    touched = int(np.count_nonzero(left_out))
    return Compared(
        chunk_count=int(counts.sum()),
        contaminated_chunk_count=int(left_out.sum()),
        unit_count=counts.size,
        contaminated_unit_count=touched,
        rank_correlation=beside.rank_correlation,
        overlap=beside.overlap,
        sentence=_sentence(level, held, counts, left_out, beside),
    )


def _sentence(
    level: str, held: pa.Table, counts: np.ndarray, left_out: np.ndarray, beside: Beside
) -> str:
    of_all = count(int(counts.sum()), "chunk")
    if not left_out.any():
        return (
            f"None of {of_all} of the matrix holds text of the target's benchmarks: the estimate "
            "is that of clean chunks."
        )
    by_benchmark: Mapping[str, int] = {
        one["values"]: one["counts"] for one in held["benchmark"].value_counts().to_pylist()
    }
    named = ", ".join(f"{name} {by_benchmark[name]:,}" for name in sorted(by_benchmark))
    lost = int(np.isnan(beside.estimate).sum())
    gone = f" {count(lost, level)} of these have no other chunk." if lost else ""
    rank = beside.rank_correlation
    alike = "" if rank is None else f"the {level}s rank alike ({rank:.3f}, Spearman's), and "
    return (
        f"{int(left_out.sum()):,} of {of_all} hold text of the target's benchmarks ({named}), in "
        f"{int(np.count_nonzero(left_out)):,} of {count(counts.size, level)}.{gone} Without these "
        f"chunks {alike}{beside.overlap:.1%} of the selection's tokens stay selected."
    )
