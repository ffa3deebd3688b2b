"""From the parts of a pass, and from tables that are there, to the tables of a group.

Belongs here: the partitions of `pool_documents` and `pool_scores`, written together. Does not
belong here: working out what they hold (`passes`), and what is to be written (`scoring`).

Row groups are cut by rows, not where parts end, so that the same files give the same tables,
byte for byte, however often a pass was interrupted and whoever read which file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.parts import Part, Segment, rows_of
from pcorr_assets.filters.passes import (
    SIGNATURE,
    PassPlan,
    add_up,
    contaminated_column,
    score_column,
    shared_column,
    tokens_column,
)
from pcorr_assets.warehouse import Warehouse, WrittenPartition

ROWS_PER_GROUP = 131_072
# Names of what the writer of a table notes beside its rows.
SHARDS = "shards"

Partition = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Output:
    """A partition to write: `tokens` names what counts its tokens, `target` whose scores it has.

    `notes` is what is noted beside its rows, but for the counts of the pass.
    """

    partition: Partition
    tokens: str
    target: str | None
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Assembly:
    """Where columns come from, by name of a part's column: a table that is there, and its column.

    What is not among them comes from the parts. `shards` are keys in the order of the group;
    `counts` what the pass noted, or what `pool_documents` has noted.
    """

    warehouse: Warehouse
    group: str
    shards: Sequence[tuple[str, int]]
    parts: Sequence[Part]
    plan: PassPlan
    stored: Mapping[str, tuple[Partition, str]]
    counts: Mapping[str, str]

    def write(self, outputs: Sequence[Output]) -> dict[Partition, WrittenPartition]:
        """Write the partitions; none appears before all rows of all are there.

        Raises:
            PcorrError: a text is not the one that `pool_documents` has the hash of.
        """
        noted = {**self.counts, SHARDS: json.dumps(self.shards)}
        with ExitStack() as stack:
            source = _Source(self, stack)
            writers = [
                (one, stack.enter_context(self.warehouse.writer(*one.partition))) for one in outputs
            ]
            left = sum(rows for _, rows in self.shards)
            shards = _Rows(_shard_column(self.group, self.shards))
            while left:
                count = min(left, ROWS_PER_GROUP)
                rows, names = source.take(count), shards.take(count)
                for one, writer in writers:
                    writer.write(_rows_of_output(one, rows, names))
                left -= count
            for one, writer in writers:
                writer.metadata.update({**noted, **one.notes})
        return {one.partition: writer.written for one, writer in writers}


def counts_of(parts: Iterable[Part], shards: Sequence[str]) -> list[tuple[str, int]]:
    """Each shard with its rows, in the order of the group.

    Raises:
        RuntimeError: the parts are not all of it, which is a defect of the platform.
    """
    rows: dict[int, int] = {}
    finished: set[int] = set()
    for segment in (segment for part in parts for segment in part.segments):
        rows[segment.shard] = rows.get(segment.shard, 0) + segment.row_count
        finished |= {segment.shard} if segment.is_last else set()
    if finished != set(range(len(shards))):
        raise RuntimeError(f"{len(finished)} of {len(shards)} shards are finished")
    return [(key, rows[place]) for place, key in enumerate(shards)]


def notes_of(parts: Iterable[Part]) -> dict[str, str]:
    """What was odd about the documents that a pass read, as it is noted beside tables."""
    total = Segment(0)
    for segment in (segment for part in parts for segment in part.segments):
        add_up(total, segment)
    return {
        "empty_documents": str(total.empty),
        "repeated_ids": str(total.repeated_ids),
        "texts_of_another_type": str(total.other_types),
        "first_texts_of_another_type": "; ".join(total.places),
        "documents_with_invalid_unicode": str(total.invalid_unicode),
        "skipped_rows": str(total.skipped),
        "first_skipped_rows": "\n".join(total.skipped_places),
    }


class _Rows:
    """Rows of tables that come one after the other, handed out by number."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self._waiting: list[pa.Table] = []

    def take(self, count: int) -> pa.Table:
        """The next rows."""
        while sum(table.num_rows for table in self._waiting) < count:
            table = next(self._tables, None)
            if table is None:
                raise RuntimeError("a table of the group is shorter than the others")
            self._waiting.append(table)
        rows = pa.concat_tables(self._waiting)
        self._waiting = [rows.slice(count)]
        return rows.slice(0, count)


