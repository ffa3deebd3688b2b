"""What DuckDB sees: views over the files, in memory and in pcorr.duckdb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import TABLES, Warehouse, connect
from pcorr_assets.warehouse.views import STORAGE_VERSION, ensure_layout, view_statements

VECTOR = pa.table(
    {"target": ["t"], "source": ["s"], "llm": ["a/b"], "family": ["a"], "error": [0.5]}
)


def count(connection: duckdb.DuckDBPyConnection, table: str = "error_vectors") -> int:
    row = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "name", ["plain", "we'ird [x] *", "run=3", "a;--b", "{a,b}", 'qu"ote', "what?"]
)
def test_any_home_can_be_queried_both_ways(tmp_path: Path, name: str) -> None:
    home = tmp_path / name / "home"
    Warehouse(home).write("error_vectors", ("t",), VECTOR)
    with connect(home) as connection:
        assert count(connection) == 1
    with duckdb.connect(str(home / "pcorr.duckdb"), read_only=True) as connection:
        assert count(connection) == 1
        assert connection.execute("SELECT * FROM error_vectors").fetchall() == [
            ("t", "s", "a/b", "a", 0.5)
        ]


def test_every_table_can_be_queried_before_its_first_partition(tmp_path: Path) -> None:
    Warehouse(tmp_path).write("error_vectors", ("t",), VECTOR)
    with connect(tmp_path) as connection:
        for name, table in TABLES.items():
            relation = connection.sql(f'SELECT * FROM "{name}"')
            assert relation.columns == table.schema.names
            if name != "error_vectors":
                assert count(connection, name) == 0


def test_a_new_partition_is_seen_by_an_open_connection(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.write("error_vectors", ("t",), VECTOR)
    with connect(tmp_path) as connection:
        warehouse.write("error_vectors", ("u",), VECTOR.set_column(0, "target", pa.array(["u"])))
        assert count(connection) == 2


def test_a_home_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PcorrError, match="holds no warehouse"):
        connect(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_an_older_home_lacks_a_column_and_still_answers(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    path = warehouse.write("error_vectors", ("t",), VECTOR).path
    pq.write_table(VECTOR.drop_columns(["family"]), path)
    with connect(tmp_path) as connection:
        assert connection.execute("SELECT family, error FROM error_vectors").fetchall() == [
            (None, 0.5)
        ]


def test_a_home_that_lacks_a_table_is_only_read(tmp_path: Path) -> None:
    Warehouse(tmp_path).write("error_vectors", ("t",), VECTOR)
    shutil.rmtree(tmp_path / "warehouse" / "selections")
    with connect(tmp_path) as connection:
        relation = connection.sql("SELECT * FROM selections")
        assert relation.columns == TABLES["selections"].schema.names
        assert count(connection, "selections") == 0
    assert not (tmp_path / "warehouse" / "selections").exists()


def test_the_database_is_left_alone_unless_a_view_changes(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.write("error_vectors", ("t",), VECTOR)
    before = (tmp_path / "pcorr.duckdb").stat()
    warehouse.write("error_vectors", ("t",), VECTOR)
    after = (tmp_path / "pcorr.duckdb").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_home_that_moved_gets_new_views(tmp_path: Path) -> None:
    Warehouse(tmp_path / "old").write("error_vectors", ("t",), VECTOR)
    os.rename(tmp_path / "old", tmp_path / "new")
    Warehouse(tmp_path / "new").write("error_vectors", ("t",), VECTOR)
    with duckdb.connect(str(tmp_path / "new" / "pcorr.duckdb"), read_only=True) as connection:
        assert count(connection) == 1


HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read-only")
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("mode", ["read-only", "read-write"])
def test_the_refresh_waits_until_nobody_holds_the_database(tmp_path: Path, mode: str) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.write("error_vectors", ("t",), VECTOR)
    database = tmp_path / "pcorr.duckdb"
    (tmp_path / "warehouse" / "views.sql").write_text("views of an older version")
    inode = database.stat().st_ino
    command = [sys.executable, "-c", HOLD, str(database), mode]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        warehouse.write("error_vectors", ("t",), VECTOR)
        assert database.stat().st_ino == inode
        holder.communicate("\n")
    warehouse.write("error_vectors", ("t",), VECTOR)
    assert database.stat().st_ino != inode
    written = (tmp_path / "warehouse" / "views.sql").read_text()
    assert written == "\n".join([f"-- storage {STORAGE_VERSION}", *view_statements(tmp_path)])


def test_a_live_write_ahead_log_defers_the_refresh(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    warehouse.write("error_vectors", ("t",), VECTOR)
    (tmp_path / "warehouse" / "views.sql").unlink()
    (tmp_path / "pcorr.duckdb.wal").write_bytes(b"")
    inode = (tmp_path / "pcorr.duckdb").stat().st_ino
    warehouse.write("error_vectors", ("t",), VECTOR)
    assert (tmp_path / "pcorr.duckdb").stat().st_ino == inode


def test_older_releases_of_duckdb_can_open_the_database(tmp_path: Path) -> None:
    Warehouse(tmp_path).write("error_vectors", ("t",), VECTOR)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'pcorr.duckdb'}' AS x (READ_ONLY)")
        ((tags,),) = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'x'"
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM x.error_vectors").fetchall() == [(1,)]
    assert tags["storage_version"].startswith("v1.2.0")


def test_views_that_there_was_no_room_for_are_made_by_the_next_run(tmp_path: Path) -> None:
    """DuckDB keeps silent when it closes a file that the disk had no room for."""
    program = (
        "import resource, sys; from pathlib import Path; "
        "from pcorr_assets.warehouse.views import ensure_layout; "
        "ensure_layout(Path(sys.argv[1]), with_database=False); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY)); "
        "ensure_layout(Path(sys.argv[1]))"
    )
    full = tmp_path / "whole"
    ensure_layout(full)
    size = (full / "pcorr.duckdb").stat().st_size
    for share in (0.1, 0.3, 0.5, 0.9):
        home = tmp_path / str(share)
        room = str(int(share * size))
        ended = subprocess.run(
            [sys.executable, "-c", program, str(home), room], capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        assert "could not be renewed" in ended.stderr
        assert not (home / "pcorr.duckdb").exists()
        ensure_layout(home)
        with duckdb.connect(str(home / "pcorr.duckdb"), read_only=True) as connection:
            found = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal")
            assert {name for (name,) in found.fetchall()} == set(TABLES)
