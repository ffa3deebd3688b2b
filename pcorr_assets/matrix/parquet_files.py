"""The Parquet format of published matrices: the columns of the CSV format, typed.

Belongs here: reading the cells of such a file. Does not belong here: what may stand in
them (`wide_files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.warehouse.parquet_files import naming_damage, open_parquet


def read_parquet_cells(path: Path, first_column: str) -> tuple[list[str], pa.Table]:
    """The header, and a table of as many columns: names, then numbers or text.

    The column of names may stand anywhere (pandas writes an index last). NULL is a missing
    number. Raises PcorrError for a file that is missing or no Parquet file, without the
    column `first_column` or without another, and for columns of other types.
    """
    with _opened(path) as file:
        table = file.read()
    order = _order(path, table.schema, first_column)
    header = [table.schema.names[i] for i in order]
    columns = [_cells(path, header[n], table.column(i), n == 0) for n, i in enumerate(order)]
    return header, pa.table(columns, names=[str(n) for n in range(len(order))])


def read_parquet_header(path: Path, first_column: str) -> list[str]:
    """The names of the columns, that of the row names first; PcorrError as above."""
    with _opened(path) as file:
        schema = file.schema_arrow
    return [schema.names[i] for i in _order(path, schema, first_column)]


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with open_parquet(path) as file, naming_damage(path):
            yield file
    except FileNotFoundError as error:
        raise PcorrError(f"{path} does not exist; mend the path under matrix_csv") from error
    except DamagedFileError as error:
        raise PcorrError(f"{path} cannot be read as a Parquet file: {error.reason}") from error
    except (OSError, pa.ArrowException) as error:
        raise PcorrError(f"{path} cannot be read as a Parquet file: {error}") from error


def _order(path: Path, schema: pa.Schema, first_column: str) -> list[int]:
    """Positions of the columns, that of the row names first."""
    places = schema.get_all_field_indices(first_column)
    if len(places) != 1:
        raise PcorrError(
            f"{path} has {len(places)} columns {first_column!r}; expected one with the names of "
            "the rows, and one column for each LLM"
        )
    if len(schema.names) == 1:
        raise PcorrError(f"{path} has no column beside {first_column!r}, so it names no LLM")
    return [*places, *(i for i in range(len(schema.names)) if i not in places)]


def _cells(path: Path, name: str, column: pa.ChunkedArray, is_name: bool) -> pa.ChunkedArray:
    """Names as text ('' for NULL), numbers as float64; text stays, to be looked at cell by cell."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.string()).fill_null("") if is_name else column.cast(pa.string())
    kind = column.type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    if is_name and pa.types.is_integer(kind):
        return column.cast(pa.string()).fill_null("")
    if is_name or not is_number:
        what = "text" if is_name else "numbers"
        raise PcorrError(f"{path}: column {name!r} holds {kind}; expected {what}")
    return column.cast(pa.float64(), safe=False)