class _Source:
    """The columns of the group's documents, from the parts and from tables that are there."""

    def __init__(self, assembly: Assembly, stack: ExitStack) -> None:
        self._parts = None
        if assembly.plan.is_needed:
            self._parts = _Rows(rows_of(part) for part in assembly.parts)
        columns: dict[Partition, dict[str, str]] = {}
        for name, (partition, column) in assembly.stored.items():
            columns.setdefault(partition, {})[name] = column
        self._stored = [
            (_Rows(_row_groups(assembly.warehouse, partition, named.values(), stack)), named)
            for partition, named in columns.items()
        ]
        self._group = assembly.group

    def take(self, count: int) -> Mapping[str, pa.ChunkedArray]:
        """The next rows, by name of a part's column."""
        found: dict[str, pa.ChunkedArray] = {}
        if self._parts is not None:
            rows = self._parts.take(count)
            found |= {name: rows[name] for name in rows.schema.names}
        for tables, named in self._stored:
            rows = tables.take(count)
            stored = {name: rows[column] for name, column in named.items()}
            hashes = "content_sha256"
            if hashes in stored and hashes in found and stored[hashes] != found[hashes]:
                raise PcorrError(
                    f"{self._group}: a text is not the one that pool_documents has the hash of, "
                    "though size and time of its file are the same. Remove the partition of "
                    "pool_documents and materialise pool_scores of this group again."
                )
            found |= stored
        return found


def _row_groups(
    warehouse: Warehouse, partition: Partition, columns: Iterable[str], stack: ExitStack
) -> Iterator[pa.Table]:
    table, keys = partition
    file = stack.enter_context(warehouse.open(table, *keys))
    return (
        file.read_row_group(number, columns=list(dict.fromkeys(columns)))
        for number in range(file.num_row_groups)
    )


def _shard_column(group: str, shards: Sequence[tuple[str, int]]) -> Iterator[pa.Table]:
    pool = group.partition("/")[0]
    pieces = (
        (key, min(ROWS_PER_GROUP, rows - start))
        for key, rows in shards
        for start in range(0, rows, ROWS_PER_GROUP)
    )
    empty = pa.table({name: pa.array([], pa.string()) for name in ("pool", "pool_group", "shard")})
    named = (
        pa.table(
            {
                "pool": pa.repeat(pool, rows),
                "pool_group": pa.repeat(group, rows),
                "shard": pa.repeat(key, rows),
            }
        )
        for key, rows in pieces
    )
    return chain([empty], named)


def _rows_of_output(one: Output, rows: Mapping[str, Any], names: pa.Table) -> pa.Table:
    columns = {
        "pool": names["pool"],
        "shard": names["shard"],
        "document_id": rows["document_id"],
        "byte_count": rows["byte_count"],
        "content_sha256": rows["content_sha256"],
        "token_count": rows[tokens_column(one.tokens)],
    }
    if one.target is None:
        columns["pool_group"] = names["pool_group"]
        columns[SIGNATURE] = rows.get(SIGNATURE, pa.nulls(names.num_rows, pa.binary()))
    else:
        columns["target"] = pa.repeat(one.target, names.num_rows)
        columns["score"] = rows[score_column(one.target)]
        not_searched = pa.nulls(names.num_rows, pa.string())
        columns["contaminated_by"] = rows.get(contaminated_column(one.target), not_searched)
        columns["shared_words"] = rows.get(shared_column(one.target), not_searched)
    return pa.table(columns)
