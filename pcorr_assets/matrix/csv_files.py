"""Wide CSV files of published matrices: one column of names, one column for each LLM.

Belongs here: reading such a file fast, and saying which cells, names and columns keep
it from being read. Does not belong here: what the numbers mean (`imports`).
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.identity import parse_column
from pcorr_assets.matrix.wording import count, name_some

# What pandas and R write for a missing number; anything else that is no number is a mistake.
MISSING = ("", "NA", "N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>")
NUMBERS_SHOWN = 5


@dataclass(frozen=True)
class WideCsv:
    """One published file: `values` (N columns, R rows) float64, NaN where a cell is empty.

    `columns` are the (family, published name) of the N columns, `names` the R row names.
    """

    path: Path
    columns: list[tuple[str, str]]
    names: pa.Array
    values: np.ndarray


def read_wide_csv(path: Path, first_column: str) -> WideCsv:
    """Read the file; raise PcorrError with everything in it that cannot be read.

    Refused: a missing or empty file, another first column, columns that name no LLM,
    columns or rows of the same name, rows without a name, cells that are no number.
    """
    header = _header(path, first_column)
    problems: list[str] = []
    columns = list(_parsed(header[1:], problems))
    problems += _repeated("column", [str(pair) for pair in columns])
    table = _table(path, len(header))
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
    return WideCsv(path, columns, names, values)


def describe_cells(csv_file: WideCsv, wrong: np.ndarray) -> str:
    """Name some cells (N, R flags): `-0.5 for org/name at 'page'`, and how many in all."""
    cells = [
        f"{csv_file.values[k, row]:g} for {csv_file.columns[k][1]} at {csv_file.names[row]}"
        for k, row in np.argwhere(wrong)[: NUMBERS_SHOWN + 1].tolist()
    ]
    more = int(wrong.sum()) - NUMBERS_SHOWN
    shown = "; ".join(cells[:NUMBERS_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _header(path: Path, first_column: str) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except FileNotFoundError as error:
        raise PcorrError(f"{path} does not exist; mend the path under matrix_csv") from error
    except (IsADirectoryError, PermissionError, UnicodeDecodeError, csv.Error) as error:
        raise PcorrError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    if not header:
        raise PcorrError(f"{path} is empty; expected a header line that starts with {first_column}")
    if header[0].strip() != first_column:
        raise PcorrError(
            f"The first column of {path} is {header[0]!r}; expected {first_column!r}, and after it "
            "one column for each LLM"
        )
    if len(header) == 1:
        raise PcorrError(f"{path} has no column after {first_column!r}, so it names no LLM")
    return header


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


def _table(path: Path, width: int) -> pa.Table:
    """All cells as text or, where every cell of a column is one, as numbers."""
    try:
        return _read(path, width, pa.float64())
    except pa.ArrowInvalid as error:
        try:
            return _read(path, width, pa.string())
        except pa.ArrowInvalid:
            raise PcorrError(f"{path} cannot be read as a CSV file: {error}") from error


def _read(path: Path, width: int, cell_type: pa.DataType) -> pa.Table:
    labels = [str(position) for position in range(width)]
    types = dict.fromkeys(labels[1:], cell_type)
    return pa_csv.read_csv(
        path,
        # The header goes by position: two columns of one name must stay two.
        read_options=pa_csv.ReadOptions(column_names=labels, skip_rows_after_names=1),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types={labels[0]: pa.string(), **types},
            null_values=list(MISSING),
            strings_can_be_null=False,
        ),
    )


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
