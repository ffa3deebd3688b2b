"""Streamed rows of text files: Parquet, Arrow, JSON Lines, WET and CSV.

Belongs here: finding files, and reading them row by row with bounded memory. Does not belong
here: which formats there are (`formats`), what a row means (see `sources`) and hub datasets.

Bytes that are not UTF-8 come through as lone surrogates (Python's `surrogateescape`), as do
lone `\\ud83d` escapes of JSON: readers replace and count them with `pcorr_assets.text.cleaning`.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import is_url
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.listing import find_objects
from pcorr_assets.storage.remote import AnyFile
from pcorr_assets.text.arrow_files import BATCH_BYTES, BATCH_ROWS, batch_to_rows, iter_batches
from pcorr_assets.text.bad_rows import BadRows
from pcorr_assets.text.cleaning import decode_lossless
from pcorr_assets.text.content import check_csv_text, check_separator
from pcorr_assets.text.formats import check_content, file_format, require_columns
from pcorr_assets.text.lines import first_line, iter_lines
from pcorr_assets.text.rows import Row, Rows
from pcorr_assets.text.wet_files import COLUMNS as WET_COLUMNS
from pcorr_assets.text.wet_files import iter_wet

CSV_FIELD_BYTES = 2**31 - 1
# Far below what Python's recursion allows, so that what was read can be written as well.
JSON_NESTING = 200
TOO_DEEP = (
    f"nested more than {JSON_NESTING} levels deep: leave that field out, or write it as a string"
)


def expand_globs(patterns: Iterable[str | Path], storage: Storage | None = None) -> list[AnyFile]:
    """Files that match the patterns: in pattern order, sorted within a pattern, each once.

    `storage` says how URLs among them are reached. Raises PcorrError for a pattern without a
    match, naming it, and for a store that cannot be listed.
    """
    found: dict[AnyFile, None] = {}
    for pattern in patterns:
        if isinstance(pattern, str) and is_url(pattern):
            found.update(dict.fromkeys(find_objects(pattern, storage or Storage())))
            continue
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


def iter_file(
    path: AnyFile,
    columns: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    *,
    named: str | None = None,
    bad: BadRows | None = None,
) -> Iterator[Rows]:
    """Yield the rows of one file in order, in lists of at most a few megabytes.

    Args:
        path: the file; its ending tells the format.
        columns: names to read (None: all). A JSON object that lacks one has None there.
        optional: names to read as well where they exist; None where they do not.
        named: the format (`jsonl.gz`, ...), whatever the ending says.
        bad: what becomes of a line that is no JSON object, or has other fields than the
            header of its CSV file (None: an error). The caller asks it for its `check`.

    A single row of any size is read as a whole; beyond that, memory does not grow
    with the file (Parquet: with the compressed size of its row groups at most).
    CSV values are strings. Use `arrow_files.iter_batches` where Arrow types have to survive.

    Raises PcorrError naming file and line (Parquet, Arrow: row; WET: record) if the file is
    missing, truncated, damaged, not what its ending says, or lacks a column (JSON: if none of
    the rows of the first batch has it); the names it does have are listed.
    """
    bad = bad or BadRows()
    kind, compression = file_format(path, named)
    if kind in ("parquet", "arrow"):
        first = 1
        for batch in iter_batches(path, columns, optional, named):
            bad.good += batch.num_rows
            yield _pick(batch_to_rows(batch, str(path), first), columns, optional)
            first += batch.num_rows
        return
    check_content(path, named)
    if kind == "jsonl":
        parsed, unit = _json_rows(path, compression, bad), "line"
    elif kind == "wet":
        require_columns(WET_COLUMNS, columns or [], str(path))
        parsed = ((number, row, len(row["text"])) for number, row in iter_wet(path, compression))
        unit = "record"
    else:
        parsed, unit = _csv_rows(path, columns, bad), "line"
    checked = columns is None or kind != "jsonl"
    for rows in _batched(parsed, str(path), unit, bad):
        checked = checked or _check_keys(rows, columns, path)
        yield _pick(rows, columns, optional)


def _batched(
    parsed: Iterable[tuple[int, Row, int]], where: str, unit: str, bad: BadRows
) -> Iterator[Rows]:
    """From (number, row, size) to batches of a few megabytes; each row of one is good."""
    rows: list[Row] = []
    numbers: list[int] = []
    size = 0
    for number, row, row_size in parsed:
        bad.good += 1
        rows.append(row)
        numbers.append(number)
        size += row_size
        if len(rows) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield Rows(rows, where, numbers, unit)
            rows, numbers, size = [], [], 0
    if rows:
        yield Rows(rows, where, numbers, unit)


def _json_rows(
    path: AnyFile, compression: str | None, bad: BadRows
) -> Iterator[tuple[int, Row, int]]:
    for number, line in iter_lines(path, compression):
        content = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not content:
            continue
        try:
            row = _parse_json_line(content, path, number)
        except PcorrError as error:
            bad.meet(error)
        else:
            yield number, row, len(line)


def _why_no_object(error: Exception, content: bytes) -> str:
    if isinstance(error, RecursionError):
        return TOO_DEEP
    if not isinstance(error, json.JSONDecodeError):
        # All that Python refuses of what is JSON, so that a number takes no hours.
        digits = sys.get_int_max_str_digits()
        return f"a whole number of more than {digits:,} digits; write it as text, or leave it out"
    if b"\0" in content:
        return "it is UTF-16 or binary, not UTF-8; save the file with that encoding"
    return (
        f"not one whole JSON object ({first_line(error)}); a file cut off in the middle ends so, "
        "and so does a file that is not JSON Lines"
    )


def _parse_json_line(content: bytes, path: AnyFile, number: int) -> Row:
    try:
        row = json.loads(decode_lossless(content))
    except (ValueError, RecursionError) as error:
        raise PcorrError(f"{path}, line {number:,}: {_why_no_object(error, content)}") from error
    if not isinstance(row, dict):
        raise PcorrError(
            f"{path}, line {number:,}: expected a JSON object, found {type(row).__name__}; "
            "write one object a line"
        )
    if content.count(b"{") + content.count(b"[") > JSON_NESTING and _is_nested_too_deeply(row):
        raise PcorrError(f"{path}, line {number:,}: {TOO_DEEP}")
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


def _check_keys(rows: Rows, columns: Sequence[str] | None, path: AnyFile) -> bool:
    keys = dict.fromkeys(key for row in rows for key in row)
    require_columns(keys, columns or [], str(path))
    return True


def _pick(rows: Rows, columns: Sequence[str] | None, optional: Sequence[str]) -> Rows:
    if columns is None:
        return rows
    names = dict.fromkeys([*columns, *optional])
    return rows.replaced({name: row.get(name) for name in names} for row in rows)


def _csv_rows(
    path: AnyFile, columns: Sequence[str] | None, bad: BadRows
) -> Iterator[tuple[int, Row, int]]:
    check_csv_text(path)
    # The module's limit is one for the process; a page in a field may be longer than it.
    csv.field_size_limit(CSV_FIELD_BYTES)
    number = 0
    try:
        with (
            path.open("rb") as file,
            io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            reader = csv.reader(text, strict=True)
            header = _csv_header(reader, columns, path)
            number = reader.line_num
            for values in reader:
                first, number = number + 1, reader.line_num
                if not values:
                    continue
                if len(values) == len(header):
                    yield first, dict(zip(header, values, strict=True)), sum(map(len, values))
                    continue
                bad.meet(
                    PcorrError(
                        f"{path}, line {number:,}: {len(values)} fields, but the header has "
                        f"{len(header)}: quote fields that hold commas, quotes or line ends"
                    )
                )
    except (csv.Error, OSError) as error:
        raise PcorrError(
            f"{path}, after line {number:,}: not valid CSV, or cut off ({first_line(error)})"
        ) from error


def _csv_header(
    reader: Iterator[list[str]], columns: Sequence[str] | None, path: AnyFile
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
