"""Published matrices: two wide files become rows of four tables.

Belongs here: matching the two files, what is refused and what is left out, and the
rows. Does not belong here: reading the files (`wide_files`), and who an LLM is (`identity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.candidates import MATRIX_HASH
from pcorr_assets.matrix.identity import Identity, identify
from pcorr_assets.matrix.layout import LevelLayout, sort_order
from pcorr_assets.matrix.mask import NanMask, nan_mask
from pcorr_assets.matrix.wide_files import WideFile, describe_cells, read_wide
from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition

if TYPE_CHECKING:
    from pcorr_assets.config import MatrixCsv

METRIC = "imported"
ONLY_BPB = "in the matrix, but the errors CSV lacks it: it cannot be used for targets"
ONLY_ERRORS = "it stands in the errors CSV only, so it has no BPB"

Column = tuple[str, str]


@dataclass(frozen=True)
class ImportedMatrix:
    """The rows of a published matrix, and in `report` what a person should know of them.

    `bpb_matrix` has one Arrow chunk for each LLM, in the order of the file.
    """

    sample: str
    bpb_matrix: pa.Table
    matrix_coverage: pa.Table
    llms: pa.Table
    benchmark_errors: pa.Table
    report: list[str]

    def write(self, wh: Warehouse) -> dict[str, WrittenPartition]:
        """Write the four tables, `llms` and `benchmark_errors` to the import's own partitions."""
        own, imported = (self.sample,), ("imported", self.sample)
        with wh.writer("bpb_matrix", own) as writer:
            for batch in self.bpb_matrix.to_batches():
                writer.write(batch)
        note = {MATRIX_HASH: writer.written.sha256}
        return {
            "bpb_matrix": writer.written,
            "matrix_coverage": wh.write("matrix_coverage", own, self.matrix_coverage, note),
            "llms": wh.write("llms", imported, self.llms),
            "benchmark_errors": wh.write("benchmark_errors", imported, self.benchmark_errors),
        }


def import_published(
    sample_key: str, matrix_csv: MatrixCsv, max_nan_fraction: float
) -> ImportedMatrix:
    """Read a published BPB matrix and its benchmark errors, from files on this machine.

    The BPB file has a column `id` and the errors file a column `benchmark`, each then
    one column for each LLM (see `identity.parse_column`); columns are matched by name,
    never by position. An empty BPB cell is NaN under the design's mask; an empty error
    is left out. An LLM that stands in the errors only is left out; one that stands in
    the BPB only is in the matrix but has no errors. All of it is named in `report`.

    Raises PcorrError, naming all that is wrong in a file, for missing or empty files,
    repeated names, cells that are no number, negative or infinite BPB, infinite errors.
    """
    bpb = read_wide(Path(matrix_csv.bpb), "id")
    errors = read_wide(Path(matrix_csv.errors), "benchmark")
    _refuse(bpb, "negative or infinite BPB", (bpb.values < 0) | np.isinf(bpb.values))
    _refuse(errors, "infinite errors", np.isinf(errors.values))
    identities = identify([*bpb.columns, *errors.columns])
    keys = [identities[column].key for column in bpb.columns]
    known = set(bpb.columns)
    if known.isdisjoint(errors.columns):
        raise PcorrError(
            f"No LLM stands in both {bpb.path} and {errors.path}: their columns are named "
            f"{bpb.columns[0]} and {errors.columns[0]}, for example. Name them alike"
        )
    mask = nan_mask(np.isnan(bpb.values), keys, max_nan_fraction, thing=matrix_csv.level)
    return ImportedMatrix(
        sample=sample_key,
        bpb_matrix=_matrix_rows(sample_key, matrix_csv.level, bpb, keys, mask),
        matrix_coverage=_coverage_rows(sample_key, bpb, errors, identities, mask),
        llms=_llm_rows(sample_key, [identities[column] for column in bpb.columns]),
        benchmark_errors=_error_rows(sample_key, errors, identities, known),
        report=[
            *_two_families(identities),
            *_missing_bpb(matrix_csv.level, bpb, keys, mask),
            *_unmatched(bpb, errors, identities),
            *_missing_errors(errors, identities, known),
        ],
    )


def _refuse(wide: WideFile, what: str, wrong: np.ndarray) -> None:
    if wrong.any():
        raise PcorrError(
            f"{wide.path} cannot be imported: {count(int(wrong.sum()), 'cell')} with {what}: "
            f"{describe_cells(wide, wrong)}. Mend the file, or leave those cells empty"
        )


