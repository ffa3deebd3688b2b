"""Wide files of published matrices: one column of names, one column for each LLM.

Belongs here: from the cells of such a file, CSV or Parquet, to numbers, and saying which
cells, names and columns keep it from being read. Does not belong here: the two formats
(`csv_files`, `parquet_files`) and what the numbers mean (`imports`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.csv_files import MISSING, read_csv_cells
from pcorr_assets.matrix.identity import parse_column
from pcorr_assets.matrix.parquet_files import read_parquet_cells
from pcorr_assets.matrix.wording import count, name_some

NUMBERS_SHOWN = 5
PARQUET = ".parquet"


@dataclass(frozen=True)
class WideFile:
    """One published file: `values` (N columns, R rows) float64, NaN where a cell is empty.

    `columns` are the (family, published name) of the N columns, `names` the R row names.
    """

    path: Path
    columns: list[tuple[str, str]]
    names: pa.Array
    values: np.ndarray


def read_wide(path: Path, first_column: str) -> WideFile:
    """Read the file, Parquet if its name ends in `.parquet`, else CSV.

    Raises PcorrError with everything in it that cannot be read: a missing or empty file,
    another first column, columns that name no LLM, columns or rows of the same name, rows
    without a name, cells that are no number.
    """
    read_cells = read_parquet_cells if path.suffix.lower() == PARQUET else read_csv_cells
    header, table = read_cells(path, first_column)
    problems: list[str] = []
    columns = list(_parsed(header[1:], problems))
    problems += _repeated("column", [str(pair) for pair in columns])
    names = table.column(0).combine_chunks()
    row_names = names.to_pylist()
    problems += _repeated(first_column, row_names)
    blank = sum(not name.strip() for name in row_names)
    if blank:
        problems.append(f"{count(blank, 'row')} without {first_column}")
    if not row_names:
        problems.append("there are no rows under the header")
    values, cell_problems = _numbers(table, header, row_names)
    problems += cell_problems
    if problems:
        raise PcorrError(f"{path} cannot be imported:\n" + "\n".join(f"- {p}" for p in problems))
    return WideFile(path, columns, names, values)


def describe_cells(wide: WideFile, wrong: np.ndarray) -> str:
    """Name some cells (N, R flags): `-0.5 for org/name at 'page'`, and how many in all."""
    cells = [
        f"{wide.values[k, row]:g} for {wide.columns[k][1]} at {wide.names[row]}"
        for k, row in np.argwhere(wrong)[: NUMBERS_SHOWN + 1].tolist()
    ]
    more = int(wrong.sum()) - NUMBERS_SHOWN
    shown = "; ".join(cells[:NUMBERS_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _parsed(header: list[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    for column in header:
        try:
            yield parse_column(column)
        except PcorrError as error:
            problems.append(str(error))


def _repeated(what: str, names: list[str]) -> list[str]:
    times = {name: number for name, number in Counter(names).items() if number > 1}
    if not times:
        return []
    shown = name_some(f"{name!r} ({number} times)" for name, number in times.items())
    return [
        f"{what} given more than once: {shown}; which one is meant cannot be known, so "
        "remove or rename the others"
    ]


def _numbers(
    table: pa.Table, header: list[str], row_names: list[str]
) -> tuple[np.ndarray, list[str]]:
    values = np.empty((len(header) - 1, table.num_rows))
    wrong: list[str] = []
    for position, column in enumerate(table.columns[1:]):
        if not pa.types.is_floating(column.type):
            column = pc.call_function("utf8_trim_whitespace", [column])
            is_missing = pc.call_function("is_in", [column], pc.SetLookupOptions(pa.array(MISSING)))
            column = pc.call_function("if_else", [is_missing, pa.scalar(None, pa.string()), column])
            try:
                column = column.cast(pa.float64())
            except pa.ArrowInvalid:
                wrong += [
                    f"{cell!r} in column {header[position + 1]} at {name}"
                    for cell, name in zip(column.to_pylist(), row_names, strict=True)
                    if not _is_number(cell)
                ]
                continue
        values[position] = column.to_numpy()
    if not wrong:
        return values, []
    return values, [
        f"{count(len(wrong), 'cell')} without a number: {name_some(wrong, NUMBERS_SHOWN)}"
    ]


def _is_number(cell: str | None) -> bool:
    try:
        pa.scalar(cell, pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
