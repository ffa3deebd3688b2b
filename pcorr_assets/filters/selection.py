"""Which documents of a pool fill the token budget, shard by shard.

Belongs here: opening a selection, with the threads, memory and disk that it may take, and
asking it for documents. Does not belong here: how they are chosen (`choosing`), scores
(`scoring`) and writing documents out (`writing`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.choosing import Chooser
from pcorr_assets.filters.contamination import SEARCHING, counting, searched_for
from pcorr_assets.filters.near_duplicates import NearDuplicateSearch, signed_files
from pcorr_assets.filters.ordering import BY_SCORE, Order, order_of
from pcorr_assets.filters.scored import ScoredShards, common_note, find_scored
from pcorr_assets.filters.summary import SelectionSummary
from pcorr_assets.machine import cpu_count, free_memory_bytes
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import scratch_folder

if TYPE_CHECKING:
    import duckdb

    from pcorr_assets.config import Pool, SelectionCompute

logger = logging.getLogger(__name__)

# Of what is free: pages of files that are read again, and the rest of the run, need room too.
SHARE_OF_MEMORY = 0.5
LEAST_MEMORY = 512 << 20
SCRATCH = ".selecting-"


class OpenSelection:
    """A computed selection, from which each shard's documents can be asked.

    `paths` are the files that it was computed from, `order` is what documents are taken by.
    """

    def __init__(
        self,
        summary: SelectionSummary,
        chooser: Chooser,
        scored: ScoredShards,
    ) -> None:
        self.summary = summary
        self.paths = scored.paths
        self._connection = chooser.connection
        self.order = chooser.order
        self._scored = scored
        is_known = summary.decontaminate in SEARCHING
        self._contaminated_by = "contaminated_by" if is_known else "NULL::VARCHAR"
        self._counts = counting(summary.decontaminate)
        self._asked = functools.lru_cache(maxsize=1)(self._documents_of_file)

    def documents(self, shard: str) -> pa.Table:
        """The selected documents of one shard, in the shard's order.

        Columns: `row` (position in the shard, from 0), `document_id`, `score`,
        `token_count`, `content_sha256`, `contaminated_by`, `is_boundary`. Cheap for shards
        of one group after the other.
        """
        place = self._scored.places[shard]
        rows = self._asked(place.file)
        found = rows["row"].to_numpy()
        start, stop = np.searchsorted(found, [place.first_row, place.first_row + place.row_count])
        own = rows.slice(int(start), int(stop - start))
        row = pc.call_function("subtract", [own["row"], pa.scalar(place.first_row, pa.int64())])
        return own.set_column(0, "row", row)

    def _documents_of_file(self, file: int) -> pa.Table:
        last = self.summary.boundary
        condition = is_boundary = "true"
        values: dict[str, object] = {"path": str(self.paths[file]), "file": file}
        if last is None:
            is_boundary = "false"
        else:
            condition = "(value > $value OR (value = $value AND content_sha256 <= $hash))"
            is_boundary = "content_sha256 = $hash"
            values |= {"value": last.value, "hash": last.content_sha256}
        return self._connection.sql(
            f"""
            SELECT file_row_number AS row, document_id, score, token_count, content_sha256,
                   {self._contaminated_by} AS contaminated_by, {is_boundary} AS is_boundary
            FROM (SELECT *, {self.order.value} AS value
                  FROM read_parquet($path, file_row_number = true)) AS scored
            WHERE {self._counts} AND {condition} AND file_row_number NOT IN (
                SELECT file_row_number FROM left_out WHERE file_index = $file)
            ORDER BY file_row_number
            """,
            params=values,
        ).to_arrow_table()


@contextmanager
def select_documents(
    warehouse: Warehouse,
    pool_name: str,
    pool: Pool,
    target: str,
    shards: Sequence[str],
    groups: Sequence[str],
    compute: SelectionCompute | None = None,
    decontaminate: str = "off",
) -> Iterator[OpenSelection]:
    """Choose the documents of a pool that fill its `token_budget` (or `keep_ratio`).

    The best are taken, or documents are drawn with the filter's odds (`draw` of the pool).

    `shards` are those that the pool has, in its order; `groups` those that they are in.
    `keep_ratio` is of the tokens of all scored documents, copies included. A pool that
    holds less than the budget is selected whole, with a warning. `compute` says how many
    threads and how much memory this takes (unset: all CPUs, and half of the memory, that this
    process may still use); what does not fit goes to a scratch folder in home. `decontaminate`
    says what becomes of documents that hold text of a benchmark of the target.

    Raises:
        PcorrError: a shard has no scores, or there are scores of one that the pool has not;
            groups were scored with different filters or tokenizers, no document has a
            token, or documents were not searched for what `decontaminate` asks for.
    """
    scored = find_scored(warehouse, pool_name, target, shards, groups)
    filter_sha256 = common_note(warehouse, groups, target, "filter_sha256", "filters")
    source = common_note(warehouse, groups, target, "token_source", "token counts")
    decontaminate = searched_for(warehouse, pool_name, groups, target, decontaminate)
    # DuckDB, which reads them from here on, checks neither pages nor seals.
    for key in groups:
        warehouse.verified("pool_scores", key, target)
    signed = None
    if pool.near_duplicates is not None:
        signed = signed_files(warehouse, groups, target, pool.near_duplicates)
    with open_chooser(
        warehouse.home, pool, scored, signed, compute, decontaminate, order_of(pool)
    ) as chooser:
        summary = chooser.choose(pool_name, pool, filter_sha256, source)
        if summary.is_short:
            logger.warning(
                "pool %s, target %s: the budget is %s tokens, but the pool holds only %s "
                "(duplicates once): everything was selected, so the filter decided "
                "nothing; lower the budget or add shards",
                pool_name,
                target,
                f"{summary.budget:,}",
                f"{summary.token_count:,}",
            )
        yield OpenSelection(summary, chooser, scored)


@contextmanager
def open_chooser(
    home: Path,
    pool: Pool,
    scored: ScoredShards,
    signed: Sequence[Path] | None,
    compute: SelectionCompute | None = None,
    decontaminate: str = "off",
    order: Order = BY_SCORE,
) -> Iterator[Chooser]:
    """A chooser over scored files, with the room that it may take; closed at the end.

    `signed` are the files with the signatures, in the order of those with scores, where the
    pool leaves out near-duplicates. `compute` is as for `select_documents`, `order` the one in
    which documents are taken.
    """
    with (
        scratch_folder(home, SCRATCH) as scratch,
        _saying_when_full(home),
        _connect(scratch, compute) as connection,
    ):
        near = None
        if pool.near_duplicates is not None and signed is not None:
            near = NearDuplicateSearch(connection, signed, pool.near_duplicates, scratch)
        yield Chooser(connection, scored, near, decontaminate, order)


@contextmanager
def _saying_when_full(home: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        reason = " ".join(str(error).split())
        raise PcorrError(
            f"Selecting documents needs room under {home} for what does not fit into memory "
            f"({reason}). Make room on its disk, then launch this again."
        ) from error


@contextmanager
def _connect(
    scratch: Path, compute: SelectionCompute | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    threads = compute.threads if compute else None
    memory = compute.memory_bytes if compute else None
    if memory is None:
        memory = max(int(SHARE_OF_MEMORY * free_memory_bytes()), LEAST_MEMORY)
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {threads or cpu_count()}")
        connection.execute(f"SET memory_limit = '{memory}B'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{str(scratch).replace(chr(39), chr(39) * 2)}'")
        yield connection
