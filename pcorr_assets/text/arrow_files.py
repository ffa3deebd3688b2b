"""Streamed batches of Parquet and Arrow IPC files, types unchanged.

Belongs here: reading columnar files with bounded memory, and telling damage. Does not belong
here: which format a file has (`formats`), rows of text (`files`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile
from pcorr_assets.text.cleaning import decode_lossless
from pcorr_assets.text.content import ARROW_MAGIC
from pcorr_assets.text.formats import check_content, file_format, require_columns
from pcorr_assets.text.lines import first_line
from pcorr_assets.text.rows import Rows

BATCH_ROWS = 1024
BATCH_BYTES = 8 << 20
PARQUET_BUFFER_BYTES = 1 << 20
# What Arrow raises for values that are none of Python's (UnicodeDecodeError is a ValueError).
_NO_COUNTERPART = (OverflowError, ValueError, KeyError, TypeError)


def iter_batches(
    path: AnyFile,
    columns: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    named: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet or Arrow file as batches of about 8 MiB, types unchanged.

    Args as of `files.iter_file`; the memory is bounded by the largest row group (Parquet,
    compressed) or record batch (Arrow, which does not divide them).

    Raises PcorrError naming the file and the last row read if it is missing, truncated,
    damaged, not what it is taken for, or lacks a column; those it has are listed.
    """
    check_content(path, named)
    reader = _parquet_batches if file_format(path, named)[0] == "parquet" else _ipc_batches
    row = 0
    try:
        for batch in reader(path, columns, optional):
            yield batch
            row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise PcorrError(
            f"{path}: cannot be read as {_kind(path, named)} after row {row:,}, it is probably "
            f"truncated or damaged: copy or download it again ({first_line(error)})"
        ) from error


def column_names(path: AnyFile, named: str | None = None) -> list[str]:
    """Names of the columns of a Parquet or Arrow file, from its schema alone.

    Raises PcorrError as `iter_batches` does.
    """
    check_content(path, named)
    kind = file_format(path, named)[0]
    try:
        if kind == "parquet":
            with _opened(path) as source, pq.ParquetFile(source) as file:
                return file.schema_arrow.names
        with _open_ipc(path) as reader:
            return reader.schema.names
    except (pa.ArrowException, OSError) as error:
        raise PcorrError(
            f"{path}: cannot be read as {_kind(path, named)}, it is probably truncated or damaged: "
            f"copy or download it again ({first_line(error)})"
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
    columns = zip(batch.schema.names, batch.columns, strict=True)
    values = {name: column_values(column) for name, column in columns}
    if not values:
        return Rows(({} for _ in numbers), where, numbers)
    rows = (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
    return Rows(rows, where, numbers)


def column_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Python values of an Arrow column.

    What Python has no counterpart for is given all the same, at any depth: invalid UTF-8 as
    lone surrogates, a date or time beyond Python's, or of an unknown time zone, as its text
    (`moment`), and a struct with a field twice as pairs of name and value.
    """
    try:
        return column.to_pylist(maps_as_pydicts="lossy")
    except _NO_COUNTERPART:
        return [_python_value(value) for value in column]


def _python_value(value: pa.Scalar) -> Any:
    """A value, part by part where Arrow cannot convert it whole."""
    try:
        return value.as_py(maps_as_pydicts="lossy")
    except _NO_COUNTERPART:
        kind = value.type
    if isinstance(value, pa.ExtensionScalar | pa.DictionaryScalar):
        return _python_value(value.value)
    if isinstance(value, pa.StructScalar):
        names = [kind.field(index).name for index in range(kind.num_fields)]
        pairs = [(name, _python_value(value[index])) for index, name in enumerate(names)]
        return dict(pairs) if len(set(names)) == len(names) else [list(pair) for pair in pairs]
    if isinstance(value, pa.MapScalar):
        entries = [(_python_value(key), _python_value(item)) for key, item in _entries(value)]
        return dict(entries)
    if isinstance(value, pa.ListScalar):
        return [_python_value(item) for item in value.values]
    if pa.types.is_temporal(kind):
        return _moment(value)
    return decode_lossless(value.as_buffer().to_pybytes())


def _entries(value: pa.MapScalar) -> Iterator[tuple[pa.Scalar, pa.Scalar]]:
    for entry in value.values:
        yield entry[0], entry[1]


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


def _kind(path: AnyFile, named: str | None) -> str:
    return {"parquet": "Parquet", "arrow": "Arrow"}[file_format(path, named)[0]]


def _parquet_batches(
    path: AnyFile, columns: Sequence[str] | None, optional: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    # Without pre_buffer and with a buffer size, column chunks are read as a stream
    # instead of whole, which keeps memory small for files with one huge row group.
    with (
        _opened(path) as source,
        pq.ParquetFile(source, pre_buffer=False, buffer_size=PARQUET_BUFFER_BYTES) as file,
    ):
        present = _present(file.schema_arrow.names, columns, optional, path)
        metadata = file.metadata
        sizes = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        row = max((group.total_byte_size // max(group.num_rows, 1) for group in sizes), default=1)
        yield from file.iter_batches(batch_size=_batch_rows(row), columns=present)


def _ipc_batches(
    path: AnyFile, columns: Sequence[str] | None, optional: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    with _open_ipc(path) as reader:
        present = _present(reader.schema.names, columns, optional, path)
        for batch in _whole_batches(reader):
            chosen = batch if present is None else batch.select(present)
            chosen.validate(full=True)
            size = _batch_rows(chosen.nbytes // max(chosen.num_rows, 1))
            for start in range(0, chosen.num_rows, size):
                yield chosen.slice(start, size)


@contextmanager
def _opened(path: AnyFile) -> Iterator[Any]:
    """The path itself, which Arrow reads by its own means, or the stream of an object.

    That is fetched in small pieces, as columns lie apart, and must be the same at the end of
    the block as at its beginning.
    """
    if isinstance(path, Path):
        yield path
        return
    before = path.stamp()
    with path.open("rb", PARQUET_BUFFER_BYTES) as file:
        yield file
    path.refuse_if_changed(before)


def _whole_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader


@contextmanager
def _open_ipc(path: AnyFile) -> Iterator[Any]:
    """A reader of an IPC file (`ARROW1`), or of a stream, as `datasets` keeps its cache."""
    with (
        _opened(path) as source,
        source.open("rb") if isinstance(source, Path) else nullcontext(source) as file,
    ):
        is_file = file.read(len(ARROW_MAGIC)) == ARROW_MAGIC
        if not is_file:
            # Arrow takes the end of the bytes for the end of a stream, wherever it comes.
            file.seek(-4, os.SEEK_END)
            if file.read(4) != bytes(4):
                raise pa.ArrowInvalid("the mark at the end of the stream is missing")
        file.seek(0)
        with (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file) as reader:
            yield reader


def _present(
    names: Sequence[str], columns: Sequence[str] | None, optional: Sequence[str], path: AnyFile
) -> list[str] | None:
    require_columns(names, columns or [], str(path))
    return None if columns is None else wanted_columns(columns, optional, names)


def _batch_rows(row_bytes: int) -> int:
    return min(max(BATCH_BYTES // max(row_bytes, 1), 1), BATCH_ROWS)
