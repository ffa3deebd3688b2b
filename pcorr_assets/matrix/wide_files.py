"""Wide files of published matrices: one column of names, one column for each LLM.

Belongs here: from the cells of such a file, CSV or Parquet, to numbers, and saying which
cells, names and columns keep it from being read. Does not belong here: the two formats
(`csv_files`, `parquet_files`) and what the numbers mean (`imports`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config.keys import split_hub_key
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.csv_files import MISSING, read_csv_cells, read_csv_header
from pcorr_assets.matrix.identity import parse_column
from pcorr_assets.matrix.parquet_files import read_parquet_cells, read_parquet_header
from pcorr_assets.matrix.wording import count, name_some

NUMBERS_SHOWN = 5
CELL_SHOWN = 60
_DECIMAL_COMMA = re.compile(r"'[-+]?[0-9]+,[0-9]+(e[-+]?[0-9]+)?' in column")
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
    if _is_transposed(columns, row_names):
        raise PcorrError(
            f"{path} has its LLMs as rows ({row_names[0]!r}, ...); expected a column for each LLM, "
            f"and as rows what the column {first_column!r} names: transpose it (pandas: frame.T)"
        )
    problems += _repeated(first_column, row_names)
    blank = sum(not name.strip() for name in row_names)
    if blank:
        problems.append(f"{count(blank, 'row')} without {first_column}")
    if not row_names:
        problems.append("there are no rows under the header")
    values, cell_problems = _numbers(table, header, row_names)
    problems += cell_problems
    if problems:
        raise PcorrError(_all_of(path, problems))
    return WideFile(path, columns, names, values)


def read_wide_header(path: Path, first_column: str) -> list[tuple[str, str]]:
    """(family, published name) of the columns, without reading the rows.

    Raises PcorrError as `read_wide`, for what the header shows.
    """
    is_parquet = path.suffix.lower() == PARQUET
    read_header = read_parquet_header if is_parquet else read_csv_header
    problems: list[str] = []
    columns = list(_parsed(read_header(path, first_column)[1:], problems))
    problems += _repeated("column", [str(pair) for pair in columns])
    if problems:
        raise PcorrError(_all_of(path, problems))
    return columns


def describe_cells(wide: WideFile, wrong: np.ndarray) -> str:
    """Name some cells (N, R flags): `-0.5 for org/name at 'page'`, and how many in all."""
    cells = [
        f"{wide.values[k, row]:g} for {wide.columns[k][1]} at {wide.names[row]}"
        for k, row in np.argwhere(wrong)[: NUMBERS_SHOWN + 1].tolist()
    ]
    more = int(wrong.sum()) - NUMBERS_SHOWN
    shown = "; ".join(cells[:NUMBERS_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _all_of(path: Path, problems: list[str]) -> str:
    return f"{path} cannot be imported:\n" + "\n".join(f"- {problem}" for problem in problems)


def _parsed(header: list[str], problems: list[str]) -> Iterator[tuple[str, str]]:
    for column in header:
        try:
            yield parse_column(column)
        except PcorrError as error:
            problems.append(str(error))


def _is_transposed(columns: list[tuple[str, str]], row_names: list[str]) -> bool:
    """Are all rows named as LLMs are, and no column?"""
    return (
        bool(row_names)
        and all(map(_is_llm_name, row_names))
        and not any(_is_llm_name(name) or family != name for family, name in columns)
    )


def _is_llm_name(name: str) -> bool:
    """`('family', 'org/name')` or `org/name`, which names of pages and domains are not."""
    text = name.strip()
    return text.startswith("('") or split_hub_key(text) is not None


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
                    f"{_cut(cell)!r} in column {_cut(header[position + 1])} at {_cut(name)}"
                    for cell, name in zip(column.to_pylist(), row_names, strict=True)
                    if not _is_number(cell)
                ]
                continue
        values[position] = column.to_numpy()
    if not wrong:
        return values, []
    said = f"{count(len(wrong), 'cell')} without a number: {name_some(wrong, NUMBERS_SHOWN)}"
    with_comma = sum(_DECIMAL_COMMA.match(text) is not None for text in wrong)
    hint = "; write decimal points (0.5), not commas" if with_comma == len(wrong) else ""
    return values, [said + hint]


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= CELL_SHOWN else f"{text[:CELL_SHOWN]}..."


def _is_number(cell: str | None) -> bool:
    try:
        pa.scalar(cell, pa.string()).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
