"""The selected documents of one shard, read again from the pool with all their columns.

Belongs here: finding the selected rows in the shard, checking that they are what was
scored, and giving them one Arrow schema. Does not belong here: files and manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.columns import (
    JSON_TEXT,
    clean,
    common_type,
    fits_parquet,
    has_float,
    has_wide_int,
    json_text,
    without_null,
)
from pcorr_assets.filters.pools import Shard, has_schema, iter_rows, iter_tables
from pcorr_assets.text.arrow_files import column_values
from pcorr_assets.text.cleaning import replace_invalid
from pcorr_assets.text.rows import Row, text_of

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

SCORE, CONTAMINATED_BY = "score", "contaminated_by"


def own_column(name: str, names: Iterable[str]) -> str:
    """The name of a column of ours beside these: `score`, else `pcorr_score` and so on.

    Upper and lower case are the same here, as they are to DuckDB and Spark.
    """
    taken = {name.casefold() for name in names}
    while name in taken:
        name = f"pcorr_{name}"
    return name


class SelectedRows:
    """The selected rows of a shard; `documents` as `OpenSelection.documents` gives them.

    `added` are the columns beside the pool's own, by name: the score, and where the selection
    marks documents the benchmarks that each holds text of. Everything is read as a stream, in
    the shard's order. A row whose text is not the one that was scored raises PcorrError.
    """

    def __init__(
        self, shard: Shard, pool: Pool, documents: pa.Table, *, is_marked: bool = False
    ) -> None:
        self._shard = shard
        self._pool = pool
        self._rows = documents["row"].to_numpy()
        own = (SCORE, CONTAMINATED_BY) if is_marked else (SCORE,)
        self.added = {name: documents[name].combine_chunks() for name in own}
        self._hashes = documents["content_sha256"]

    def rows(self) -> Iterator[tuple[list[Row], list[tuple[Any, ...]]]]:
        """Selected rows as dicts with all columns, and of each the values that are `added`."""
        if has_schema(self._shard, self._pool):
            for table, inside in self._chosen_tables():
                yield _to_rows(table), self._values(inside)
            return
        for rows, inside in self._chosen_rows():
            yield rows, self._values(inside)

    def _values(self, inside: slice) -> list[tuple[Any, ...]]:
        columns = (values[inside].to_pylist() for values in self.added.values())
        return list(zip(*columns, strict=True))

    def tables(self) -> Iterator[pa.Table]:
        """Selected rows as Arrow tables of one schema, what is `added` last.

        Parquet and datasets keep their types. JSON Lines are read twice, once to find a
        schema that fits all selected rows; a column whose values have no common type, or one
        that Parquet does not know, becomes JSON text.
        """
        if has_schema(self._shard, self._pool):
            for table, inside in self._chosen_tables():
                yield self._beside(_for_parquet(table), inside)
            return
        schema = self._json_schema()
        for rows, inside in self._chosen_rows():
            yield self._beside(_to_table(rows, schema), inside)

    def _beside(self, table: pa.Table, inside: slice) -> pa.Table:
        names = table.schema.names
        for name, values in self.added.items():
            table = table.append_column(own_column(name, names), values[inside])
        return table

    def _chosen_tables(self) -> Iterator[tuple[pa.Table, slice]]:
        for table, inside, positions in self._select(iter_tables(self._shard, self._pool)):
            chosen = _take(table, positions)
            texts = column_values(chosen[self._pool.text_column])
            self._check(texts, inside)
            yield chosen, inside

    def _chosen_rows(self) -> Iterator[tuple[list[Row], slice]]:
        for rows, inside, positions in self._select(iter_rows(self._shard, self._pool)):
            chosen = [rows[position] for position in positions]
            self._check([row.get(self._pool.text_column) for row in chosen], inside)
            yield [_clean_names(row) for row in chosen], inside

    def _select(self, batches: Iterable[Any]) -> Iterator[tuple[Any, slice, np.ndarray]]:
        """For each batch with selected rows: which of them, and where in the batch."""
        first = 0
        done = 0
        for batch in batches:
            after = first + len(batch)
            stop = int(np.searchsorted(self._rows, after))
            if stop > done:
                yield batch, slice(done, stop), self._rows[done:stop] - first
            first, done = after, stop
            if done == len(self._rows):
                return
        raise PcorrError(
            f"{self._shard.where}: it has {first:,} rows now, but row {self._rows[-1]:,} was "
            "selected: it was changed after it was scored; score the shard again"
        )

    def _check(self, texts: list[Any], inside: slice) -> None:
        expected = self._hashes[inside].to_pylist()
        for offset, (text, content_sha256) in enumerate(zip(texts, expected, strict=True)):
            found = hashlib.sha256(replace_invalid(text_of(text) or "")[1]).hexdigest()
            if found != content_sha256:
                row = int(self._rows[inside][offset])
                raise PcorrError(
                    f"{self._shard.where}, row {row:,}: the text is not the one that was scored: "
                    "the pool was changed; score the shard again"
                )

    def _json_schema(self) -> pa.Schema:
        fields: dict[str, pa.DataType] = {}
        wide: set[str] = set()
        for rows, _ in self.rows():
            for name in dict.fromkeys(key for row in rows for key in row):
                values = [row.get(name) for row in rows]
                fields[name] = common_type(values, fields.get(name))
                if name not in wide and any(map(has_wide_int, values)):
                    wide.add(name)
        for name in wide:
            if has_float(fields[name]):
                fields[name] = JSON_TEXT
        return pa.schema([(name, without_null(kind)) for name, kind in fields.items()])


def _clean_names(row: Row) -> Row:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return {replace_invalid(name)[0]: value for name, value in row.items()}
    return row


def _take(table: pa.Table, positions: np.ndarray) -> pa.Table:
    try:
        return table.take(pa.array(positions))
    except pa.ArrowNotImplementedError:  # string views and run-end encoded columns
        runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
        return pa.concat_tables([table.slice(int(run[0]), len(run)) for run in runs])


def _for_parquet(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if not fits_parquet(field.type):
            values = column_values(table.column(index))
            texts = pa.array([json_text(value) for value in values], JSON_TEXT)
            table = table.set_column(index, field.name, texts)
    return table


def _to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.type == JSON_TEXT:
            values = [json_text(value) for value in values]
        columns.append(pa.array([clean(value) for value in values], field.type))
    return pa.table(columns, schema=schema)


def _to_rows(table: pa.Table) -> list[Row]:
    names = table.schema.names
    columns = [column_values(table[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
