"""How a matrix lies in the `bpb_matrix` table, and how it is read back.

Belongs here: the order of rows (level, llm, unit), one row group for each level and
LLM, and the inverse, which turns a level into an array without a pivot. Does not
belong here: where the numbers come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import TABLES, Warehouse

TABLE = "bpb_matrix"


@dataclass(frozen=True)
class MatrixView:
    """One level of a sample's matrix.

    `X` (N, D) float64 holds bits-per-byte; `llms` (N) names its rows and `units` (D),
    an Arrow string array, its columns, both sorted. `byte_count` (D,) int64 holds the
    bytes behind each unit, or is None for an imported matrix, which does not say.
    """

    X: np.ndarray
    llms: list[str]
    units: pa.Array
    byte_count: np.ndarray | None


@dataclass(frozen=True)
class LevelLayout:
    """The columns that all LLMs of a level share; `units` must be sorted."""

    sample: str
    level: str
    units: pa.Array
    byte_count: pa.Array

    def table(self, llm: str, bpb: np.ndarray) -> pa.Table:
        """The rows of one LLM, `bpb` (D,) in the order of the units."""
        size = len(self.units)
        columns = {
            "sample": pa.repeat(pa.scalar(self.sample), size),
            "level": pa.repeat(pa.scalar(self.level), size),
            "unit": self.units,
            "llm": pa.repeat(pa.scalar(llm), size),
            "bpb": pa.array(bpb),
            "byte_count": self.byte_count,
        }
        schema = TABLES[TABLE].schema
        return pa.table([columns[name] for name in schema.names], schema=schema)


def sort_order(names: pa.Array) -> np.ndarray:
    """Positions (D,) that put the names into the order of the file: that of their UTF-8 bytes."""
    return pc.call_function("array_sort_indices", [names]).to_numpy()


def read_matrix(
    wh: Warehouse, sample: str, level: str, columns: np.ndarray | None = None
) -> MatrixView:
    """Read one level of the sample's matrix as an array.

    Only the numbers are read for every LLM; the units once. Of `columns`, ascending positions
    of units, only these are kept. Raises PcorrError if the matrix is missing, lacks the level,
    or is not laid out as this module writes it.
    """
    with wh.open(TABLE, sample) as file:
        groups = list(_groups(file, sample))
        wanted = [(index, llm, rows) for index, at, llm, rows in groups if at == level]
        if not wanted:
            levels = sorted({at for _, at, _, _ in groups})
            raise PcorrError(
                f"The matrix of sample {sample!r} has no level {level!r}, only "
                f"{', '.join(levels)}; choose one of these as the level, or give the sample "
                "what is missing (domain_column) and materialise it again"
            )
        return _read_groups(file, sample, wanted, columns)


def read_units(wh: Warehouse, sample: str, level: str) -> pa.Array:
    """The units (D,) of one level of the sample's matrix, sorted; empty if it lacks the level."""
    with wh.open(TABLE, sample) as file:
        for index, at, _, _ in _groups(file, sample):
            if at == level:
                return file.read_row_group(index, columns=["unit"])["unit"].combine_chunks()
    return pa.array([], pa.string())


def _groups(file: pq.ParquetFile, sample: str) -> Iterator[tuple[int, str, str, int]]:
    """(index, level, llm, rows) of each row group, from the statistics in the footer."""
    names = file.schema_arrow.names
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        if group.num_rows == 0:
            continue
        values = []
        for name in ("level", "llm"):
            statistics = group.column(names.index(name)).statistics
            if statistics is None or not statistics.has_min_max:
                raise _foreign(sample)
            if statistics.min != statistics.max:
                raise _foreign(sample)
            values.append(statistics.min)
        yield index, values[0], values[1], group.num_rows


def _read_groups(
    file: pq.ParquetFile,
    sample: str,
    wanted: list[tuple[int, str, int]],
    columns: np.ndarray | None,
) -> MatrixView:
    rows: dict[str, int] = {}
    for _, llm, size in wanted:
        rows[llm] = rows.get(llm, 0) + size
    llms = list(rows)
    sizes = set(rows.values())
    order = [llm for _, llm, _ in wanted]
    if len(sizes) != 1 or llms != sorted(llms) or order != sorted(order):
        raise _foreign(sample)
    first = [index for index, llm, _ in wanted if llm == llms[0]]
    shared = file.read_row_groups(first, columns=["unit", "byte_count"])
    size = sizes.pop()
    kept = None if columns is None else np.asarray(columns, np.int64)
    # Filled row group by row group: one copy of the matrix and one row group in memory.
    X = np.empty((len(llms), size if kept is None else kept.size))
    flat, start, filled = X.reshape(-1), 0, 0
    for index, _, count in wanted:
        values = file.read_row_group(index, columns=["bpb"])["bpb"].to_numpy()
        if kept is not None:
            low, high = np.searchsorted(kept, (start % size, start % size + count))
            values = values[kept[low:high] - start % size]
        flat[filled : filled + values.size] = values
        start, filled = start + count, filled + values.size
    if kept is not None:
        shared = shared.take(pa.array(kept))
    byte_count = shared["byte_count"]
    return MatrixView(
        X=X,
        llms=llms,
        units=shared["unit"].combine_chunks(),
        byte_count=None if byte_count.null_count else byte_count.to_numpy(),
    )


def _foreign(sample: str) -> PcorrError:
    return PcorrError(
        f"The matrix file of sample {sample!r} is not ordered by level, llm and unit with a row "
        "group for each level and LLM; it was not written by this platform. "
        "Materialise bpb_matrix again"
    )
