"""One query over the warehouse from a shell, which cannot change anything by accident.

Belongs here: what counts as a query, running it, its rows as text. Does not belong here:
the views (`views`).

What is refused is what writes or reaches out: COPY ... TO, CREATE, ATTACH, INSTALL, SET and
the like. A query may read any file that its user may read: it runs with that user's
rights, in that user's shell.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.views import connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_AT_ONCE = 1000
MAX_TABLE_ROWS = 10_000
WIDEST = 1_000_000

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^()]*\)\s*)?", re.IGNORECASE)


def print_query(home: Path, sql: str, form: str, out: TextIO, *, width: int | None = None) -> None:
    """Write the rows of a query to `out` as a `table` (of `width` characters), csv or json.

    JSON is a list of objects, in which NaN and infinity are null.

    Raises:
        PcorrError: no warehouse under `home`, no UTF-8, not exactly one query, two columns of
            one name (in JSON), or what DuckDB says about it, on one line.
    """
    import duckdb

    _refuse_other_bytes(sql)
    with connect(home) as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        try:
            _refuse_other_statements(connection, sql)
            if form == "table":
                with redirect_stdout(out):
                    rows = connection.sql(sql)
                    rows.show(max_rows=MAX_TABLE_ROWS, max_width=width or WIDEST)
            elif form == "csv":
                _write_csv(connection.execute(sql), out)
            else:
                _write_json(connection.execute(sql), out)
        except duckdb.Error as error:
            raise PcorrError(one_line(str(error))) from None


def _refuse_other_bytes(sql: str) -> None:
    """Bytes of a command line that are no UTF-8 arrive here as lone surrogates."""
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        before = error.object[max(0, error.start - 20) : error.start]
        raise PcorrError(f"The query is not UTF-8 after {before!r}: write it in UTF-8.") from None


def _refuse_other_statements(connection: DuckDBPyConnection, sql: str) -> None:
    from duckdb import StatementType

    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise PcorrError(f"expected one query, got {len(statements)} statements")
    kind = statements[0].type
    if kind == StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs what it explains.
        explained = connection.extract_statements(_EXPLAIN.sub("", sql, count=1))
        kind = explained[0].type if len(explained) == 1 else kind
    if kind == StatementType.MULTI:
        raise PcorrError(
            "This PIVOT would first make a type of the values it finds: name them, as in "
            "PIVOT t ON column IN ('a', 'b') USING first(value)."
        )
    if kind != StatementType.SELECT:
        raise PcorrError(
            f"This is no query but {kind.name}: only SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW, "
            "SUMMARIZE and EXPLAIN of them are run here, so that nothing is written by accident. "
            "For anything else: pcorr_assets.warehouse.connect(home) in Python."
        )


def one_line(message: str) -> str:
    """What DuckDB says, without the drawing of the place in the query."""
    said = message.split("\n\nLINE ")[0]
    return " ".join(said.split())


def _fetched(cursor: DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while batch := cursor.fetchmany(ROWS_AT_ONCE):
        yield from batch


def _names(cursor: DuckDBPyConnection) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def _write_csv(cursor: DuckDBPyConnection, out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_names(cursor))
    for row in _fetched(cursor):
        writer.writerow(row)


def _write_json(cursor: DuckDBPyConnection, out: TextIO) -> None:
    names = _names(cursor)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise PcorrError(
            f"JSON has no place for two columns of one name ({', '.join(twice)}): rename them "
            "with AS, or ask for csv"
        )
    before = "["
    for row in _fetched(cursor):
        values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        out.write(f"{before}\n  {json.dumps(values, ensure_ascii=False, default=str)}")
        before = ","
    out.write("[]\n" if before == "[" else "\n]\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
