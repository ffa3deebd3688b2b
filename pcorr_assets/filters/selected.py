"""The selected documents of one shard, read again from the pool with all their columns.

Belongs here: finding the selected rows in the shard, checking that they are what was
scored, and giving them one Arrow schema. Does not belong here: files and manifests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.pools import Shard, has_schema, iter_rows, iter_tables
from pcorr_assets.text.cleaning import replace_invalid
from pcorr_assets.text.files import Row, column_values

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

SCORE = "score"


def score_column(names: Iterable[str]) -> str:
    """The name of the score beside these columns: `score`, else `pcorr_score` and so on."""
    taken = set(names)
    name = SCORE
    while name in taken:
        name = f"pcorr_{name}"
    return name


class SelectedRows:
    """The selected rows of a shard; `documents` as `OpenSelection.documents` gives them.

    Everything is read as a stream, in the shard's order. A row whose text is not the one
    that was scored raises PcorrError.
    """

    def __init__(self, shard: Shard, pool: Pool, documents: pa.Table) -> None:
        self._shard = shard
        self._pool = pool
        self._rows = documents["row"].to_numpy()
        self._scores = documents["score"].to_numpy()
        self._hashes = documents["content_sha256"]

    def rows(self) -> Iterator[tuple[list[Row], list[float]]]:
        """Selected rows as dicts with all columns, and their scores."""
        if has_schema(self._shard):
            for table, _, scores in self._chosen_tables():
                yield _to_rows(table, self._shard.where), scores.tolist()
            return
        for rows, chosen, scores in self._chosen_rows():
            self._check([row.get(self._pool.text_column) for row in rows], chosen)
            yield rows, scores.tolist()

    def tables(self) -> Iterator[pa.Table]:
        """Selected rows as Arrow tables of one schema, the score last.

        Parquet and datasets keep their types. JSON Lines are read twice, once to find a
        schema that fits all selected rows; a column whose values have no common type
        becomes JSON text.
        """
        if has_schema(self._shard):
            for table, _, scores in self._chosen_tables():
                yield table.append_column(
                    score_column(table.schema.names), pa.array(scores, pa.float64())
                )
            return
        schema = self._json_schema()
        name = score_column(schema.names)
        for rows, scores in self.rows():
            table = _to_table(rows, schema)
            yield table.append_column(name, pa.array(scores, pa.float64()))

    def _chosen_tables(self) -> Iterator[tuple[pa.Table, slice, np.ndarray]]:
        for table, inside, positions in self._select(iter_tables(self._shard, self._pool)):
            chosen = table.take(pa.array(positions))
            texts = column_values(chosen[self._pool.text_column], self._shard.where)
            self._check(texts, inside)
            yield chosen, inside, self._scores[inside]

    def _chosen_rows(self) -> Iterator[tuple[list[Row], slice, np.ndarray]]:
        for rows, inside, positions in self._select(iter_rows(self._shard, self._pool)):
            yield [rows[position] for position in positions], inside, self._scores[inside]

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

    def _check(self, texts: list[str | None], inside: slice) -> None:
        expected = self._hashes[inside].to_pylist()
        for offset, (text, content_sha256) in enumerate(zip(texts, expected, strict=True)):
            found = hashlib.sha256(replace_invalid(text or "")[1]).hexdigest()
            if found != content_sha256:
                row = int(self._rows[inside][offset])
                raise PcorrError(
                    f"{self._shard.where}, row {row:,}: the text is not the one that was scored: "
                    "the pool was changed; score the shard again"
                )

    def _json_schema(self) -> pa.Schema:
        fields: dict[str, pa.DataType] = {}
        for rows, _ in self.rows():
            for name in dict.fromkeys(key for row in rows for key in row):
                found = _common_type([row.get(name) for row in rows], fields.get(name))
                fields[name] = found
        return pa.schema([(name, _without_null(kind)) for name, kind in fields.items()])


JSON_TEXT = pa.large_string()


def _common_type(values: list[Any], known: pa.DataType | None) -> pa.DataType:
    """A type for the values and those before; `JSON_TEXT` if there is none."""
    if known == JSON_TEXT:
        return JSON_TEXT
    try:
        found = pa.array([_clean(value) for value in values]).type
        if known is None:
            return found
        schemas = [pa.schema([("x", kind)]) for kind in (known, found)]
        return pa.unify_schemas(schemas, promote_options="permissive").field("x").type
    except (pa.ArrowException, OverflowError):
        return JSON_TEXT


def _without_null(kind: pa.DataType) -> pa.DataType:
    """Columns that were NULL throughout are text; Parquet files of other shards may be."""
    return pa.string() if pa.types.is_null(kind) else kind


def _clean(value: Any) -> Any:
    """The value with lone surrogates replaced, which Arrow cannot hold."""
    if isinstance(value, str):
        return replace_invalid(value)[0]
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {replace_invalid(key)[0]: _clean(item) for key, item in value.items()}
    return value


def _to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.type == JSON_TEXT:
            values = [None if value is None else json.dumps(value) for value in values]
        columns.append(pa.array([_clean(value) for value in values], field.type))
    return pa.table(columns, schema=schema)


def _to_rows(table: pa.Table, where: str) -> list[Row]:
    names = table.schema.names
    columns = [column_values(table[name], f"{where}: column {name!r}") for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
