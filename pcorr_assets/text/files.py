"""Streamed rows of local Parquet, JSON Lines and CSV files.

Belongs here: finding files, checking that they are what their names say, and
reading them row by row with bounded memory. Does not belong here: what a row
means (see `sources`) and hub datasets.

Formats, told by the ending: `.parquet`; `.jsonl`, `.ndjson` or `.json` (each also with
`.gz` or `.zst`) with one object a line; `.csv` with a header line. Bytes that are not UTF-8
come through as lone surrogates (Python's `surrogateescape`), as do lone `\\ud83d` escapes of
JSON: readers replace and count them with `pcorr_assets.text.cleaning`.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.cleaning import decode_lossless
from pcorr_assets.text.content import check_csv_text, check_separator, content_of
from pcorr_assets.text.lines import first_line, iter_lines
from pcorr_assets.text.rows import Row, Rows

BATCH_ROWS = 1024
BATCH_BYTES = 8 << 20
PARQUET_BUFFER_BYTES = 1 << 20
CSV_FIELD_BYTES = 2**31 - 1
# Far below what Python's recursion allows, so that what was read can be written as well.
JSON_NESTING = 200

_FORMATS: dict[str, tuple[str, str | None]] = {
    ".parquet": ("parquet", None),
    **{
        f".{name}{ending}": ("jsonl", compression)
        for name in ("jsonl", "ndjson", "json")
        for ending, compression in (("", None), (".gz", "gzip"), (".zst", "zstd"))
    },
    ".csv": ("csv", None),
}


def expand_globs(patterns: Iterable[str | Path]) -> list[Path]:
    """Files that match the patterns: in pattern order, sorted within a pattern, each once.

    Raises PcorrError for a pattern without a match, naming it.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        literal = Path(pattern)
        if literal.is_file():
            found[literal] = None
            continue
        matches = sorted(Path(match) for match in glob.glob(str(pattern), recursive=True))
        files = [match for match in matches if match.is_file()]
        if not files:
            hint = (
                f"it is a folder: add a pattern for the files in it, such as {literal / '*.jsonl'}"
                if literal.is_dir()
                else "check the path; relative paths start at the config file's folder"
            )
            raise PcorrError(f"no file matches {str(pattern)!r}: {hint}")
        found.update(dict.fromkeys(files))
    return list(found)


def file_format(path: Path) -> tuple[str, str | None]:
    """Format (`parquet`, `jsonl`, `csv`) and compression (`gzip`, `zstd`, None) by the ending.

    Raises PcorrError for an ending that is not supported.
    """
    for ending, found in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return found
    raise PcorrError(
        f"{path}: cannot tell the format from the ending; supported are {', '.join(_FORMATS)}"
    )


