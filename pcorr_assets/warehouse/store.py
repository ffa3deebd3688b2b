"""Partitions of tables as Parquet files that are written whole or not at all.

Belongs here: where a partition lies, writing it atomically and checked against the
registry, reading it, and the lock that keeps two runs off one partition. Does not
belong here: SQL (see `views`), and what the numbers mean.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.config.keys import from_slug, to_slug
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.warehouse.files import atomic_path, sha256_file
from pcorr_assets.warehouse.locks import partition_lock, waiting_lock
from pcorr_assets.warehouse.parquet_files import (
    SealedWriter,
    naming_damage,
    open_parquet,
    stored_metadata,
)
from pcorr_assets.warehouse.registry import TABLES, Table
from pcorr_assets.warehouse.validation import refuse_values_out_of_range
from pcorr_assets.warehouse.views import ensure_layout

IMPORTED = "imported"


@dataclass(frozen=True)
class WrittenPartition:
    """What a write left behind: `sha256` is the content hash of the file."""

    path: Path
    row_count: int
    byte_count: int
    sha256: str


class Warehouse:
    """The tables under one home folder.

    A partition is named by its keys in the order of `Table.partition_keys`. Imported
    rows of `llms` and `benchmark_errors` stand in partitions `("imported", sample)`,
    which no LLM's own partition can collide with.

    `with_database=False`: writing leaves `pcorr.duckdb` alone. Jobs do, because a cluster
    node may see the home under another path, and needs no DuckDB.
    """

    def __init__(self, home: Path, *, with_database: bool = True) -> None:
        self.home = Path(home).absolute()
        self.root = self.home / "warehouse"
        self._with_database = with_database

    def path(self, table: str, *keys: str) -> Path:
        """`<home>/warehouse/<table>/<slug>[/<slug>].parquet`, whether it exists or not."""
        _check_keys(TABLES[table], keys)
        *folders, last = (to_slug(key) for key in keys)
        return self.root.joinpath(table, *folders, f"{last}.parquet")

    def exists(self, table: str, *keys: str) -> bool:
        """Is that partition there?"""
        return self.path(table, *keys).is_file()

    def partitions(self, table: str) -> list[tuple[str, ...]]:
        """Keys of all partitions that are there, sorted.

        Raises:
            PcorrError: a file among them that no partition is named by.
        """
        folder = self.root / table
        # The folder of a key may end in .parquet, as a target's or an LLM's name may.
        found = (path for path in folder.rglob("*.parquet") if path.is_file())
        return sorted(
            _keys_of(TABLES[table], path, path.relative_to(folder).with_suffix("").parts)
            for path in found
            if not path.name.startswith((".", "_"))
        )

    def read(self, table: str, *keys: str, columns: list[str] | None = None) -> pa.Table:
        """One partition, in the order it was written.

        Raises:
            PcorrError: the partition is not there, or (DamagedFileError) its file is damaged.
        """
        with self.open(table, *keys) as file:
            return file.read(columns=columns)

    def read_all(self, table: str, columns: list[str] | None = None) -> pa.Table:
        """All partitions of a table, one after the other in the order of their keys."""
        names = columns or TABLES[table].schema.names
        schema = pa.schema([TABLES[table].schema.field(name) for name in names])
        parts = [self.read(table, *keys, columns=columns) for keys in self.partitions(table)]
        return pa.concat_tables([schema.empty_table(), *parts])

    def read_sound(self, table: str) -> tuple[pa.Table, dict[tuple[str, ...], DamagedFileError]]:
        """As `read_all`, without the partitions that are damaged: those come second, by keys."""
        parts = [TABLES[table].schema.empty_table()]
        damaged: dict[tuple[str, ...], DamagedFileError] = {}
        for keys in self.partitions(table):
            try:
                parts.append(self.read(table, *keys))
            except DamagedFileError as error:
                damaged[keys] = error
        return pa.concat_tables(parts), damaged

    def metadata(self, table: str, *keys: str) -> dict[str, str]:
        """What the writer of a partition noted beside its rows."""
        with self._naming(table, keys), self._open(table, keys, only_footer=True) as file:
            return stored_metadata(file)

    def row_count(self, table: str, *keys: str) -> int:
        """Rows of a partition, from its footer."""
        with self._open(table, keys, only_footer=True) as file:
            return file.metadata.num_rows

    def written(self, table: str, *keys: str) -> WrittenPartition:
        """A partition that is there, as its writer described it."""
        path = self.path(table, *keys)
        rows = self.row_count(table, *keys)
        return WrittenPartition(path, rows, path.stat().st_size, sha256_file(path))

    @contextmanager
    def open(self, table: str, *keys: str) -> Iterator[pq.ParquetFile]:
        """The partition's file, for reading it row group by row group in the block.

        The whole file is verified first, and each page again as it is read.

        Raises:
            PcorrError: the partition is not there, or (DamagedFileError) its file is damaged,
                even if that is only found by what the block reads.
        """
        with self._open(table, keys) as file, self._naming(table, keys):
            yield file

    def verified(self, table: str, *keys: str) -> Path:
        """The path of a partition whose file was verified, for those who read it themselves.

        Raises:
            PcorrError: as `open`.
        """
        with self.open(table, *keys):
            return self.path(table, *keys)

    def _open(
        self, table: str, keys: tuple[str, ...], *, only_footer: bool = False
    ) -> pq.ParquetFile:
        path = self.path(table, *keys)
        try:
            with self._naming(table, keys):
                return open_parquet(path, only_footer=only_footer)
        except FileNotFoundError:
            raise PcorrError(
                f"{table}: partition {'|'.join(keys)} is not there ({path}). "
                "Materialise the asset that writes it first."
            ) from None

    @contextmanager
    def _naming(self, table: str, keys: tuple[str, ...]) -> Iterator[None]:
        path = self.path(table, *keys)
        try:
            with naming_damage(path):
                yield
        except DamagedFileError as error:
            raise damaged_partition(path, table, keys, error.reason) from None

    def write(
        self,
        table: str,
        keys: tuple[str, ...],
        data: pa.Table,
        metadata: dict[str, str] | None = None,
    ) -> WrittenPartition:
        """Replace one partition by `data`. Writing the same again gives the same file."""
        with self.writer(table, keys) as writer:
            writer.metadata.update(metadata or {})
            writer.write(data)
        return writer.written

    def writer(self, table: str, keys: tuple[str, ...]) -> PartitionWriter:
        """A writer that replaces one partition piece by piece; see `PartitionWriter`."""
        path = self.path(table, *keys)
        ensure_layout(self.home, with_database=self._with_database)
        return PartitionWriter(TABLES[table], keys, path)

    @contextmanager
    def lock(self, table: str, *keys: str, holder: str) -> Iterator[None]:
        """Keep every other run off one partition; `holder` is how the error names this run.

        Raises:
            PcorrError: at once, naming the holder, if another run has the partition.
        """
        with partition_lock(self._lock(table, keys), f"{table} {'|'.join(keys)}", holder):
            yield

    @contextmanager
    def lock_when_free(self, table: str, *keys: str, holder: str) -> Iterator[None]:
        """As `lock`, but wait, however long, until no other run has the partition."""
        what = f"{table} {'|'.join(keys)}"
        with waiting_lock(self._lock(table, keys), what, seconds=math.inf, holder=holder):
            yield

    def _lock(self, table: str, keys: tuple[str, ...]) -> Path:
        path = (self.home / "locks").joinpath(table, *(to_slug(key) for key in keys))
        return path.with_name(f"{path.name}.lock")


def damaged_partition(
    path: Path, table: str, keys: tuple[str, ...], reason: str
) -> DamagedFileError:
    """What is said about the file of a partition that is not as it was written."""
    return DamagedFileError(path, reason, remedy_of_partition(table, keys))


def remedy_of_partition(table: str, keys: tuple[str, ...]) -> str:
    """What to do about a damaged file of a table."""
    stated = TABLES[table].when_damaged if table in TABLES else ""
    return stated or f"Remove it and materialise partition {'|'.join(keys)} of {table} again."


def _keys_of(table: Table, path: Path, slugs: tuple[str, ...]) -> tuple[str, ...]:
    try:
        keys = tuple(from_slug(slug) for slug in slugs)
        _check_keys(table, keys)
    except (PcorrError, TypeError) as error:
        raise PcorrError(
            f"{path} is not a partition that this platform wrote ({error}), but queries would "
            "read its rows as well. Move it out of the warehouse."
        ) from None
    return keys


def _check_keys(table: Table, keys: tuple[str, ...]) -> None:
    imported = len(keys) == 2 and keys[0] == IMPORTED and table.partition_keys == ("llm",)
    if len(keys) != len(table.partition_keys) and not imported:
        raise TypeError(f"{table.name} is found by {table.partition_keys}, not by {keys}")


class PartitionWriter:
    """Writes one partition piece by piece; nothing is seen before the last piece is there.

    A clean exit of the `with` block moves the file into place, an exception leaves the
    old partition. Each `write` makes one row group. `metadata` may be set until the end.
    """

    def __init__(self, table: Table, keys: tuple[str, ...], path: Path) -> None:
        self.table = table
        self.metadata: dict[str, str] = {}
        self.row_count = 0
        self._path = path
        # Rows of a partition must say that they belong to it: swapped keys end here.
        named = zip(table.partition_keys, keys, strict=False)
        self._constants = {name: key for name, key in named if name in table.schema.names}
        if keys[0] == IMPORTED and len(keys) > len(table.partition_keys):
            self._constants = {"source": keys[1]}
        self._written: WrittenPartition | None = None

    def __enter__(self) -> PartitionWriter:
        self._atomic = atomic_path(self._path)
        self._temporary = self._atomic.__enter__()
        try:
            self._parquet = SealedWriter(self._temporary, self.table.schema)
        except BaseException as failure:
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        return self

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows as one row group, cast to the table's schema.

        Raises:
            PcorrError: a missing column, a type that does not fit, NULL, NaN or a value
                out of the range that the registry states, or a foreign key.
        """
        rows = _conform(self.table, pa.table(data) if isinstance(data, pa.RecordBatch) else data)
        for column, key in self._constants.items():
            _check_constant(self.table, rows, column, key)
        refuse_values_out_of_range(self.table, rows)
        if rows.num_rows:
            self._parquet.write_table(rows)
            self.row_count += rows.num_rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._parquet.metadata = self.metadata
                sha256 = self._parquet.close()
                size = self._temporary.stat().st_size
                self._written = WrittenPartition(self._path, self.row_count, size, sha256)
            else:
                self._parquet.abandon()
        except BaseException as failure:
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._atomic.__exit__(kind, error, trace)

    @property
    def written(self) -> WrittenPartition:
        """The finished partition; only after a clean exit."""
        if self._written is None:
            raise RuntimeError("the partition was not written")
        return self._written


def _conform(table: Table, data: pa.Table) -> pa.Table:
    missing = [name for name in table.schema.names if name not in data.schema.names]
    unknown = [name for name in data.schema.names if name not in table.schema.names]
    if missing or unknown:
        raise PcorrError(
            f"{table.name}: these rows lack the columns {missing} and have the unknown "
            f"columns {unknown}."
        )
    ordered = data.select(table.schema.names)
    for column in table.columns:
        if not column.nullable and ordered[column.name].null_count:
            raise PcorrError(
                f"{table.name}.{column.name}: {ordered[column.name].null_count} of "
                f"{ordered.num_rows} rows are NULL, which this column may not be."
            )
    try:
        return ordered.cast(table.schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PcorrError(f"{table.name}: the rows do not fit the table's types: {error}") from None


def _check_constant(table: Table, rows: pa.Table, column: str, key: str) -> None:
    foreign = [value for value in rows[column].unique().to_pylist() if value != key]
    if foreign:
        raise PcorrError(
            f"{table.name}: partition {key!r} was given rows of {column} {foreign[:3]}."
        )


def content_hash(*parts: str) -> str:
    """Hexadecimal SHA-256 of texts, each closed off from the next."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.hexdigest()
