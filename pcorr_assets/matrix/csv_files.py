"""The CSV format of published matrices: a header line, then one line for each name.

Belongs here: reading the cells of such a file fast. Does not belong here: what may stand
in them (`wide_files`).
"""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.content import check_csv_text, check_separator
from pcorr_assets.text.lines import first_line

NAME_SHOWN = 60
# What pandas and R write for a missing number; anything else that is no number is a mistake.
MISSING = ("", "NA", "N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>")


def read_csv_cells(path: Path, first_column: str) -> tuple[list[str], pa.Table]:
    """The header, and a table of as many columns: names, then numbers or, where some cell
    is none, text.

    Raises PcorrError for a file that is missing, empty or no CSV, and another first column.
    """
    header = read_csv_header(path, first_column)
    return header, _table(path, len(header))


def read_csv_header(path: Path, first_column: str) -> list[str]:
    """The header line's fields; PcorrError as `read_csv_cells`."""
    if path.exists() and not path.is_file():
        raise PcorrError(f"{path} cannot be read as a CSV file: it is a folder or a pipe")
    try:
        check_csv_text(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except FileNotFoundError as error:
        raise PcorrError(f"{path} does not exist; mend the path under matrix_csv") from error
    except UnicodeDecodeError as error:
        raise PcorrError(
            f"{path} cannot be read as a CSV file in UTF-8 ({error}): save it with that encoding "
            '(Excel: "CSV UTF-8")'
        ) from error
    except (OSError, csv.Error) as error:
        raise PcorrError(f"{path} cannot be read as a CSV file in UTF-8: {error}") from error
    if not header:
        raise PcorrError(f"{path} is empty; expected a header line that starts with {first_column}")
    check_separator(header, path)
    if header[0].strip() != first_column:
        raise PcorrError(
            f"The first column of {path} is {header[0][:NAME_SHOWN]!r}; expected {first_column!r}, "
            "and after it one column for each LLM. Rename it; if its rows are the LLMs, transpose "
            "the file (pandas: frame.T)"
        )
    if len(header) == 1:
        raise PcorrError(f"{path} has no column after {first_column!r}, so it names no LLM")
    return header


def _table(path: Path, width: int) -> pa.Table:
    """All cells as text or, where every cell of a column is one, as numbers."""
    try:
        return _read(path, width, pa.float64())
    except pa.ArrowException:
        try:
            return _read(path, width, pa.string())
        except pa.ArrowException as error:
            raise PcorrError(
                f"{path} cannot be read as a CSV file: {first_line(error)}; each line needs "
                f"{width:,} fields as the header has, in UTF-8, quoted where they hold commas"
            ) from error


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