def _matrix_rows(
    sample: str, level: str, bpb: WideFile, keys: Sequence[str], mask: NanMask
) -> pa.Table:
    kept = np.flatnonzero(mask.keeps_chunk)
    order = kept[sort_order(bpb.names.take(pa.array(kept)))]
    unknown = pa.nulls(order.size, pa.int64())
    layout = LevelLayout(sample, level, bpb.names.take(pa.array(order)), unknown)
    included = sorted(
        (key, position) for position, key in enumerate(keys) if mask.keeps_llm[position]
    )
    # The tables share the arrays of their units: only the numbers take memory N times.
    return pa.concat_tables(
        layout.table(key, bpb.values[position, order]) for key, position in included
    )


def _coverage_rows(
    sample: str,
    bpb: WideFile,
    errors: WideFile,
    identities: dict[Column, Identity],
    mask: NanMask,
) -> pa.Table:
    with_errors = set(errors.columns)
    rows: list[dict[str, object]] = []
    for column, nan_count in zip(bpb.columns, mask.nan_counts.tolist(), strict=True):
        key = identities[column].key
        note = None if column in with_errors else ONLY_BPB
        rows.append(
            {
                "llm": key,
                "included": key not in mask.reasons,
                "chunk_count": len(bpb.names),
                "nan_count": nan_count,
                "reason": mask.reasons.get(key, note),
            }
        )
    rows += [
        {"llm": identities[column].key, "included": False, "reason": ONLY_ERRORS}
        for column in errors.columns
        if column not in set(bpb.columns)
    ]
    rows.sort(key=lambda row: str(row["llm"]))
    return pa.Table.from_pylist(
        [{"sample": sample, **row} for row in rows], schema=TABLES["matrix_coverage"].schema
    )


def _llm_rows(sample: str, llms: Sequence[Identity]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "llm": llm.key,
                "source": sample,
                "family": llm.family,
                "name": llm.name,
                "revision": llm.revision,
            }
            for llm in sorted(llms, key=lambda llm: llm.key)
        ],
        schema=TABLES["llms"].schema,
    )


def _error_rows(
    sample: str, errors: WideFile, identities: dict[Column, Identity], known: set[Column]
) -> pa.Table:
    rows = sorted(
        (identities[column].key, str(benchmark), float(errors.values[k, row]))
        for k, column in enumerate(errors.columns)
        if column in known
        for row, benchmark in enumerate(errors.names.to_pylist())
        if not np.isnan(errors.values[k, row])
    )
    return pa.Table.from_pylist(
        [
            {
                "llm": llm,
                "source": sample,
                "benchmark": benchmark,
                "metric": METRIC,
                "error": error,
            }
            for llm, benchmark, error in rows
        ],
        schema=TABLES["benchmark_errors"].schema,
    )


def _two_families(identities: dict[Column, Identity]) -> Iterator[str]:
    first: dict[str, Identity] = {}
    for (_, published), llm in identities.items():
        other = first.setdefault(published, llm)
        if other is not llm:
            yield (
                f"{published} stands under the families {other.family} and {llm.family}; "
                f"the first has the key {other.key}, the second {llm.key}."
            )


def _missing_bpb(level: str, bpb: WideFile, keys: Sequence[str], mask: NanMask) -> Iterator[str]:
    missing = {
        key: int(number)
        for key, number in zip(keys, mask.nan_counts, strict=True)
        if number and key not in mask.reasons
    }
    for key, reason in mask.reasons.items():
        yield f"{key} is not in the matrix: {reason}."
    if missing:
        lost = bpb.names.filter(pa.array(~mask.keeps_chunk)).to_pylist()
        named = name_some(f"{key} ({number:,})" for key, number in missing.items())
        yield (
            f"{count(sum(missing.values()), 'BPB cell')} of LLMs in the matrix are empty "
            f"({named}); {count(len(lost), level)} left it for all LLMs: {name_some(lost)}."
        )


def _unmatched(
    bpb: WideFile, errors: WideFile, identities: dict[Column, Identity]
) -> Iterator[str]:
    for left, right, consequence in (
        (bpb, errors, "it stays in the matrix, but cannot be used for targets"),
        (errors, bpb, "its errors were left out"),
    ):
        others = {published: family for family, published in right.columns}
        for column in left.columns:
            if column not in set(right.columns):
                family = others.get(column[1])
                hint = f" (there its name stands under the family {family})" if family else ""
                yield (
                    f"{identities[column].key} of family {column[0]} stands in {left.path.name} "
                    f"and not in {right.path.name}{hint}: {consequence}."
                )


def _missing_errors(
    errors: WideFile, identities: dict[Column, Identity], known: set[Column]
) -> Iterator[str]:
    for row, benchmark in enumerate(errors.names.to_pylist()):
        missing = [
            identities[column].key
            for k, column in enumerate(errors.columns)
            if np.isnan(errors.values[k, row]) and column in known
        ]
        if missing:
            yield (
                f"{benchmark} has no error for {count(len(missing), 'LLM')}, which were left out "
                f"of it: {name_some(missing)}."
            )
