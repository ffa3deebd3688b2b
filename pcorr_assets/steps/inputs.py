"""What estimates rest on: a sample's matrix and the error vectors of its targets.

Belongs here: which level and which errors go with a sample, and their alignment. Does
not belong here: estimates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.matrix.combined import Parts
from pcorr_assets.matrix.errors import align
from pcorr_assets.matrix.layout import MatrixView, read_matrix
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.steps.caps import unit_caps
from pcorr_assets.steps.combined import Combination, of_worst_case, over
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.store import IMPORTED

OWN_SOURCE = "lm_eval"
VECTOR_HASH = "error_vector_sha256"


@dataclass(frozen=True)
class AlignedInputs:
    """Matrix and errors of targets that have the same level and the same LLMs.

    `X` (N, D) bits-per-byte and `errors` (N, T) have their rows in the order of `llms`,
    `families` and `identities` (N; name and revision, equal for one LLM under two keys);
    `units` (D) names the columns of X, `targets` (T) those of `errors`.
    `left_out[target]` says in words which LLMs only one of the two has; `made_from[target]`
    holds the hashes of the two, to be noted beside what is computed from them; `combined[target]`
    says of a target that combines others what it is here.
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
    made_from: dict[str, dict[str, str]]
    combined: dict[str, Combination] = field(default_factory=dict)

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
    wh: Warehouse,
    settings: Settings,
    sample: str,
    targets: Iterable[str],
    failures: dict[str, PcorrError],
) -> Iterator[AlignedInputs]:
    """Inputs of some targets of one sample; targets that can share a matrix come together.

    Each level is read once. A target that cannot be estimated (no error vector, fewer than
    three LLMs in common with the matrix, errors that are all the same) gets its reason
    in `failures` and costs the others nothing. Raises PcorrError for a missing matrix.
    """
    by_level: dict[str, list[str]] = {}
    for target in targets:
        by_level.setdefault(level_of(settings, sample, target), []).append(target)
    source = source_of(settings, sample)
    for level, members in by_level.items():
        matrix = read_matrix(wh, sample, level)
        matrix_hash = wh.metadata("matrix_coverage", sample).get(MATRIX_HASH, "")
        records = _records(wh, source, matrix.llms)
        found: dict[str, _Vector] = {}
        for target in members:
            masked = _masked(wh, settings, sample, target)
            try:
                vector = _vector(wh, target, source, sample, matrix.llms, masked)
                found[target] = _combined(wh, settings, sample, target, matrix, vector)
            except PcorrError as error:
                failures[target] = error
        for shared in _sharing_llms(found).values():
            vectors = {target: found[target] for target in shared}
            yield _aligned(sample, level, matrix, matrix_hash, records, vectors)


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


@dataclass(frozen=True)
class _Vector:
    """One target's errors (N,) for LLMs of the matrix, in its order."""

    llms: tuple[str, ...]
    matrix_index: np.ndarray
    errors: np.ndarray
    left_out: list[str]
    sha256: str
    combination: Combination | None = None


def _vector(
    wh: Warehouse, target: str, source: str, sample: str, matrix_llms: list[str], masked: set[str]
) -> _Vector:
    rows = wh.read("error_vectors", target).to_pylist()
    own = [row for row in rows if row["source"] == source and row["llm"] not in masked]
    if not own:
        others = sorted({row["source"] for row in rows})
        raise PcorrError(
            f"error_vectors of target {target!r} hold no errors from {source} (only from "
            f"{', '.join(others)}), so sample {sample!r} cannot be estimated for it. Evaluate "
            "the LLMs (benchmark_errors) or name the import's benchmarks in the target; then "
            "materialise error_vector again."
        )
    aligned = align(matrix_llms, [row["llm"] for row in own])
    errors = np.array([row["error"] for row in own])[aligned.error_index]
    _refuse_constant(target, errors)
    return _Vector(
        llms=tuple(aligned.llms),
        matrix_index=aligned.matrix_index,
        errors=errors,
        left_out=[
            *(
                f"{llm} has more NaN than the target allows"
                if llm in masked
                else f"{llm} is in the matrix but has no error"
                for llm in aligned.only_in_matrix
            ),
            *(f"{llm} has an error but is not in the matrix" for llm in aligned.only_in_errors),
        ],
        sha256=sha256_file(wh.path("error_vectors", target)),
    )


def _combined(
    wh: Warehouse,
    settings: Settings,
    sample: str,
    target: str,
    matrix: MatrixView,
    vector: _Vector,
) -> _Vector:
    """The vector of a target that combines others: weighed anew over the LLMs of this matrix."""
    parts = Parts.noted(wh.metadata("error_vectors", target))
    if parts is None:
        return vector
    combination = over(parts, source_of(settings, sample), list(vector.llms))
    if parts.worst_case:
        selection, level = settings.selection_for(target), level_of(settings, sample, target)
        units = matrix.units.to_pylist()
        tau = unit_caps(wh, settings, sample, selection, level, units).tau
        combination = of_worst_case(combination, matrix.X[vector.matrix_index], tau)
    _refuse_constant(target, combination.errors)
    return replace(vector, errors=combination.errors, combination=combination)


def _refuse_constant(target: str, errors: np.ndarray) -> None:
    if (errors == errors[0]).all():
        raise PcorrError(
            f"Target {target!r}: all {len(errors)} LLMs have the error {errors[0]:g}, so nothing "
            "can go with it. Evaluate on more items, on other benchmarks, or more LLMs."
        )


def _records(wh: Warehouse, source: str, llms: list[str]) -> dict[str, dict]:
    """The row of `llms` of each LLM of a matrix."""
    if source == OWN_SOURCE:
        rows = [row for llm in llms for row in wh.read("llms", llm).to_pylist()]
    else:
        rows = wh.read("llms", IMPORTED, source).to_pylist()
    return {row["llm"]: row for row in rows}


def _sharing_llms(vectors: dict[str, _Vector]) -> dict[tuple[str, ...], list[str]]:
    groups: dict[tuple[str, ...], list[str]] = {}
    for target, vector in vectors.items():
        groups.setdefault(vector.llms, []).append(target)
    return groups


def _aligned(
    sample: str,
    level: str,
    matrix: MatrixView,
    matrix_hash: str,
    records: dict[str, dict],
    vectors: dict[str, _Vector],
) -> AlignedInputs:
    first, *_ = vectors.values()
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
        errors=np.column_stack([vector.errors for vector in vectors.values()]),
        left_out={target: vector.left_out for target, vector in vectors.items()},
        made_from={
            target: {MATRIX_HASH: matrix_hash, VECTOR_HASH: vector.sha256}
            for target, vector in vectors.items()
        },
        combined={
            target: vector.combination
            for target, vector in vectors.items()
            if vector.combination is not None
        },
    )
