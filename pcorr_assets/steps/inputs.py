"""What estimates rest on: a sample's matrix and the error vectors of its targets.

Belongs here: which level and which errors go with a sample, and their alignment. Does
not belong here: estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.errors import align
from pcorr_assets.matrix.layout import MatrixView, read_matrix
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.store import IMPORTED

OWN_SOURCE = "lm_eval"


@dataclass(frozen=True)
class AlignedInputs:
    """Matrix and errors of targets that have the same level and the same LLMs.

    `X` (N, D) bits-per-byte and `errors` (N, T) have their rows in the order of `llms`,
    `families` and `identities` (N; name and revision, equal for one LLM under two keys);
    `units` (D) names the columns of X, `targets` (T) those of `errors`.
    `left_out[target]` says in words which LLMs only one of the two has.
    """

    sample: str
    level: str
    X: np.ndarray
    llms: list[str]
    families: list[str]
    identities: list[tuple[str, str]]
    units: pa.Array
    targets: list[str]
    errors: np.ndarray
    left_out: dict[str, list[str]]

    def panel(self, target: str, tau: np.ndarray, estimator: str) -> Panel:
        """What validation looks at: the errors of one target, under caps `tau` (D,)."""
        return make_panel(
            self.X,
            self.errors[:, self.targets.index(target)],
            tau,
            llms=self.llms,
            families=self.families,
            identities=self.identities,
            estimator=estimator,
        )


def level_of(settings: Settings, sample: str, target: str) -> str:
    """The level a target is estimated at: the only one of an imported matrix, else as set."""
    matrix_csv = settings.samples[sample].matrix_csv
    return settings.selection_for(target).level if matrix_csv is None else matrix_csv.level


def source_of(settings: Settings, sample: str) -> str:
    """Whose benchmark errors go with a sample: an import brings its own."""
    return OWN_SOURCE if settings.samples[sample].is_text else sample


def read_inputs(
    wh: Warehouse, settings: Settings, sample: str, targets: Iterable[str]
) -> Iterator[AlignedInputs]:
    """Inputs of some targets of one sample; targets that can share a matrix come together.

    Each level is read once. Raises PcorrError for a missing matrix or error vector, or
    one that shares fewer than three LLMs with the other.
    """
    by_level: dict[str, list[str]] = {}
    for target in targets:
        by_level.setdefault(level_of(settings, sample, target), []).append(target)
    source = source_of(settings, sample)
    for level, members in by_level.items():
        matrix = read_matrix(wh, sample, level)
        masked = {target: _masked(wh, settings, sample, target) for target in members}
        vectors = {
            target: _error_vector(wh, target, source, sample, masked[target]) for target in members
        }
        records = _records(wh, source, matrix.llms)
        for shared in _sharing_llms(matrix.llms, vectors).values():
            yield _aligned(sample, level, matrix, records, {t: vectors[t] for t in shared}, masked)


def _masked(wh: Warehouse, settings: Settings, sample: str, target: str) -> set[str]:
    """LLMs of the matrix with more NaN than this target allows (see `config.Target`)."""
    limit = settings.selection_for(target).max_nan_fraction
    if limit >= settings.selection.max_nan_fraction:
        return set()
    return {
        row["llm"]
        for row in wh.read("matrix_coverage", sample).to_pylist()
        if row["included"] and row["nan_count"] > limit * row["chunk_count"]
    }


def _error_vector(
    wh: Warehouse, target: str, source: str, sample: str, masked: set[str]
) -> list[dict]:
    rows = wh.read("error_vectors", target).to_pylist()
    found = [row for row in rows if row["source"] == source]
    if not found:
        others = sorted({row["source"] for row in rows})
        raise PcorrError(
            f"error_vectors of target {target!r} hold no errors from {source} (only from "
            f"{', '.join(others)}), so sample {sample!r} cannot be estimated for it. Evaluate "
            "the LLMs (benchmark_errors) or name the import's benchmarks in the target; then "
            "materialise error_vector again."
        )
    return [row for row in found if row["llm"] not in masked]


def _records(wh: Warehouse, source: str, llms: list[str]) -> dict[str, dict]:
    """The row of `llms` of each LLM of a matrix."""
    if source == OWN_SOURCE:
        rows = [row for llm in llms for row in wh.read("llms", llm).to_pylist()]
    else:
        rows = wh.read("llms", IMPORTED, source).to_pylist()
    return {row["llm"]: row for row in rows}


def _sharing_llms(
    matrix_llms: list[str], vectors: dict[str, list[dict]]
) -> dict[frozenset[str], list[str]]:
    groups: dict[frozenset[str], list[str]] = {}
    for target, rows in vectors.items():
        shared = frozenset(row["llm"] for row in rows) & frozenset(matrix_llms)
        groups.setdefault(shared, []).append(target)
    return groups


def _aligned(
    sample: str,
    level: str,
    matrix: MatrixView,
    records: dict[str, dict],
    vectors: dict[str, list[dict]],
    masked: dict[str, set[str]],
) -> AlignedInputs:
    alignments = {
        target: align(matrix.llms, [row["llm"] for row in rows]) for target, rows in vectors.items()
    }
    first, *_ = alignments.values()
    whole = len(first.llms) == len(matrix.llms)
    return AlignedInputs(
        sample=sample,
        level=level,
        X=matrix.X if whole else matrix.X[first.matrix_index],
        llms=list(first.llms),
        families=[records[llm]["family"] for llm in first.llms],
        identities=[(records[llm]["name"], records[llm]["revision"]) for llm in first.llms],
        units=matrix.units,
        targets=list(vectors),
        errors=np.column_stack(
            [
                np.array([row["error"] for row in rows])[alignments[target].error_index]
                for target, rows in vectors.items()
            ]
        ),
        left_out={
            target: [
                *(
                    f"{llm} has more NaN than the target allows"
                    if llm in masked[target]
                    else f"{llm} is in the matrix but has no error"
                    for llm in found.only_in_matrix
                ),
                *(f"{llm} has an error but is not in the matrix" for llm in found.only_in_errors),
            ]
            for target, found in alignments.items()
        },
    )
