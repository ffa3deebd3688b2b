"""How DuckDB sees the warehouse: one view a table, over its Parquet files.

Belongs here: the SQL of the views, the in-memory connection, and the file
`pcorr.duckdb`. Does not belong here: writing rows, and queries that compute anything.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.warehouse.files import atomic_path, move_into_place, scratch_folder, write_text
from pcorr_assets.warehouse.parquet_files import open_parquet, write_parquet
from pcorr_assets.warehouse.registry import TABLES, Table

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

SCHEMA_FILE = "_schema.parquet"
DATABASE = "pcorr.duckdb"

# Every DuckDB from this one on opens a file of it; else only the release that wrote it and
# later ones would.
STORAGE_VERSION = "v1.2.0"

SCRATCH = ".views-"

# Columns with paths below the home, and what those paths are within it.
_BELOW_HOME = {"model_path": "filters/[^/]+/[^/]+/[^/]+"}

# What is asked about the file is asked by a process of its own: closing a file lets go of
# every lock that the closing process has on it, DuckDB's included.
_IS_FREE = (
    "import fcntl, sys; file = open(sys.argv[1], 'r+b'); "
    "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
)
# DuckDB checks the blocks of a file that holds nothing but views as it opens it.
_READS_WELL = """
import duckdb, sys
try:
    with duckdb.connect() as connection:
        path = sys.argv[1].replace("'", "''")
        connection.execute(f"ATTACH '{path}' AS looked_at (READ_ONLY)")
except duckdb.IOException as error:
    sys.exit("lock" not in str(error))
"""
_seen_whole: set[tuple[int, int]] = set()


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
    columns = ", ".join(_shown(name, root.parent) for name in table.schema.names)
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


def _shown(column: str, home: Path) -> str:
    """A column as the view has it; what lies below the home is found where the home is now."""
    inside = _BELOW_HOME.get(column)
    if inside is None:
        return f'"{column}"'
    here = sql_literal(str(home).replace("\\", "\\\\") + "/\\1")
    return f'''regexp_replace("{column}", '^.*/({inside})$', {here}) AS "{column}"'''


def sql_literal(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def glob_literal(path: Path) -> str:
    """`path` as a glob that matches nothing but itself."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a type that the registry uses."""
    names = {pa.string(): "VARCHAR", pa.int32(): "INTEGER", pa.int64(): "BIGINT"}
    return {**names, pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN", pa.binary(): "BLOB"}[kind]


def ensure_layout(home: Path, *, with_database: bool = True) -> None:
    """Write the zero-row schema files and, if a view would change, `pcorr.duckdb`.

    Does nothing when all is there already, which is the usual case. What is damaged is
    written again, with a warning.
    """
    for table in TABLES.values():
        path = home / "warehouse" / table.name / SCHEMA_FILE
        if not _has_schema(path, table.schema):
            with atomic_path(path) as temporary:
                write_parquet(temporary, table.schema.empty_table())
    if with_database:
        _refresh_database(home)


def follow_home(home: Path) -> None:
    """Renew `pcorr.duckdb` if it was made where the home lay before, or by another version."""
    note = home / "warehouse" / "views.sql"
    if (home / DATABASE).is_file() and _text(note) != _statements(home):
        _refresh_database(home)


def _statements(home: Path) -> str:
    return "\n".join([f"-- storage {STORAGE_VERSION}", *view_statements(home)])


def _has_schema(path: Path, schema: pa.Schema) -> bool:
    try:
        with open_parquet(path) as file:
            return file.schema_arrow.equals(schema)
    except FileNotFoundError:
        return False
    except DamagedFileError as error:
        logger.warning("%s is damaged (%s) and is written again", path, error.reason)
        return False


def _refresh_database(home: Path) -> None:
    """Replace `pcorr.duckdb` if its views are not those of today; never fail a run."""
    import duckdb

    database = home / DATABASE
    note = home / "warehouse" / "views.sql"
    statements = _statements(home)
    if database.is_file() and note.is_file() and _text(note) == statements:
        if _is_whole(database):
            return
        logger.warning("%s is damaged and is written again", database)
    if database.is_file() and _in_use(database):
        logger.warning(
            "%s is held open, or has a write-ahead log (%s.wal): its views are renewed at a later "
            "run. If nobody has it open, open it once with duckdb and close it again.",
            database,
            database.name,
        )
        return
    try:
        with scratch_folder(home, SCRATCH) as scratch:
            made = scratch / DATABASE
            _make_database(made, view_statements(home))
            move_into_place(made, database)
            _seen_whole.add(_identity(database))
        write_text(note, statements)
    except (OSError, PcorrError, duckdb.Error) as error:
        logger.warning("%s could not be renewed (%s): a later run tries again", database, error)


def _make_database(path: Path, statements: list[str]) -> None:
    """Let DuckDB make a file of views; it wants to do so itself.

    After a `?` in a path it looks for options and finds no place for its log, though it reads
    such files well: there the file is made elsewhere and copied.
    """
    import duckdb

    with tempfile.TemporaryDirectory() as elsewhere:
        made = Path(elsewhere) / path.name if "?" in str(path) else path
        with duckdb.connect() as connection:
            attached = f"{sql_literal(str(made))} AS pcorr (STORAGE_VERSION '{STORAGE_VERSION}')"
            connection.execute(f"ATTACH {attached}; USE pcorr")
            for statement in statements:
                connection.execute(statement)
            # Closing alone would keep silent about views that the disk had no room for.
            connection.execute("USE memory; DETACH pcorr")
        if made != path:
            shutil.copyfile(made, path)


def _text(note: Path) -> str:
    return note.read_text(encoding="utf-8", errors="replace") if note.is_file() else ""


def _is_whole(database: Path) -> bool:
    """As `database_is_whole`, but each process looks once, and not at what it wrote."""
    if _identity(database) in _seen_whole:
        return True
    if not database_is_whole(database):
        return False
    _seen_whole.add(_identity(database))
    return True


def database_is_whole(database: Path) -> bool:
    """Can DuckDB read all of a file of views? One that somebody has open counts as whole."""
    return _asks_well(_READS_WELL, database)


def _identity(database: Path) -> tuple[int, int]:
    status = database.stat()
    return status.st_dev, status.st_ino


def _in_use(database: Path) -> bool:
    if database.with_name(f"{database.name}.wal").exists():
        return True
    return not _asks_well(_IS_FREE, database)


def _asks_well(program: str, database: Path) -> bool:
    """Whether a program that looks at the file ends well, in a process of its own."""
    probe = [sys.executable, "-I", "-c", program, str(database)]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0