def iter_file(
    path: Path, columns: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> Iterator[Rows]:
    """Yield the rows of one file in order, in lists of at most a few megabytes.

    Args:
        path: the file; its ending tells the format.
        columns: names to read (None: all). A JSON object that lacks one has None there.
        optional: names to read as well where they exist; None where they do not.

    A single row of any size is read as a whole; beyond that, memory does not grow
    with the file (Parquet: with the compressed size of its row groups at most).
    CSV values are strings. Use `iter_parquet` where Arrow types have to survive.

    Raises PcorrError naming file and line (Parquet: row) if the file is missing,
    truncated, damaged, not what its ending says, or lacks a column (JSON: if none of
    the rows of the first batch has it); the names it does have are listed.
    """
    kind, _ = file_format(path)
    if kind == "parquet":
        first = 1
        for batch in iter_parquet(path, columns, optional):
            yield _pick(batch_to_rows(batch, str(path), first), columns, optional)
            first += batch.num_rows
    elif kind == "jsonl":
        yield from _iter_jsonl(path, columns, optional)
    else:
        yield from _iter_csv(path, columns, optional)


def require_columns(available: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raise PcorrError if a wanted column is not available, listing those that are."""
    names = list(available)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise PcorrError(
            f"{where}: no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names)) or 'no columns at all'}. Name existing columns in the "
            "config (an id or domain inside another column: set metadata_column)"
        )


def iter_parquet(
    path: Path, columns: Sequence[str] | None = None, optional: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file's rows as Arrow batches of about 8 MiB, types unchanged.

    Raises PcorrError as `iter_file` does.
    """
    check_content(path)
    row = 0
    try:
        # Without pre_buffer and with a buffer size, column chunks are read as a stream
        # instead of whole, which keeps memory small for files with one huge row group.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=PARQUET_BUFFER_BYTES) as file:
            names = file.schema_arrow.names
            require_columns(names, columns or [], str(path))
            present = None if columns is None else wanted_columns(columns, optional, names)
            for batch in file.iter_batches(
                batch_size=_parquet_batch_rows(file.metadata), columns=present
            ):
                yield batch
                row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PcorrError(
            f"{path}: cannot be read as Parquet after row {row:,}, it is probably truncated or "
            f"damaged: copy or download it again ({first_line(error)})"
        ) from error


def wanted_columns(
    columns: Sequence[str], optional: Sequence[str], available: Iterable[str]
) -> list[str]:
    """`columns` and those of `optional` that are available, each once, in that order."""
    names = set(available)
    return list(dict.fromkeys([*columns, *(name for name in optional if name in names)]))


def batch_to_rows(batch: pa.RecordBatch | pa.Table, where: str, first: int = 1) -> Rows:
    """Rows of an Arrow batch as dicts, the number of its first row being `first`.

    Invalid UTF-8 in strings becomes lone surrogates.
    """
    numbers = range(first, first + batch.num_rows)
    values = {
        name: column_values(column, f"{where}: column {name!r}")
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    if not values:
        return Rows(({} for _ in numbers), where, numbers)
    rows = (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
    return Rows(rows, where, numbers)


def column_values(column: pa.Array | pa.ChunkedArray, where: str) -> list[Any]:
    """Python values of an Arrow column; invalid UTF-8 becomes lone surrogates.

    A date or time beyond Python's, or of an unknown time zone, becomes its text (`moment`).

    Raises PcorrError if invalid UTF-8 is nested inside a struct or list, or if a value in
    there cannot be one of Python's.
    """
    try:
        return column.to_pylist(maps_as_pydicts="lossy")
    except UnicodeDecodeError as error:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise PcorrError(
                f"{where}: a nested string is not UTF-8: write the file again with valid text"
            ) from error
    except (OverflowError, ValueError, KeyError, TypeError) as error:
        if pa.types.is_temporal(column.type):
            return [_moment(value) for value in column]
        # A struct with a field twice, an odd date within one.
        raise PcorrError(
            f"{where}: a value of type {column.type} has no counterpart outside Arrow ({error}): "
            "write such columns as numbers or text, or leave them out"
        ) from error
    binary = column.cast(pa.large_binary())
    return [None if value is None else decode_lossless(value) for value in binary.to_pylist()]


def _moment(value: pa.Scalar) -> Any:
    """A time as Python's, or else as text: ISO 8601 in UTC, or the number that Arrow stores."""
    try:
        return value.as_py()
    except (OverflowError, ValueError, KeyError):
        kind = value.type
        if pa.types.is_duration(kind):
            return str(value.cast(pa.int64()))
        if pa.types.is_timestamp(kind) and kind.tz:
            value = value.cast(pa.timestamp(kind.unit, "UTC"))
        text = str(value.cast(pa.string()))
        beyond = re.fullmatch(r"<value out of range: (-?\d+)>", text)
        return beyond[1] if beyond else text.replace(" ", "T")


def check_content(path: Path) -> None:
    """Raise PcorrError if the file is missing or its first bytes contradict its ending."""
    kind, compression = file_format(path)
    if not path.is_file():
        raise PcorrError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(4)
    if not head and (kind == "parquet" or compression):
        raise PcorrError(f"{path}: the file is empty: copy or download it again")
    found = content_of(head)
    expected = compression or (kind if kind == "parquet" else None)
    if found != expected:
        raise PcorrError(
            f"{path}: the ending says {expected or 'plain ' + kind}, but the content is "
            f"{found or 'something else (plain text or damaged)'}: rename or replace the file"
        )


def _parquet_batch_rows(metadata: pq.FileMetaData) -> int:
    largest_row = max(
        (
            metadata.row_group(index).total_byte_size // max(metadata.row_group(index).num_rows, 1)
            for index in range(metadata.num_row_groups)
        ),
        default=1,
    )
    return min(max(BATCH_BYTES // max(largest_row, 1), 1), BATCH_ROWS)


def _iter_jsonl(
    path: Path, columns: Sequence[str] | None, optional: Sequence[str]
) -> Iterator[Rows]:
    check_content(path)
    rows: list[Row] = []
    numbers: list[int] = []
    byte_count = 0
    checked = columns is None
    for number, line in iter_lines(path, file_format(path)[1]):
        content = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not content:
            continue
        rows.append(_parse_json_line(content, path, number))
        numbers.append(number)
        byte_count += len(line)
        if len(rows) >= BATCH_ROWS or byte_count >= BATCH_BYTES:
            checked = checked or _check_keys(rows, columns, path)
            yield _pick(Rows(rows, str(path), numbers, "line"), columns, optional)
            rows, numbers, byte_count = [], [], 0
    if rows:
        if not checked:
            _check_keys(rows, columns, path)
        yield _pick(Rows(rows, str(path), numbers, "line"), columns, optional)


def _parse_json_line(content: bytes, path: Path, number: int) -> Row:
    try:
        row = json.loads(decode_lossless(content))
    except (ValueError, RecursionError) as error:
        raise PcorrError(
            f"{path}, line {number:,}: not one whole JSON object ({first_line(error)}); a file cut "
            "off in the middle ends so, and so does a file that is not JSON Lines"
        ) from error
    if not isinstance(row, dict):
        raise PcorrError(
            f"{path}, line {number:,}: expected a JSON object, found {type(row).__name__}; "
            "write one object a line"
        )
    if content.count(b"{") + content.count(b"[") > JSON_NESTING and _is_nested_too_deeply(row):
        raise PcorrError(
            f"{path}, line {number:,}: nested more than {JSON_NESTING} levels deep: leave that "
            "field out, or write it as a string"
        )
    return cast(Row, row)


def _is_nested_too_deeply(value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(JSON_NESTING):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _check_keys(rows: list[Row], columns: Sequence[str] | None, path: Path) -> bool:
    keys = dict.fromkeys(key for row in rows for key in row)
    require_columns(keys, columns or [], str(path))
    return True


def _pick(rows: Rows, columns: Sequence[str] | None, optional: Sequence[str]) -> Rows:
    if columns is None:
        return rows
    names = dict.fromkeys([*columns, *optional])
    return rows.replaced({name: row.get(name) for name in names} for row in rows)


def _iter_csv(path: Path, columns: Sequence[str] | None, optional: Sequence[str]) -> Iterator[Rows]:
    check_content(path)
    check_csv_text(path)
    # The module's limit is one for the process; a page in a field may be longer than it.
    csv.field_size_limit(CSV_FIELD_BYTES)
    number = 0
    rows: list[Row] = []
    numbers: list[int] = []
    byte_count = 0
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            reader = csv.reader(text, strict=True)
            header = _csv_header(reader, columns, path)
            number = reader.line_num
            for values in reader:
                first, number = number + 1, reader.line_num
                if not values:
                    continue
                if len(values) != len(header):
                    raise PcorrError(
                        f"{path}, line {number:,}: {len(values)} fields, but the header has "
                        f"{len(header)}: quote fields that hold commas, quotes or line ends"
                    )
                rows.append(dict(zip(header, values, strict=True)))
                numbers.append(first)
                byte_count += sum(map(len, values))
                if len(rows) >= BATCH_ROWS or byte_count >= BATCH_BYTES:
                    yield _pick(Rows(rows, str(path), numbers, "line"), columns, optional)
                    rows, numbers, byte_count = [], [], 0
    except (csv.Error, OSError) as error:
        raise PcorrError(
            f"{path}, after line {number:,}: not valid CSV, or cut off ({first_line(error)})"
        ) from error
    if rows:
        yield _pick(Rows(rows, str(path), numbers, "line"), columns, optional)


def _csv_header(
    reader: Iterator[list[str]], columns: Sequence[str] | None, path: Path
) -> list[str]:
    header = next(reader, None)
    if header is None:
        raise PcorrError(f"{path}: the file is empty; a header line is needed")
    check_separator(header, path)
    require_columns(header, columns or [], str(path))
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise PcorrError(f"{path}: the header repeats {', '.join(map(repr, repeated))}")
    return header
