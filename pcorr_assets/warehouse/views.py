"""How DuckDB sees the warehouse: one view a table, over its Parquet files.

Belongs here: the SQL of the views, the in-memory connection, and the file
`pcorr.duckdb`. Does not belong here: writing rows, and queries that compute anything.
"""

from __future__ import annotations

import logging
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.files import atomic_path, write_text
from pcorr_assets.warehouse.registry import TABLES, Table

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

SCHEMA_FILE = "_schema.parquet"
DATABASE = "pcorr.duckdb"

# Every DuckDB from this one on opens a file of it; else only the release that wrote it and
# later ones would.
STORAGE_VERSION = "v1.2.0"

# Whether another process holds the file is asked from a process of its own: closing a
# file lets go of every lock that the closing process has on it, DuckDB's included.
_IS_HELD_OPEN = (
    "import fcntl, sys; file = open(sys.argv[1], 'r+b'); "
    "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
)


def connect(home: Path | str) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with one view for each table of the warehouse.

    Nothing can lock it and it locks nothing; it sees every partition as soon as it is
    there. Example: `connect("data").sql("SELECT * FROM verdicts")`.

    Raises:
        PcorrError: there is no warehouse under `home`.
    """
    import duckdb

    home = Path(home).absolute()
    if not (home / "warehouse").is_dir():
        raise PcorrError(
            f"{home} holds no warehouse. Give the folder that `home` names in pcorr.yaml, "
            "or materialise something into it first."
        )
    connection = duckdb.connect(":memory:")
    for statement in view_statements(home):
        connection.execute(statement)
    return connection


def view_statements(home: Path) -> list[str]:
    """The SQL that makes the views over the warehouse of `home`."""
    return [_view(home / "warehouse", table) for table in TABLES.values()]


def _view(root: Path, table: Table) -> str:
    columns = ", ".join(f'"{name}"' for name in table.schema.names)
    if (root / table.name / SCHEMA_FILE).is_file():
        pattern = glob_literal(root / table.name) + "/**/*.parquet"
        # Hive partitioning off: a home like `run=3/data` must not add a column `run`.
        source = (
            f"read_parquet({sql_literal(pattern)}, union_by_name=true, hive_partitioning=false)"
        )
    else:  # a table that this home has never written, opened by somebody who may only read
        typed = ", ".join(f'NULL::{sql_type(c.type)} AS "{c.name}"' for c in table.columns)
        source = f"(SELECT {typed} WHERE false)"
    return f'CREATE OR REPLACE VIEW "{table.name}" AS SELECT {columns} FROM {source};'


def sql_literal(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def glob_literal(path: Path) -> str:
    """`path` as a glob that matches nothing but itself."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a type that the registry uses."""
    names = {pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT"}
    return {**names, pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}[kind]


def ensure_layout(home: Path, *, with_database: bool = True) -> None:
    """Write the zero-row schema files and, if a view would change, `pcorr.duckdb`.

    Does nothing when all is there already, which is the usual case.
    """
    for table in TABLES.values():
        path = home / "warehouse" / table.name / SCHEMA_FILE
        if path.is_file() and pq.read_schema(path).equals(table.schema):
            continue
        with atomic_path(path) as temporary:
            pq.write_table(table.schema.empty_table(), temporary)
    if with_database:
        _refresh_database(home)


def _refresh_database(home: Path) -> None:
    """Replace `pcorr.duckdb` if its views are not those of today; never fail a run."""
    import duckdb

    database = home / DATABASE
    note = home / "warehouse" / "views.sql"
    statements = "\n".join([f"-- storage {STORAGE_VERSION}", *view_statements(home)])
    if database.is_file() and note.is_file() and note.read_text(encoding="utf-8") == statements:
        return
    if database.is_file() and _in_use(database):
        logger.warning(
            "%s is held open, or has a write-ahead log (%s.wal): its views are renewed at a later "
            "run. If nobody has it open, open it once with duckdb and close it again.",
            database,
            database.name,
        )
        return
    # DuckDB wants to make the file itself, so the temporary one is not opened before it.
    temporary = home / f".{DATABASE}.{secrets.token_hex(8)}"
    try:
        with duckdb.connect() as connection:
            attached = (
                f"{sql_literal(str(temporary))} AS pcorr (STORAGE_VERSION '{STORAGE_VERSION}')"
            )
            connection.execute(f"ATTACH {attached}; USE pcorr")
            for statement in view_statements(home):
                connection.execute(statement)
        temporary.replace(database)
        write_text(note, statements)
    except (OSError, duckdb.Error) as error:
        logger.warning("%s could not be renewed (%s): a later run tries again", database, error)
    finally:
        temporary.unlink(missing_ok=True)


def _in_use(database: Path) -> bool:
    if database.with_name(f"{database.name}.wal").exists():
        return True
    probe = [sys.executable, "-I", "-c", _IS_HELD_OPEN, str(database)]
    return subprocess.run(probe, capture_output=True, check=False).returncode != 0
