"""What the registry says a table may hold, checked on its rows.

Belongs here: generic checks that follow from `Column` and `Table`. Does not belong
here: checks that need to know what the numbers mean.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.registry import Column, Table

# Sums of shares and BPB of memorised texts may fall short of a limit by rounding.
ROUNDING = 1e-12


def refuse_values_out_of_range(table: Table, rows: pa.Table) -> None:
    """Raise a PcorrError that names every column with a value it may not hold."""
    problems = [
        problem
        for column in table.columns
        for problem in column_problems(table.name, column, rows[column.name])
    ]
    if problems:
        raise PcorrError("\n".join(problems))


def column_problems(table: str, column: Column, values: pa.ChunkedArray) -> list[str]:
    """What is wrong with the values of one column, in words; empty if nothing is."""
    problems = []
    if pa.types.is_floating(column.type):
        # SQL and Arrow order NaN differently, so it is counted before ranges are looked at.
        is_nan = pc.call_function("is_nan", [values])
        nan_count, infinite_count = _count(is_nan), _count(pc.call_function("is_inf", [values]))
        if nan_count and not column.nan_allowed:
            problems.append(f"{table}.{column.name}: {nan_count} values are NaN")
        if infinite_count:
            problems.append(f"{table}.{column.name}: {infinite_count} values are infinite")
        if nan_count:
            values = values.filter(pc.call_function("invert", [is_nan]))
    if column.minimum is None and column.maximum is None:
        return problems
    limits = pc.call_function("min_max", [values]).as_py()
    low, high = limits["min"], limits["max"]
    if low is not None and column.minimum is not None and low < column.minimum - ROUNDING:
        problems.append(f"{table}.{column.name}: {low} is below {column.minimum:g}")
    if high is not None and column.maximum is not None and high > column.maximum + ROUNDING:
        problems.append(f"{table}.{column.name}: {high} is above {column.maximum:g}")
    return problems


def _count(flags: pa.ChunkedArray) -> int:
    return pc.call_function("sum", [flags]).as_py() or 0


def partition_problems(table: Table, rows: pa.Table) -> list[str]:
    """Everything that contradicts the registry in one partition, keys included."""
    problems = []
    if not rows.schema.equals(table.schema):
        problems.append(f"{table.name}: the columns are not those of the registry")
        return problems
    for column in table.columns:
        nulls = rows[column.name].null_count
        if nulls and not column.nullable:
            problems.append(f"{table.name}.{column.name}: {nulls} values are NULL")
        problems += column_problems(table.name, column, rows[column.name])
    duplicates = rows.num_rows - rows.group_by(list(table.unique_key)).aggregate([]).num_rows
    if duplicates:
        problems.append(
            f"{table.name}: {duplicates} rows repeat the key ({', '.join(table.unique_key)})"
        )
    return problems
