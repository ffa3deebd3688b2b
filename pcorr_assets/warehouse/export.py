"""One DuckDB file with the rows of the whole warehouse, to be given to somebody else.

Belongs here: copying every partition into native tables, whole and once, while runs go
on writing. Does not belong here: the file to write (`export_place`), what it says of
itself (`export_readme`), and where the provenance comes from that is handed in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse.export_place import export_place
from pcorr_assets.warehouse.export_readme import comment_statements, own_statements, readme_rows
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets.warehouse.parquet_files import naming_damage, open_verified, stored_metadata
from pcorr_assets.warehouse.registry import TABLES, Table
from pcorr_assets.warehouse.store import IMPORTED, Warehouse, content_hash, damaged_partition
from pcorr_assets.warehouse.views import STORAGE_VERSION, sql_literal, sql_type

if TYPE_CHECKING:
    import duckdb

# Enough to write numbers, and texts of several kB a row in row groups of so many rows.
MEMORY_LIMIT = "1GB"
TEXT_ROW_GROUP = 20_480
BATCH_ROWS = 16_384
# How often partitions that were replaced during the copy are copied again.
ROUNDS = 3

TEXT_COLUMNS = {
    "chunks": ("text",),
    "contaminated_chunks": ("words",),
    "pool_scores": ("shared_words",),
}
OWN_SOURCE = "lm_eval"
_NOTED = ("dtype", "device", "batch_tokens", "overlong")

PartitionName = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class ExportedDatabase:
    """A finished export.

    `row_counts` has every table, empty ones too. `sha256` is the hash of the file, which
    differs from export to export; `inputs_sha256` is the hash of what was copied and
    noted: equal inputs give an equal one. `unsettled` names partitions that were replaced
    once more after they were copied, so that the file holds the version before.
    """

    path: Path
    row_counts: dict[str, int]
    byte_count: int
    sha256: str
    inputs_sha256: str
    unsettled: tuple[str, ...] = ()


@dataclass(frozen=True)
class CopiedPartition:
    """One partition as it was copied; `stamp` tells its file from a newer one."""

    rows: int
    byte_count: int
    sha256: str
    written_at: datetime
    notes: Mapping[str, str]
    stamp: tuple[int, int, int]


def export_database(
    home: Path | str,
    path: Path | str,
    *,
    include_text: bool = False,
    provenance: Mapping[str, Mapping[str, str]],
    holder: str = "another export",
) -> ExportedDatabase:
    """Copy all tables of the warehouse of `home` into one native DuckDB file at `path`.

    The text of the chunks stays out unless `include_text`. `provenance` is
    `{section: {name: value}}` for the table README of the file (see
    `steps.sharing.provenance`); nothing in it is looked at. `holder` is how another export
    to the same path is told who is at it.

    The file appears when it is complete, in the place of an older one; whoever has that
    open goes on reading it. Each partition is read through one open file, so it is whole
    even if a run replaces it meanwhile; it is then copied again. Tables that nothing was
    written to are there and empty. Memory is bounded (`MEMORY_LIMIT` and one batch).

    Raises:
        PcorrError: there is no warehouse under `home`; a partition is damaged; or what
            `export_place` refuses.
    """
    wh, path = Warehouse(Path(home)), Path(path).absolute()
    if not wh.root.is_dir():
        raise PcorrError(
            f"{wh.home} holds no warehouse, so there is nothing to export. Give the folder that "
            "`home` names in pcorr.yaml, or materialise something into it first."
        )
    with export_place(path, holder) as temporary:
        copy = _Copy(wh, include_text)
        with closing(_create(temporary, include_text)) as connection:
            copy.tables(connection)
            copy.partitions(connection)
            _describe(connection, copy, provenance)
            # Moves everything into the file; it has no write-ahead log.
            connection.execute("USE memory; DETACH export;")
        size, sha256 = temporary.stat().st_size, sha256_file(temporary)
    return ExportedDatabase(
        path, copy.row_counts, size, sha256, copy.inputs_sha256(provenance), copy.unsettled
    )


def _create(temporary: Path, include_text: bool) -> duckdb.DuckDBPyConnection:
    import duckdb

    options = {
        "memory_limit": MEMORY_LIMIT,
        "threads": 2,
        "preserve_insertion_order": True,
        # Nothing here sorts or joins; a spill folder in the working directory would be a stray.
        "temp_directory": "",
    }
    row_group = f", ROW_GROUP_SIZE {TEXT_ROW_GROUP}" if include_text else ""
    connection = duckdb.connect(":memory:", config=options)
    try:
        connection.execute(
            f"ATTACH {sql_literal(str(temporary))} AS export "
            f"(STORAGE_VERSION '{STORAGE_VERSION}', RECOVERY_MODE NO_WAL_WRITES{row_group}); "
            "USE export;"
        )
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass
class _Copy:
    """The copy under way: what of each partition is in the file."""

    wh: Warehouse
    include_text: bool
    copied: dict[PartitionName, CopiedPartition] = field(default_factory=dict)
    unsettled: tuple[str, ...] = ()

    @property
    def row_counts(self) -> dict[str, int]:
        """Rows by table."""
        counts = dict.fromkeys(TABLES, 0)
        for (table, _), part in self.copied.items():
            counts[table] += part.rows
        return counts

    def columns(self, table: Table) -> list[str]:
        """The columns of a table that are exported."""
        left_out = () if self.include_text else TEXT_COLUMNS.get(table.name, ())
        return [name for name in table.schema.names if name not in left_out]

    def tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the tables, described column by column."""
        for table in TABLES.values():
            names = self.columns(table)
            typed = ", ".join(f'"{n}" {sql_type(table.schema.field(n).type)}' for n in names)
            connection.execute(f'CREATE TABLE "{table.name}" ({typed})')
            for statement in comment_statements(table, names):
                connection.execute(statement)

    def partitions(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Copy all partitions, and those again that were replaced meanwhile."""
        for _ in range(ROUNDS):
            changed, gone = self._differences()
            if not changed and not gone:
                return
            for name in [*gone, *changed]:
                if self.copied.pop(name, None) is not None:
                    _delete(connection, *name)
            with Progress("export", total=len(changed), unit="partitions") as progress:
                for name in changed:
                    part = self._copy(connection, *name)
                    if part is not None:
                        self.copied[name] = part
                    progress.update()
        changed, gone = self._differences()
        self.unsettled = tuple(f"{table} {'|'.join(keys)}" for table, keys in (*changed, *gone))

    def _differences(self) -> tuple[list[PartitionName], list[PartitionName]]:
        """Partitions that are not copied as they are now, and copied ones that are gone."""
        present = {
            (table, keys): _stamp_at(self.wh.path(table, *keys))
            for table in TABLES
            for keys in self.wh.partitions(table)
        }
        changed = [
            name
            for name, stamp in present.items()
            if stamp and (name not in self.copied or self.copied[name].stamp != stamp)
        ]
        return changed, [name for name in self.copied if not present.get(name)]

    def _copy(
        self, connection: duckdb.DuckDBPyConnection, table: str, keys: tuple[str, ...]
    ) -> CopiedPartition | None:
        """Copy one partition; None if it is gone by now."""
        import duckdb

        path = self.wh.path(table, *keys)
        try:
            with path.open("rb") as file, naming_damage(path):
                return _copy_file(connection, TABLES[table], self.columns(TABLES[table]), file)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            raise damaged_partition(path, table, keys, error.reason) from None
        except duckdb.InvalidInputException as error:
            reason = str(error).partition("\n")[0]
            raise damaged_partition(path, table, keys, reason) from None

    def inputs_sha256(self, provenance: Mapping[str, Mapping[str, str]]) -> str:
        """Hash of all that decides what is in the file, apart from the time it was made."""
        parts = [
            f"{table}|{'|'.join(keys)}|{part.sha256}"
            for (table, keys), part in sorted(self.copied.items())
        ]
        noted = json.dumps({name: dict(rows) for name, rows in provenance.items()}, sort_keys=True)
        return content_hash(STORAGE_VERSION, str(self.include_text), noted, *parts)


def _copy_file(
    connection: duckdb.DuckDBPyConnection, table: Table, names: list[str], file: BufferedReader
) -> CopiedPartition:
    """Append the rows of an open Parquet file; columns it lacks (an older home) are NULL."""
    status = os.fstat(file.fileno())
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with open_verified(file) as parquet:
        schema = pa.schema([f for f in parquet.schema_arrow if f.name in names])
        quoted = ", ".join(f'"{name}"' for name in schema.names)
        batches = parquet.iter_batches(batch_size=BATCH_ROWS, columns=schema.names)
        connection.register("batches", pa.RecordBatchReader.from_batches(schema, batches))
        try:
            connection.execute(
                f'INSERT INTO "{table.name}" ({quoted}) SELECT {quoted} FROM batches'
            )
        finally:
            connection.unregister("batches")
        notes = stored_metadata(parquet)
        rows = parquet.metadata.num_rows
    return CopiedPartition(
        rows=rows,
        byte_count=status.st_size,
        sha256=sha256,
        written_at=datetime.fromtimestamp(status.st_mtime, UTC),
        # Hashes and how it was computed: never words of texts, nor paths of this machine.
        notes={
            key: value
            for key, value in sorted(notes.items())
            if key.endswith(("sha256", "_sha")) or key in _NOTED
        },
        stamp=_stamp(status),
    )


def _delete(connection: duckdb.DuckDBPyConnection, table: str, keys: tuple[str, ...]) -> None:
    """Remove the rows of a partition that is about to be copied again."""
    where = dict(zip(TABLES[table].partition_keys, keys, strict=False))
    if "source" in TABLES[table].schema.names and TABLES[table].partition_keys == ("llm",):
        is_import = len(keys) == 2 and keys[0] == IMPORTED
        where = {"source": keys[1]} if is_import else {**where, "source": OWN_SOURCE}
    condition = " AND ".join(f'"{name}" = ?' for name in where)
    connection.execute(f'DELETE FROM "{table}" WHERE {condition}', list(where.values()))


def _stamp_at(path: Path) -> tuple[int, int, int] | None:
    try:
        return _stamp(path.stat())
    except FileNotFoundError:
        return None


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _describe(
    connection: duckdb.DuckDBPyConnection,
    copy: _Copy,
    provenance: Mapping[str, Mapping[str, str]],
) -> None:
    """What the file says of itself: the files it was made of, views, and README."""
    connection.execute(
        "CREATE TABLE partition_files (table_name VARCHAR, partition_key VARCHAR, "
        "row_count BIGINT, byte_count BIGINT, written_at TIMESTAMP, sha256 VARCHAR, "
        "notes VARCHAR); CREATE TABLE README (section VARCHAR, name VARCHAR, value VARCHAR);"
    )
    connection.register("described", pa.Table.from_pylist([*_file_rows(copy)], _FILES_SCHEMA))
    connection.execute("INSERT INTO partition_files SELECT * FROM described")
    connection.unregister("described")
    for statement in own_statements():
        connection.execute(statement)
    rows = readme_rows(
        connection,
        provenance,
        include_text=copy.include_text,
        storage_version=STORAGE_VERSION,
        unsettled=copy.unsettled,
    )
    connection.executemany("INSERT INTO README VALUES (?, ?, ?)", rows)


_FILES_SCHEMA = pa.schema(
    [
        ("table_name", pa.string()),
        ("partition_key", pa.string()),
        ("row_count", pa.int64()),
        ("byte_count", pa.int64()),
        ("written_at", pa.timestamp("us")),
        ("sha256", pa.string()),
        ("notes", pa.string()),
    ]
)


def _file_rows(copy: _Copy) -> Iterator[dict[str, object]]:
    for (table, keys), part in sorted(copy.copied.items()):
        yield {
            "table_name": table,
            "partition_key": "|".join(keys),
            "row_count": part.rows,
            "byte_count": part.byte_count,
            "written_at": part.written_at.replace(tzinfo=None),
            "sha256": part.sha256,
            "notes": json.dumps(dict(part.notes)),
        }
