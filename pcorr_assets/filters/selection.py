"""Which documents of a pool fill the token budget: exact, in DuckDB, without any text.

Belongs here: the order of documents, the threshold, duplicates, the budget. Does not
belong here: scores (`scoring`) and writing documents out (`writing`).

Documents are taken in descending order of score, equal scores in ascending order of
content hash, until their tokens reach the budget; the document that reaches it is taken
whole and is the boundary. Of documents with the same content only the first in the order
(score, then shard, then row) counts. Sorting everything would need memory for everything;
so a histogram of log-odds says where the budget ends, and only that slice is sorted.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.pools import budget_tokens
from pcorr_assets.filters.scored import ScoredShards, common_note, find_scored
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
BINS_PER_UNIT = 2000
SMALLEST = 1e-12
SCRATCH = ".selecting-"
# A little further than the budget, so that some copies do not need a second search.
FIRST_REACH = 1.05

_LOG_ODDS_BIN = (
    f"CAST(round(ln(greatest(score, {SMALLEST}) / greatest(1 - score, {SMALLEST}))"
    f" * {BINS_PER_UNIT}) AS INTEGER)"
)


@dataclass(frozen=True)
class Boundary:
    """The last document taken, which fills the budget."""

    shard: str
    document_id: str
    score: float
    content_sha256: str
    token_count: int


@dataclass(frozen=True)
class SelectionSummary:
    """What was selected. `budget` is in tokens; `pool_*` count all scored documents.

    `is_short` says that the pool holds fewer tokens than the budget; all of it was selected
    then, and `boundary` is None. `duplicate_*` count the copies that were left out because
    their content was taken already. `threshold` is the lowest score selected.
    """

    budget: int
    document_count: int
    token_count: int
    pool_document_count: int
    pool_token_count: int
    empty_document_count: int
    duplicate_document_count: int
    duplicate_token_count: int
    threshold: float
    boundary: Boundary | None
    is_short: bool
    filter_sha256: str
    token_source: str


class OpenSelection:
    """A computed selection, from which each shard's documents can be asked.

    `paths` are the files that it was computed from.
    """

    def __init__(
        self,
        summary: SelectionSummary,
        connection: duckdb.DuckDBPyConnection,
        scored: ScoredShards,
    ) -> None:
        self.summary = summary
        self.paths = scored.paths
        self._connection = connection
        self._scored = scored
        self._asked = functools.lru_cache(maxsize=1)(self._documents_of_file)

    def documents(self, shard: str) -> pa.Table:
        """The selected documents of one shard, in the shard's order.

        Columns: `row` (position in the shard, from 0), `document_id`, `score`,
        `token_count`, `content_sha256`, `is_boundary`. Cheap for shards of one group after
        the other.
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
            condition = "(score > $score OR (score = $score AND content_sha256 <= $hash))"
            is_boundary = "content_sha256 = $hash"
            values |= {"score": last.score, "hash": last.content_sha256}
        return self._connection.sql(
            f"""
            SELECT file_row_number AS row, document_id, score, token_count, content_sha256,
                   {is_boundary} AS is_boundary
            FROM read_parquet($path, file_row_number = true) AS scored
            WHERE token_count > 0 AND {condition} AND file_row_number NOT IN (
                SELECT file_row_number FROM copies WHERE file_index = $file)
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
) -> Iterator[OpenSelection]:
    """Choose the documents of a pool that fill its `token_budget` (or `keep_ratio`).

    `shards` are those that the pool has, in its order; `groups` those that they are in.
    `keep_ratio` is of the tokens of all scored documents, copies included. A pool that
    holds less than the budget is selected whole, with a warning. `compute` says how many
    threads and how much memory this takes (unset: all CPUs, and half of the memory, that this
    process may still use); what does not fit goes to a scratch folder in home.

    Raises:
        PcorrError: a shard has no scores, or there are scores of one that the pool has not;
            groups were scored with different filters or tokenizers, or no document has a token.
    """
    scored = find_scored(warehouse, pool_name, target, shards, groups)
    filter_sha256 = common_note(warehouse, groups, target, "filter_sha256", "filters")
    source = common_note(warehouse, groups, target, "token_source", "token counts")
    # DuckDB, which reads them from here on, checks neither pages nor seals.
    for key in groups:
        warehouse.verified("pool_scores", key, target)
    with (
        scratch_folder(warehouse.home, SCRATCH) as scratch,
        _saying_when_full(warehouse.home),
        _connect(scratch, compute) as connection,
    ):
        chooser = _Chooser(connection, scored)
        summary = chooser.choose(pool_name, pool, filter_sha256, source)
        if summary.is_short:
            logger.warning(
                "pool %s, target %s: the budget is %s tokens, but the pool holds only %s "
                "(exact duplicates once): everything was selected, so the filter decided "
                "nothing; lower the budget or add shards",
                pool_name,
                target,
                f"{summary.budget:,}",
                f"{summary.token_count:,}",
            )
        yield OpenSelection(summary, connection, scored)


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


class _Chooser:
    """The steps of one selection.

    The Parquet files are read three times: for the histogram, for the documents that may
    be selected (`candidates`, without texts, ids and hashes), and for those that tie with
    the last one selected.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, scored: ScoredShards) -> None:
        self._sql = connection
        self._in_order = scored.in_order
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in scored.paths)
        if not scored.in_order:
            connection.register("places", scored.table())
        connection.execute(
            "CREATE VIEW scanned AS SELECT *, file_index, file_row_number FROM read_parquet("
            f"[{listed}])"
        )
        connection.execute("CREATE VIEW scored AS SELECT * FROM scanned WHERE token_count > 0")
        connection.execute(
            f"""CREATE TABLE bins AS
            SELECT {_LOG_ODDS_BIN} AS bin, min(score) AS low, max(score) AS high,
                   sum(token_count)::BIGINT AS tokens, count(*) AS documents
            FROM scored GROUP BY bin"""
        )

    def choose(
        self, pool_name: str, pool: Pool, filter_sha256: str, source: str
    ) -> SelectionSummary:
        tokens, documents = self._row("SELECT sum(tokens)::BIGINT, sum(documents) FROM bins")
        (all_documents,) = self._row("SELECT count(*) FROM scanned")
        if not tokens:
            raise PcorrError(
                f"pool {pool_name}: none of the {all_documents:,} scored documents has a token: "
                "check text_column and the token counts of the pool"
            )
        budget = budget_tokens(pool, tokens)
        available = self._reach(budget, tokens)
        boundary = self._boundary(budget) if available >= budget else None
        copies, copy_tokens = self._taken("copies", boundary)
        count, selected = self._taken("candidates", boundary)
        (lowest,) = self._row(
            "SELECT min(score) FROM candidates ANTI JOIN copies USING (file_index, file_row_number)"
        )
        return SelectionSummary(
            budget=budget,
            document_count=count - copies,
            token_count=selected - copy_tokens,
            pool_document_count=all_documents,
            pool_token_count=tokens,
            empty_document_count=all_documents - documents,
            duplicate_document_count=copies,
            duplicate_token_count=copy_tokens,
            threshold=boundary.score if boundary else lowest,
            boundary=boundary,
            is_short=available < budget,
            filter_sha256=filter_sha256,
            token_source=source,
        )

    def _reach(self, budget: int, pool_tokens: int) -> int:
        """Fill `candidates` from the top, until without the copies they hold the budget (or
        are all there are). Returns how many tokens they hold without the copies."""
        wanted = math.ceil(FIRST_REACH * budget)
        while True:
            (lowest,) = self._row(
                """SELECT min(low) FROM (
                    SELECT low, sum(tokens) OVER (ORDER BY bin DESC) - tokens AS above FROM bins)
                WHERE above < ?""",
                [wanted],
            )
            self._find_candidates(lowest)
            (found,) = self._row("SELECT sum(token_count)::BIGINT FROM candidates")
            (copied,) = self._row("SELECT coalesce(sum(token_count), 0)::BIGINT FROM copies")
            if found - copied >= budget or found >= pool_tokens:
                return found - copied
            # As much more as the copies so far make likely, so that this ends soon.
            wanted = max(
                found + 1, math.ceil(FIRST_REACH * budget * found / max(found - copied, 1))
            )

    def _find_candidates(self, lowest: float) -> None:
        """Documents that score at least `lowest`, and `copies`: those of them whose content
        comes earlier in the order. Files that came later may stand in the middle of it: then
        places are looked up. Two hashes of 64 bits, one of each half of the content hash, stand
        for it: among 10^12 documents two would meet with probability 10^-15."""
        self._sql.execute(
            """CREATE OR REPLACE TABLE candidates AS
            SELECT file_index, file_row_number, score, token_count,
                   hash(left(content_sha256, 32)) AS code, hash(right(content_sha256, 32)) AS code2
            FROM scored WHERE score >= ?""",
            [lowest],
        )
        repeated = "candidates SEMI JOIN repeated USING (code, code2)"
        order = "file_index"
        if not self._in_order:
            order = "ordinal"
            repeated = f"""(SELECT * FROM {repeated}) AS again ASOF JOIN places
                ON again.file_index = places.file AND again.file_row_number >= places.first_row"""
        self._sql.execute(
            f"""CREATE OR REPLACE TABLE copies AS
            WITH repeated AS (
                SELECT code, code2 FROM candidates GROUP BY code, code2 HAVING count(*) > 1
            ), placed AS (
                SELECT file_index, file_row_number, score, token_count, row_number() OVER (
                    PARTITION BY code, code2 ORDER BY score DESC, {order}, file_row_number
                ) AS place
                FROM {repeated}
            )
            SELECT * EXCLUDE (place) FROM placed WHERE place > 1"""
        )

    def _boundary(self, budget: int) -> Boundary:
        """The document at which the tokens reach the budget."""
        low, high = self._slice(budget)
        (above,) = self._row(
            """SELECT (SELECT coalesce(sum(token_count), 0) FROM candidates WHERE score > ?)
                    - (SELECT coalesce(sum(token_count), 0) FROM copies WHERE score > ?)""",
            [high, high],
        )
        score, reached, tokens = self._row(
            """WITH kept AS (
                SELECT score, token_count
                FROM candidates ANTI JOIN copies USING (file_index, file_row_number)
                WHERE candidates.score BETWEEN ? AND ?
            ), by_score AS (
                SELECT score, sum(token_count)::BIGINT AS tokens FROM kept GROUP BY score
            ), summed AS (
                SELECT score, tokens, sum(tokens) OVER (ORDER BY score DESC) AS reached
                FROM by_score
            )
            SELECT score, reached::BIGINT, tokens FROM summed
            WHERE reached >= ? ORDER BY reached LIMIT 1""",
            [low, high, budget - int(above)],
        )
        self._sql.execute(
            """CREATE TABLE ties AS
            SELECT * FROM scored WHERE score = ?""",
            [score],
        )
        row = self._row(
            """SELECT shard, document_id, score, content_sha256, token_count FROM (
                SELECT *, sum(token_count) OVER (
                    ORDER BY content_sha256 ROWS UNBOUNDED PRECEDING) AS reached
                FROM ties ANTI JOIN copies USING (file_index, file_row_number))
            WHERE reached >= ? ORDER BY reached LIMIT 1""",
            [budget - int(above) - (reached - tokens)],
        )
        return Boundary(*row)

    def _slice(self, budget: int) -> tuple[float, float]:
        """Scores between which the budget is reached.

        It is the range of one bin, widened where rounding in `ln` made bins overlap.
        """
        return self._row(
            f"""WITH copied AS (
                SELECT {_LOG_ODDS_BIN} AS bin, sum(token_count) AS tokens FROM copies GROUP BY bin
            ), kept AS (
                SELECT bin, low, high, bins.tokens - coalesce(copied.tokens, 0) AS tokens
                FROM bins LEFT JOIN copied USING (bin)
            ), summed AS (
                SELECT bin, sum(tokens) OVER down AS reached, min(low) OVER down AS low,
                       max(high) OVER (ORDER BY bin) AS high
                FROM kept WINDOW down AS (ORDER BY bin DESC)
            )
            SELECT low, high FROM summed WHERE reached >= ? ORDER BY bin DESC LIMIT 1""",
            [budget],
        )

    def _taken(self, table: str, boundary: Boundary | None) -> tuple[int, int]:
        """Documents and tokens of `candidates` or `copies` up to the boundary."""
        count = "SELECT count(*), coalesce(sum(token_count), 0)::BIGINT FROM"
        if boundary is None:
            return self._row(f"{count} {table}")
        documents, tokens = self._row(f"{count} {table} WHERE score > ?", [boundary.score])
        tied = (
            "ties"
            if table == "candidates"
            else "ties SEMI JOIN copies USING (file_index, file_row_number)"
        )
        more, more_tokens = self._row(
            f"{count} {tied} WHERE content_sha256 <= ?", [boundary.content_sha256]
        )
        return documents + more, tokens + more_tokens

    def _row(self, query: str, values: Sequence[object] = ()) -> tuple:
        (row,) = self._sql.execute(query, list(values)).fetchall()
        return row
